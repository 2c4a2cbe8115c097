"""One search with all servers, each of which dies in its middle, ends as if nothing had been."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import postgres
from tests.cluster.nodes import ADDRESS, Cluster
from tests.cluster.postgres import Postgres
from tests.cluster.remote import FILES, lay
from tests.cluster.test_tracking import (
    leaderboard,
    n_judged,
    n_recorded,
    recorded,
    same_record,
    stored_at,
)
from tests.cluster.tracking import Tracking, tracking_at
from tests.record.visits import SQLALCHEMY
from tests.studies import environment, essences, finished, stored, write_config

pytestmark = [pytest.mark.cluster, pytest.mark.process, pytest.mark.timeout(1200), SQLALCHEMY]

MODULE = "tests.fake_training"
N_CANDIDATES = 12
BEGIN_S = 200
"""A search has begun so many evaluations by then, on a busy machine."""
LIMIT_S = 400
DOWN_S = 5.0


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[Postgres]:
    """A server in the cluster's network, to which there is no way from elsewhere."""
    with postgres.running() as made, postgres.entrusted(made):
        yield made


@pytest.fixture(scope="module")
def tracking(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """The same of MLflow, with its tables in that one's."""
    with tracking_at(tmp_path_factory.mktemp("tracking"), database) as made:
        yield made


@pytest.fixture
def undisturbed(tmp_path: Path) -> tuple[Path, str]:
    """Local workers and files; its folder, and what it printed."""
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    config = write_config(folder, N_CANDIDATES)
    given = ["--workers", "2", "--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    done = finished([sys.executable, "-m", MODULE, str(config), *given], folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


class Disturbed:
    """One command, with what workers run beside it, which travels."""

    def __init__(self, folder: Path, storage: str, tracking_uri: str) -> None:
        self.folder, self._log, self._held = folder, folder / "log", folder / "held"
        self._output, self._errors = folder / "output", folder / "errors"
        folder.mkdir()
        config = str(lay(folder, N_CANDIDATES))
        self._command = [sys.executable, "-m", MODULE, config, "--workers", f"ray:{ADDRESS}"]
        self._command += [*FILES, "--storage", storage]
        self._command += ["--tracking-uri", tracking_uri]

    def begin(self) -> None:
        hooks = {"NAS_TEST_LOG": str(self._log), "NAS_TEST_HOLD": str(self._held)}
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=environment(NAS_TEST_SLEEP_S="1", **hooks),
                stdout=output,
                stderr=errors,
            )

    def begun(self) -> list[str]:
        """The digest of each evaluation that was begun, as often as it was."""
        return self._logged("start")

    def running(self) -> Counter[str]:
        """Those that have begun and not ended."""
        return Counter(self.begun()) - Counter(self._logged("end"))

    def _logged(self, event: str) -> list[str]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line.split()[1] for line in lines if line.startswith(event)]

    def errors(self) -> str:
        """What the last process said on standard error."""
        return self._errors.read_text()

    def wait_for_more(self, count: int) -> None:
        """Until so many more have begun."""
        wanted = len(self.begun()) + count
        self.wait_until(lambda: len(self.begun()) >= wanted)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + BEGIN_S
        while not holds():
            self.check_alive()
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing goes on: {self.errors()}")
            time.sleep(0.05)

    def check_alive(self) -> None:
        assert self.process.poll() is None, self.errors()

    def hold(self) -> None:
        """No evaluation ends until `let_go`, so that the search is in its middle meanwhile."""
        self._held.touch()

    def let_go(self) -> None:
        self._held.unlink()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> str:
        """What the command printed."""
        assert self.process.wait(timeout=LIMIT_S) == 0, self.errors()
        return self._output.read_text()


@pytest.fixture
def search(
    cluster: Cluster, database: Postgres, tracking: Tracking, tmp_path: Path
) -> Iterator[Disturbed]:
    """One that has begun."""
    uri = f"http://127.0.0.1:{tracking.port}"
    made = Disturbed(tmp_path / "disturbed", database.url(), uri)
    made.begin()
    yield made
    made.kill()


def test_whatever_dies_the_same_command_ends_as_one_on_this_machine_with_files(
    cluster: Cluster,
    database: Postgres,
    tracking: Tracking,
    undisturbed: tuple[Path, str],
    search: Disturbed,
) -> None:
    """A node, the coordinator, PostgreSQL (with what MLflow keeps in it), and MLflow's server."""
    from mlflow.tracking import MlflowClient

    url, uri = database.url(), f"http://127.0.0.1:{tracking.port}"
    search.wait_for_more(8)
    search.hold()
    search.wait_until(lambda: len(search.running()) == 2)
    cluster.kill_last()
    search.let_go()
    search.wait_until(lambda: max(Counter(search.begun()).values()) == 2)  # what the node ran
    search.kill()
    assert "its slot was lost with node" in search.errors()
    assert "Traceback" not in search.errors()
    known = set(stored_at(url, search.folder).cache)
    assert known
    before = len(search.begun())

    cluster.add()
    search.begin()
    search.wait_for_more(3)
    database.stop("immediate")  # as a crash; evaluations end meanwhile, and cannot be stored
    time.sleep(DOWN_S)
    database.start()
    search.wait_for_more(2)
    tracking.kill()
    search.wait_until(lambda: "does not take the record" in search.errors())
    search.wait_for_more(4)  # perhaps it was said while PostgreSQL was down
    search.hold()
    tracking.start()
    client = MlflowClient(tracking_uri=uri)
    search.wait_until(lambda: n_recorded(client) >= n_judged(url, search.folder))
    search.let_go()
    output = search.finish()

    folder, printed = undisturbed
    assert essences(stored_at(url, search.folder)) == essences(stored(folder))
    assert leaderboard(output) == leaderboard(printed)
    assert "Traceback" not in search.errors()
    assert "answers again" in search.errors()
    assert "not recorded in MLflow" not in output
    same_record(recorded(uri, "small"), recorded(f"sqlite:///{folder / 'mlflow.db'}", "small"))
    again = Counter(search.begun()[before:])
    assert not known & set(again), "something that was stored was run again"
    assert max(again.values()) == 1, "what a server's loss cost was run again"
