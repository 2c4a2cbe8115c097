"""A search with PostgreSQL and a tracking server gives and records what one with files does."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.study.opening import open_storage
from nas.study.study import Study
from tests.cluster.postgres import Postgres
from tests.cluster.test_search import (
    check_like_undisturbed,
    command_lines,
    started,
    wait_for,
)
from tests.cluster.tracking import Gate, Tracking, tracking_at
from tests.processes import Running
from tests.record.visits import SQLALCHEMY
from tests.studies import environment, launched, write_config

pytestmark = [pytest.mark.cluster, pytest.mark.process, pytest.mark.timeout(600), SQLALCHEMY]

FAKE = "tests.fake_training"
USER, PASSWORD = "me", "hunter-of-the-gate-4711"
LIMIT_S = 300


@pytest.fixture(scope="module")
def tracking(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with tracking_at(tmp_path_factory.mktemp("tracking"), server) as made:
        yield made


@pytest.fixture
def gate(tracking: Tracking) -> Iterator[Gate]:
    made = Gate(tracking.port, USER, PASSWORD)
    yield made
    made.close()


def search(folder: Path, tracking_uri: str, *arguments: str) -> list[str]:
    given = [str(folder / "small.yaml"), "--tracking-uri", tracking_uri, *arguments]
    return [sys.executable, "-m", FAKE, *given]


def begin(folder: Path, tracking_uri: str, *arguments: str, fresh: bool = False) -> Running:
    """A search whose evaluations take a second, and do not end while there is a file "held"."""
    known = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    return launched(
        search(folder, tracking_uri, *arguments),
        folder,
        fresh=fresh,
        NAS_TEST_LOG=str(folder / "log"),
        NAS_TEST_SLEEP_S="1",
        NAS_TEST_HOLD=str(folder / "held"),
        **known,
    )


def finish(process: Running) -> tuple[str, str]:
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    return output, errors


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it in files."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_config(folder)
    finish(begin(folder, f"sqlite:///{folder / 'mlflow.db'}"))
    return folder


def leaderboard(output: str) -> list[list[str]]:
    """The rows of the printed table, less the seconds."""
    rows = [line.split() for line in output.splitlines() if re.match(r" *\d+ ", line)]
    assert len(rows) >= 3, output
    for row in rows:
        del row[-1 if row[-1].isdigit() else -2]
    return rows


def recorded(uri: str, study: str) -> dict[str, Any]:
    """All that MLflow has of a study, less ids and times."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        data, key = run.data, run.info.run_id
        names = sorted(p.name for p in Path(client.download_artifacts(key, "")).rglob("*"))
        curves = {
            metric: [(one.value, one.step) for one in client.get_metric_history(key, metric)]
            for metric in data.metrics
        }
        tags = {n: v.replace(key, "") for n, v in data.tags.items() if n != "mlflow.user"}
        name = run.info.run_name
        assert name not in found, "a cell is one run"
        found[name] = (run.info.status, curves, data.params, tags, names)
    return found


