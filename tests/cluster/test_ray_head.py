"""A Ray cluster whose head dies ends a search with one sentence, and the same command goes on.

Each test has a cluster of its own, since what is left of one without a head is none.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import nodes
from tests.cluster.nodes import ADDRESS, Cluster
from tests.cluster.remote import FILES, lay
from tests.cluster.test_ray_search import FAKE, WORKERS, begin, started
from tests.studies import ROOT, essences, run, stored, write_config

pytestmark = [pytest.mark.cluster, pytest.mark.process, pytest.mark.timeout(900)]

END_S = 30
"""Ray itself would end the process after 60 s."""
LOST = r"nas\.search: the Ray cluster at \S+ is lost \(.*its head, .*\)\. .*same command goes on.*"


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    with nodes.running() as made, made.network.entered():
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With what workers run, which travels."""
    lay(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On this machine, in the same time."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_config(folder)
    done = run(FAKE, folder, "--workers", "2")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("victim", "workers"),
    [("machine", ("--workers", "2")), ("gcs_server", WORKERS)],
)
def test_a_head_that_dies_ends_the_search_and_the_same_command_goes_on(
    own_cluster: Cluster, folder: Path, undisturbed: Path, victim: str, workers: tuple[str, ...]
) -> None:
    """Elsewhere, or on the cluster that is started at the same address."""
    process = begin(folder)
    known = set(stored(folder).cache)
    if victim == "machine":
        own_cluster.kill_head()
    else:
        own_cluster.kill_of_head(victim)
    killed = time.monotonic()
    _, errors = process.communicate(timeout=180)
    assert time.monotonic() - killed < END_S
    said = [line for line in errors.splitlines() if "network_util.cc" not in line]  # no internet
    assert len(said) == 1, errors
    assert re.fullmatch(LOST, said[0])
    assert process.returncode == 1
    assert known
    assert known <= set(stored(folder).cache)

    if victim != "machine":
        own_cluster.wait_for_nodes(4)  # both again, as a new cluster
    known = set(stored(folder).cache)
    (folder / "log").unlink()
    done = run(FAKE, folder, *workers, *FILES, NAS_TEST_LOG=str(folder / "log"))
    assert done.returncode == 0, done.stderr
    assert essences(stored(folder)) == essences(stored(undisturbed))
    assert not known & set(started(folder)), "something that was stored was run again"


OUTLIVES = """
import sys, threading, time
from nas.workers.config import ClusterConfig
from nas.workers.start import start_workers
from worker_targets import eventually

workers = start_workers(sys.argv[1], 60.0, 0.0, ClusterConfig(), [])
from nas.workers import ray

assert eventually(lambda: workers.n_slots > 0, 200)
print("up", flush=True)
sys.stdin.readline()
threading.Thread(target=ray.ray.nodes, daemon=True).start()  # as if asked just before
assert eventually(lambda: not workers._thread.is_alive(), 30)
print("lost", flush=True)
workers.close(wait=False)
time.sleep(65)
print("alive", flush=True)
"""


def test_a_process_that_asked_the_head_outlives_it(own_cluster: Cluster, tmp_path: Path) -> None:
    """Such as a notebook's: Ray would end it after 60 s, when the search has long said so."""
    known = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/workers")])}
    command = [sys.executable, "-c", OUTLIVES, f"ray:{ADDRESS}"]
    given = {"cwd": tmp_path, "env": {**os.environ, **known}, "text": True}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, **given) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        own_cluster.kill_head()
        process.stdin.write("dead\n")
        process.stdin.flush()
        assert process.stdout.read() == "lost\nalive\n"
    assert process.returncode == 0
