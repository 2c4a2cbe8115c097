"""A search on a Ray cluster ends with what one on this machine gives, whatever dies in between."""

import dataclasses
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from nas.session.progress import table_of
from nas.study.leaderboard import leaderboard
from nas.zoo import ZOO
from tests.cluster.nodes import ADDRESS, CLIENT_PORT, Cluster
from tests.cluster.remote import FILES, lay
from tests.processes import Running
from tests.studies import command, essences, launched, run, stored, write_config

pytestmark = [pytest.mark.cluster, pytest.mark.process]

FAKE = "tests.fake_training"
WORKERS = ("--workers", f"ray:{ADDRESS}")
PLACES = ("127.0.0.1", str(CLIENT_PORT))


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On this machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_config(folder)
    done = run(FAKE, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With what workers run, which travels; the nodes do not have it."""
    lay(tmp_path)
    return tmp_path


def ranks(folder: Path) -> str:
    """The leaderboard as it is shown, but for the time that runs took."""
    found = leaderboard(stored(folder).finished(), (ZOO["gru"].key, ZOO["lstm"].key))
    rows = [dataclasses.replace(row, seconds=0.0) for row in found]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table_of(rows, ["arithmetic", "text"]))
    return shown.get()


def started(folder: Path) -> Counter[str]:
    """How often each evaluation was begun."""
    log = folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(line.split()[1] for line in lines if line.startswith("start"))


def begin(folder: Path) -> Running:
    """A search whose evaluations take a second, when the first ten of them have begun."""
    process = launched(
        command(FAKE, folder / "small.yaml", *WORKERS, *FILES),
        folder,
        NAS_TEST_SLEEP_S="1",
        NAS_TEST_LOG=str(folder / "log"),
    )
    deadline = time.monotonic() + 120
    while len(started(folder)) < 10:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate()[1])
        time.sleep(0.05)
    return process


def test_real_training_gives_the_same_leaderboard(cluster: Cluster, tmp_path: Path) -> None:
    """Of the quickstart's kind, on a text of the user's, which travels."""
    given = ("--tasks.use", "arithmetic", "text", "--tasks.text.path", "mine.txt")
    given += ("--tasks.text.epochs", "2", "--tasks.text.batches_per_epoch", "5")
    given += ("--tasks.text.n_params", "4000", "--n-candidates", "3")
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        write_config(tmp_path / name, filter_accuracy=0.02)
        (tmp_path / name / "mine.txt").write_text("to be or not to be, that is it. " * 3000)
    here = run("nas.search", tmp_path / "here", *given, "--workers", "2")
    there = run("nas.search", tmp_path / "there", *given, *WORKERS)
    assert here.returncode == 0, here.stderr
    assert there.returncode == 0, there.stderr
    assert essences(stored(tmp_path / "there")) == essences(stored(tmp_path / "here"))
    assert ranks(tmp_path / "there") == ranks(tmp_path / "here")
    weights = [
        tmp_path / name / "studies/small/winner/text.safetensors" for name in ("here", "there")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_client_elsewhere_gives_the_same(
    cluster: Cluster, folder: Path, undisturbed: Path
) -> None:
    """Through Ray's client, which needs no Ray process on the coordinator's machine."""
    done = run(FAKE, folder, "--workers", "ray://" + ":".join(PLACES), *FILES)
    assert done.returncode == 0, done.stderr
    assert essences(stored(folder)) == essences(stored(undisturbed))


def test_a_node_and_then_the_coordinator_are_killed(
    cluster: Cluster, folder: Path, undisturbed: Path
) -> None:
    process = begin(folder)
    cluster.kill_last()
    before = len(started(folder))
    deadline = time.monotonic() + 120
    while len(started(folder)) < before + 4:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert "its slot was lost with node" in errors
    assert "Traceback" not in errors
    known = set(stored(folder).cache)
    assert known

    cluster.add()
    (folder / "log").unlink()
    done = run(FAKE, folder, *WORKERS, *FILES, NAS_TEST_LOG=str(folder / "log"))
    assert done.returncode == 0, done.stderr
    assert essences(stored(folder)) == essences(stored(undisturbed))
    assert not known & set(started(folder)), "something that was stored was run again"


def test_an_interrupted_search_frees_its_slots(cluster: Cluster, folder: Path) -> None:
    """The next command has them at once."""
    process = begin(folder)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert time.monotonic() - began < 20
    assert "Interrupted" in output
    assert "Traceback" not in errors
    assert run(FAKE, folder, *WORKERS, *FILES).returncode == 0