def same_record(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The summary has the time that was spent. With made-up training all settings of the GRU are
    equally good, and its best is the one that was ready first."""
    assert one.keys() == other.keys()
    for name in one.keys() - {"small", "gru"}:
        assert one[name] == other[name]
    for name, parts in {"small": (0, 2, 4), "gru": (0, 1, 4)}.items():
        assert [one[name][part] for part in parts] == [other[name][part] for part in parts]


@pytest.fixture
def let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test itself reads through the gate."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


@pytest.mark.usefixtures("let_in")
def test_servers_give_and_record_what_files_do(
    postgres: Postgres, tracking: Tracking, gate: Gate, tmp_path: Path, undisturbed: Path
) -> None:
    """The credentials are in the environment, and nowhere else afterwards."""
    write_config(tmp_path)
    url = postgres.fresh("tracked")
    process = begin(tmp_path, gate.url, "--storage", url, fresh=True)  # whose arguments `ps` shows
    wait_for(tmp_path, 7, process)
    lines = command_lines()
    assert gate.url in lines
    output, errors = finish(process)
    check_like_undisturbed(url, tmp_path, undisturbed)
    files = finish(begin(undisturbed, f"sqlite:///{undisturbed / 'mlflow.db'}"))[0]
    assert leaderboard(output) == leaderboard(files)
    here = recorded(gate.url, "small")
    same_record(here, recorded(f"sqlite:///{undisturbed / 'mlflow.db'}", "small"))
    assert gate.n_passed > 50
    assert gate.n_refused == 0
    assert not (tmp_path / "mlartifacts").exists(), "artifacts go through the server"
    assert len(list(tracking.artifacts.rglob("cell.cell"))) == len(here) - 1

    for secret in (postgres.password, PASSWORD):
        assert secret not in lines, "lists of processes show it"
        assert secret not in output + errors
        for folder in (tmp_path, tracking.folder):
            for path in folder.rglob("*"):
                assert not path.is_file() or secret.encode() not in path.read_bytes(), path
        for database in ("tracked", "mlflow"):
            assert secret not in dumped(postgres, database)


def dumped(postgres: Postgres, database: str) -> str:
    command = ["pg_dump", "--data-only", postgres.url(database)]
    known = {**os.environ, "PGPASSWORD": postgres.password}
    done = subprocess.run(command, env=known, capture_output=True, text=True, check=True)
    assert "small" in done.stdout
    return done.stdout


@pytest.mark.usefixtures("let_in")
def test_whatever_fails_in_between_the_same_command_ends_alike(
    postgres: Postgres, tracking: Tracking, gate: Gate, tmp_path: Path, undisturbed: Path
) -> None:
    """The coordinator, PostgreSQL (with what both keep in it), and the tracking server."""
    write_config(tmp_path)
    url = postgres.fresh("failing")
    given = ("--storage", url, "--study", "small")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=gate.url)
    if (before := client.get_experiment_by_name("small")) is not None:
        client.rename_experiment(before.experiment_id, "small, undisturbed")
    process = begin(tmp_path, gate.url, *given)
    wait_for(tmp_path, 5, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    n_before = len(started(tmp_path))

    process = begin(tmp_path, gate.url, *given)
    wait_for(tmp_path, n_before + 3, process)
    postgres.stop("immediate")
    time.sleep(4)
    postgres.start()
    tracking.kill()
    time.sleep(4)
    (tmp_path / "held").touch()
    tracking.start()
    wait_for_record(client, url, tmp_path, process)
    (tmp_path / "held").unlink()
    output, errors = finish(process)
    assert "Traceback" not in errors
    assert "answers again" in errors
    assert "not recorded in MLflow" not in output
    check_like_undisturbed(url, tmp_path, undisturbed)
    assert len(started(tmp_path)) - n_before < len(started(undisturbed)), "it went on"
    same_record(
        recorded(gate.url, "small"), recorded(f"sqlite:///{undisturbed / 'mlflow.db'}", "small")
    )


def wait_for_record(client: Any, url: str, folder: Path, process: Running) -> None:
    """Until the record has caught up with the search, in which no evaluation ends meanwhile."""
    deadline = time.monotonic() + LIMIT_S
    while n_recorded(client) < n_judged(url, folder):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the record catches up while the search runs"
        time.sleep(0.5)


def stored_at(url: str, folder: Path) -> Study:
    return Study("small", folder, optuna.load_study(study_name="small", storage=open_storage(url)))


def n_recorded(client: Any) -> int:
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return sum(run.info.status != "RUNNING" for run in runs)


def n_judged(url: str, folder: Path) -> int:
    visits = stored_at(url, folder).visits
    return len({visit.key for visit in visits if visit and visit.judgement})


SHORT = """
    quickstart --n-candidates 3 --protocol.n-settings 2 --tasks.selective_copying.epochs 2
    --tasks.arithmetic.epochs 2 --tasks.selective_copying.batches-per-epoch 25
    --tasks.arithmetic.batches-per-epoch 25 --workers 1
""".split()


@pytest.mark.usefixtures("let_in")
def test_the_quickstart_has_one_leaderboard_on_servers_and_in_files(
    postgres: Postgres, gate: Gate, tmp_path: Path
) -> None:
    """Cells that are trained, though for fewer epochs and minibatches; only their times differ."""
    url = postgres.fresh("quickstart")
    places = {
        "files": ("--tracking-uri", "sqlite:///mlflow.db"),
        "servers": ("--tracking-uri", gate.url, "--storage", url),
    }
    shown = []
    for name, where in places.items():
        folder = tmp_path / name
        folder.mkdir()
        given = [sys.executable, "-m", "nas.search", *SHORT, *where]
        done = subprocess.run(
            given, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT_S
        )
        assert done.returncode == 0, done.stderr
        shown.append(leaderboard(done.stdout))
    assert shown[0] == shown[1]
    assert len(shown[0]) >= 6
    assert len(recorded(gate.url, "quickstart")) == 7
