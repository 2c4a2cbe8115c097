"""The record: what MLflow says of a study is what the study holds, whatever happens in between."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import nas.record
import nas.record_store
from nas.cell.graph import Cell
from nas.cell.json import from_json
from nas.cell.text import loads
from nas.errors import UserError
from nas.evaluation import Cost, Epoch, Outcome, Settings, Status
from nas.protocol import Judgement
from nas.record import Recorder, check_tracking_uri
from nas.record_entry import LONGEST_EQUATIONS, entry
from nas.record_place import hidden, place
from nas.record_store import Store
from nas.study import Evaluated, Visit
from nas.tasks import Memorization, Text, Xml
from nas.zoo import ZOO

# SQLAlchemy 2.1 deprecates what MLflow 3.17 does; as an error it would look like a dead database.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)

FILTER = Memorization()
TASKS = (Xml(), Text())
GRU, LSTM, RNN, MGU = (ZOO[name] for name in ("gru", "lstm", "rnn", "mgu"))
BASELINES = (GRU.key, LSTM.key)
WAIT_S = 60.0
SETTINGS = tuple(Settings(learning_rate=rate, num_layers=2) for rate in (0.1, 0.2, 0.3))


def outcome(best: float | None, status: Status = "ok") -> Outcome:
    """Three epochs that end at `best`; accuracy and loss are told apart."""
    values = [] if best is None else [best / 4, best / 2, best]
    curve = tuple(
        Epoch(3 - v, 2 - v, v, 0.5 / n, {"closing tags!": v / 8}) for n, v in enumerate(values, 1)
    )
    return Outcome(status, best, 2, curve, 24_900, 63, Cost(100, 7000, 1e9, 2.5), "")


def evaluated(task: str, outcomes: Sequence[Outcome]) -> Evaluated:
    return Evaluated(task, f"{task}-1", SETTINGS[: len(outcomes)], 0, 1.0, tuple(outcomes))


def scored(number: int, cell: Cell, kind: str = "drawn") -> Visit:
    """Best on both tasks with the second setting; the score is that of text."""
    results = {
        "m": evaluated("memorization", [outcome(0.99)]),
        "x": evaluated("xml", [outcome(0.5), outcome(0.6), outcome(None, "failed")]),
        "t": evaluated("text", [outcome(2.0), outcome(1.6), outcome(1.7, "diverged")]),
    }
    best: dict[str, float | None] = {"memorization": 0.99, "xml": 0.6, "text": 1.6}
    ratios = {"xml": 1.2, "text": 0.8}
    judgement = Judgement("scored", best, ratios, 0.8, 0.8)
    return visit(number, cell, kind, results, judgement)


def rejected(number: int, cell: Cell, status: Status = "ok") -> Visit:
    """By the filter."""
    results = {"m": evaluated("memorization", [outcome(0.25 if status == "ok" else None, status)])}
    return visit(number, cell, "drawn", results, Judgement("memorization", {"memorization": 0.25}))


def visit(
    number: int, cell: Cell, kind: Any, results: dict[str, Evaluated], judgement: Judgement | None
) -> Visit:
    digests = {f"{cell.key} {name}": one for name, one in results.items()}
    return Visit(number, number, kind, cell.name, str(cell), cell.key, {}, digests, judgement)


def recorder(folder: Path, uri: str = "") -> Recorder:
    return Recorder(uri, "study", "What this is.", TASKS, FILTER, BASELINES, folder)


def record(folder: Path, *visits: Visit | None) -> int:
    made = recorder(folder)
    made.sync(visits)
    return made.close(WAIT_S)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    """A folder with a database that a recorder made, and whether it waited for the lock."""
    folder = tmp_path_factory.mktemp("fresh")
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  so that it waits for the lock alone

    with FileLock(folder / "mlflow.db.lock"):
        made = recorder(folder)
        made.sync([scored(0, GRU, "given")])
        time.sleep(1.0)
        waited = not (folder / "mlflow.db").exists()
    assert made.close(WAIT_S) == 0
    return folder, waited


@pytest.fixture
def folder(fresh: tuple[Path, bool], tmp_path: Path) -> Path:
    """A folder with a database of its own, in which no experiment is called "study"."""
    shutil.copy(fresh[0] / "mlflow.db", tmp_path)
    mlflow = client(tmp_path)
    experiment = mlflow.get_experiment_by_name("study")
    mlflow.rename_experiment(experiment.experiment_id, "of the fixture")
    return tmp_path


def client(folder: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def experiment(folder: Path) -> Any:
    return client(folder).get_experiment_by_name("study")


def runs(folder: Path) -> dict[str, Any]:
    """The runs by name; each name once."""
    found = client(folder).search_runs([experiment(folder).experiment_id])
    names = [run.info.run_name for run in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def curve(folder: Path, run: Any, name: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client(folder).get_metric_history(run.info.run_id, name)]


def test_the_database_is_made_under_a_lock(fresh: tuple[Path, bool]) -> None:
    assert fresh[1]


def test_scalars_read_back(folder: Path) -> None:
    assert record(folder, scored(7, GRU, "given")) == 0
    run = runs(folder)["gru"]
    expected = {
        "score": 0.8,
        "value": 0.8,
        "ratio.xml": 1.2,
        "ratio.text": 0.8,
        "memorization.accuracy": 0.99,
        "xml.accuracy": 0.6,
        "text.loss": 1.6,
        "n_params": 24_900,
        "seconds": 17.5,
        "n_outcomes": 7,
        "n_diverged": 1,
        "n_failed": 1,
    }
    assert {name: v for name, v in run.data.metrics.items() if "/" not in name} == expected
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 17_500
    assert abs(run.info.end_time / 1000 - time.time()) < WAIT_S
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("nas.")}
    assert tags == {
        "nas.key": GRU.key,
        "nas.kind": "baseline",
        "nas.stage": "scored",
        "nas.study": "study",
        "nas.trial": "7",
    }


def test_settings_and_curves_are_those_of_the_best_setting(folder: Path) -> None:
    record(folder, scored(0, MGU))
    run = runs(folder)["mgu"]
    names = ("learning_rate", "num_layers", "optimizer", "hidden_size")
    for task, rate in (("memorization", "0.1"), ("xml", "0.2"), ("text", "0.2")):
        assert [run.data.params[f"{task}.{name}"] for name in names] == [rate, "2", "sgd", "63"]
    assert len(run.data.params) == 3 * 8
    for task, best in (("memorization", 0.99), ("xml", 0.6), ("text", 1.6)):
        steps = [(1, best / 4), (2, best / 2), (3, best)]
        expected = {
            "validation_accuracy": steps,
            "validation_loss": [(step, 2 - value) for step, value in steps],
            "train_loss": [(step, 3 - value) for step, value in steps],
            "learning_rate": [(step, 0.5 / step) for step, _ in steps],
            "validation_accuracy_closing tags_": [(step, value / 8) for step, value in steps],
        }
        for name, points in expected.items():
            assert curve(folder, run, f"{task}/{name}") == points


def test_the_files_are_the_cell_and_its_outcomes(folder: Path) -> None:
    record(folder, scored(0, LSTM))
    mlflow = client(folder)
    run_id = runs(folder)["lstm"].info.run_id
    texts = {
        item.path: Path(mlflow.download_artifacts(run_id, item.path)).read_text(encoding="utf-8")
        for item in mlflow.list_artifacts(run_id)
    }
    assert set(texts) == {"cell.cell", "cell.json", "settings.json"}
    assert texts["cell.cell"] == str(LSTM)
    assert from_json(json.loads(texts["cell.json"])) == LSTM
    rows = json.loads(texts["settings.json"])
    assert [(row["task"], row["settings"]["learning_rate"], row["best"]) for row in rows] == [
        ("memorization", 0.1, 0.99),
        ("xml", 0.1, 0.5),
        ("xml", 0.2, 0.6),
        ("xml", 0.3, None),
        ("text", 0.1, 2.0),
        ("text", 0.2, 1.6),
        ("text", 0.3, 1.7),
    ]
    assert {row["cost"]["wall_s"] for row in rows} == {2.5}
    assert (folder / "mlartifacts" / "study" / run_id / "artifacts" / "cell.cell").is_file()


def test_the_note_holds_the_equations_and_the_tasks(folder: Path) -> None:
    record(folder, scored(4, MGU), rejected(5, RNN), scored(0, GRU, "given"))
    notes = {name: run.data.tags["mlflow.note.content"] for name, run in runs(folder).items()}
    assert f"```python\n{str(MGU).rstrip()}\n```" in notes["mgu"]
    table = notes["mgu"][notes["mgu"].index("| task") :].splitlines()
    assert table[2:5] == [
        "| memorization | accuracy | 0.99 | - | - |",
        "| xml | accuracy | 0.6 | 0.5 | 1.2 |",
        "| text | loss | 1.6 | 1.28 | 0.8 |",
    ]
    assert "on text: ahead of it on xml; behind it on text." in notes["mgu"]
    assert f"Trial 4, key `{MGU.key}`, 7 training runs, 1 diverged, 1 failed." in notes["mgu"]
    assert notes["rnn"].startswith("**Rejected at memorization**: accuracy 0.25.")
    assert notes["gru"].startswith("**The reference**")


def test_a_long_note_is_cut_before_mlflow_cuts_it() -> None:
    lines = "".join(f"    v{i} = tanh(h)\n" for i in range(1000))
    long = loads(f"def long(x, h):\n{lines}    return v999 + x * h\n")
    made = entry(rejected(0, long), "study", (FILTER,), BASELINES)
    assert LONGEST_EQUATIONS < len(str(long))
    assert len(made.note) < 8000
    assert "the rest is in cell.cell" in made.note
    assert made.note.endswith("1 training runs.")
    assert made.files["cell.cell"] == str(long)


def test_a_status_says_what_became_of_the_cell(folder: Path) -> None:
    record(folder, scored(0, GRU), rejected(1, RNN), rejected(2, LSTM, "out of memory"))
    found = runs(folder)
    statuses = {name: run.info.status for name, run in found.items()}
    assert statuses == {"gru": "FINISHED", "rnn": "KILLED", "lstm": "FAILED"}
    assert "score" not in found["rnn"].data.metrics
    assert found["rnn"].data.tags["nas.stage"] == "memorization"
    assert found["lstm"].data.metrics["n_failed"] == 1


def test_kinds_are_told_apart(folder: Path) -> None:
    record(folder, scored(0, GRU, "given"), scored(1, MGU, "given"), scored(2, RNN))
    kinds = {name: run.data.tags["nas.kind"] for name, run in runs(folder).items()}
    assert kinds == {"gru": "baseline", "mgu": "included", "rnn": "candidate"}


def test_the_experiment_says_what_it_is(folder: Path) -> None:
    record(folder, rejected(0, RNN))
    tags = experiment(folder).tags
    assert tags["mlflow.note.content"] == "What this is."
    assert tags["mlflow.experiment.primaryMetric.name"] == "score"


def test_a_cell_is_one_run_however_often_it_is_visited_and_synced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = [scored(0, GRU, "given"), None, rejected(2, RNN), scored(3, GRU)]
    visits.append(visit(4, LSTM, "drawn", {}, None))
    assert record(folder, *visits) == 0
    before = runs(folder)
    monkeypatch.delattr(Store, "write")
    assert record(folder, *visits) == 0
    assert record(folder, scored(3, GRU)) == 0
    after = runs(folder)
    assert {name: run.info.run_id for name, run in after.items()} == {
        name: before[name].info.run_id for name in ("gru", "rnn")
    }
    assert after["gru"].data.tags["nas.trial"] == "0"
    assert len(curve(folder, after["gru"], "xml/train_loss")) == 3


def test_a_run_that_a_crash_left_unfinished_is_completed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    class Killed(BaseException):
        """Not caught, like a kill."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", kill)
        patch.setattr(threading, "excepthook", lambda _: None)
        assert record(folder, scored(0, GRU, "given"), rejected(1, RNN)) == 2
    half = runs(folder)
    assert [run.info.status for run in half.values()] == ["RUNNING"]
    assert record(folder, scored(0, GRU, "given"), rejected(1, RNN)) == 0
    whole = runs(folder)
    assert whole["gru"].info.run_id == half["gru"].info.run_id
    assert whole["gru"].info.status == "FINISHED"
    assert len(client(folder).list_artifacts(whole["gru"].info.run_id)) == 3
    assert len(curve(folder, whole["gru"], "xml/train_loss")) == 3
    assert whole["rnn"].info.status == "KILLED"


def test_a_cell_given_after_it_was_drawn_is_written_again(folder: Path) -> None:
    record(folder, rejected(0, MGU))
    assert record(folder, rejected(0, MGU), scored(1, MGU, "given"), scored(2, MGU)) == 0
    run = runs(folder)["mgu"]
    assert (run.info.status, run.data.tags["nas.kind"]) == ("FINISHED", "included")


def test_evaluations_that_lie_with_another_visit_are_recorded(folder: Path) -> None:
    whole = scored(1, RNN)
    first, *others = whole.evaluated.items()
    other = visit(0, RNN, "drawn", {}, None)
    other.evaluated = dict([first])
    whole.evaluated = dict(others)
    made = recorder(folder)
    made.stored(other, None, None)  # type: ignore[arg-type]
    made.judged(whole)
    assert made.close(WAIT_S) == 0
    run = runs(folder)["rnn"]
    assert run.data.metrics["n_outcomes"] == 7
    assert "memorization.learning_rate" in run.data.params


def test_a_deleted_experiment_is_restored(folder: Path) -> None:
    record(folder, rejected(0, RNN))
    client(folder).delete_experiment(experiment(folder).experiment_id)
    assert record(folder, rejected(0, RNN), rejected(1, MGU)) == 0
    assert set(runs(folder)) == {"rnn", "mgu"}


def test_curves_longer_than_a_request_are_recorded(folder: Path) -> None:
    long = scored(0, RNN)
    epochs = tuple(Epoch(1.0, 2.0, n / 1000, 0.5) for n in range(500))
    result = Outcome("ok", 1.0, 0, epochs, 1, 1)
    long.evaluated = {"x": Evaluated("xml", "", SETTINGS[:1], 0, 1.0, (result,))}
    assert record(folder, long) == 0
    points = curve(folder, runs(folder)["rnn"], "xml/validation_accuracy")
    assert points == [(n + 1, n / 1000) for n in range(500)]


def test_a_value_that_is_not_finite_is_left_out(folder: Path) -> None:
    odd = scored(0, RNN)
    epochs = (Epoch(float("nan"), float("inf"), 0.5, 0.1), Epoch(1.0, 2.0, 0.4, 0.1))
    result = Outcome("diverged", 0.5, 0, epochs, 1, 1)
    odd.evaluated = {"x": Evaluated("xml", "", SETTINGS[:1], 0, 1.0, (result,))}
    assert record(folder, odd) == 0
    run = runs(folder)["rnn"]
    assert curve(folder, run, "xml/train_loss") == [(2, 1.0)]
    assert curve(folder, run, "xml/validation_loss") == [(2, 2.0)]


def test_a_server_that_is_down_costs_a_warning_and_a_later_sync_catches_up(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    visits = [scored(0, GRU, "given"), rejected(1, RNN), scored(2, MGU)]
    down = recorder(folder, "http://me:pass/w@127.0.0.1:9")
    for one in visits:
        down.judged(one)
    assert down.close(WAIT_S) == 3
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    ours = [text for text in warnings if text.startswith("MLflow at http://…@127.0.0.1:9 ")]
    assert len(ours) == 1
    assert "the same command catches up" in ours[0]
    assert "pass" not in "".join(warnings)
    assert record(folder, *visits) == 0
    assert set(runs(folder)) == {"gru", "rnn", "mgu"}


def test_a_server_that_hangs_holds_up_neither_the_search_nor_its_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    open_store = nas.record_store.open_store

    def hang(*arguments: Any) -> Store:
        go_on.wait(WAIT_S)
        return open_store(*arguments)

    monkeypatch.setattr(nas.record, "open_store", hang)
    made = recorder(folder)
    made.judged(scored(0, GRU, "given"))
    made.judged(rejected(1, RNN))
    assert made.close(timeout_s=0.05) == 2
    go_on.set()
    assert made.close(WAIT_S) == 0


def test_what_failed_is_tried_again_and_told_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(nas.record, "FIRST_PAUSE_S", 0.01)
    open_store, failures = nas.record_store.open_store, iter([OSError("no"), OSError("no")])

    def fail_twice(*arguments: Any) -> Store:
        for failure in failures:
            raise failure
        return open_store(*arguments)

    monkeypatch.setattr(nas.record, "open_store", fail_twice)
    made = recorder(folder)
    made.judged(scored(0, GRU, "given"))
    deadline = time.monotonic() + WAIT_S
    while not experiment(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert made.close(WAIT_S) == 0
    assert set(runs(folder)) == {"gru"}
    assert sum("does not take the record (no)" in r.getMessage() for r in caplog.records) == 1


@pytest.mark.parametrize("closing", [True, False], ids=["closing", "running"])
def test_a_cell_that_cannot_be_written_does_not_hold_up_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, closing: bool
) -> None:
    monkeypatch.setattr(nas.record, "FIRST_PAUSE_S", 0.01)
    write, judged = Store.write, threading.Event()

    def refuse_rnn(store: Store, made: Any) -> None:
        judged.wait(WAIT_S)
        if made.name == "rnn":
            raise OSError("no")
        write(store, made)

    monkeypatch.setattr(Store, "write", refuse_rnn)
    made = recorder(folder)
    made.sync([rejected(0, RNN), scored(1, GRU, "given"), scored(2, MGU)])
    if not closing:
        judged.set()
        deadline = time.monotonic() + WAIT_S
        while not (experiment(folder) and len(runs(folder)) == 2) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert set(runs(folder)) == {"gru", "mgu"}
    threading.Timer(0.1, judged.set).start()
    assert made.close(WAIT_S) == 1
    assert set(runs(folder)) == {"gru", "mgu"}


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "sqlite:///mlflow.db",
        "sqlite+pysqlite:////tmp/a.db",
        "postgresql://me@host/db",
        "postgresql+psycopg://me@host/db",
        "mysql+pymysql://host/db",
        "mssql+pyodbc://host/db",
        "http://host:5000",
        "https://host/path",
        "databricks",
        "databricks://profile",
    ],
)
def test_uris_that_mlflow_takes_pass(uri: str) -> None:
    check_tracking_uri(uri)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nonsense://me:secret@x", "nonsense://…@x is none that MLflow knows"),
        ("http+unix://x", "none that MLflow knows"),
        ("http://", "none that MLflow knows"),
        ("file:///tmp/mlruns", "file store, which MLflow 3 no longer accepts: use sqlite:///"),
        ("./mlruns", "file store, which MLflow 3 no longer accepts: use sqlite:///"),
        ("mlruns", "file store"),
        ("sqlite:mlflow.db", "none that MLflow knows"),
        ("sqlite://mlflow.db", "is sqlite:///PATH"),
        ("sqlite:///:memory:", "is sqlite:///PATH"),
    ],
)
def test_other_uris_are_refused(uri: str, message: str) -> None:
    with pytest.raises(UserError, match="tracking_uri") as raised:
        check_tracking_uri(uri)
    assert message in str(raised.value)
    with pytest.raises(UserError):
        recorder(Path(), uri)


def test_a_database_lies_where_the_search_is_run_and_its_files_beside_it(tmp_path: Path) -> None:
    default = place("", tmp_path)
    assert default.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert default.artifacts == f"file://{tmp_path}/mlartifacts"
    assert place("sqlite:///sub/a.db", tmp_path).database == tmp_path / "sub" / "a.db"
    assert place("sqlite:////data/a.db", tmp_path).artifacts == "file:///data/mlartifacts"
    assert place("postgresql://h/d", tmp_path).artifacts == f"file://{tmp_path}/mlartifacts"
    assert place("http://h:5000", tmp_path).artifacts is None


def test_a_folder_may_be_called_anything(folder: Path) -> None:
    odd = folder / "50%20of ä?b"
    odd.mkdir()
    shutil.copy(folder / "mlflow.db", odd)
    assert record(odd, rejected(0, RNN)) == 0
    shutil.copy(odd / "mlflow.db", folder)
    run = runs(folder)["rnn"]
    files = client(folder).list_artifacts(run.info.run_id)
    assert {file.path for file in files} == {"cell.cell", "cell.json", "settings.json"}
    assert {path.name for path in odd.iterdir()} >= {"mlflow.db", "mlartifacts"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://u:p/w@host/db now", "at postgresql://…@host/db now"),
        ("http://host/?api_token=abc&x=1", "http://host/?api_token=…&x=1"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert hidden(text) == shown


def test_mlflow_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, nas.record; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """The address of `mlflow ui` in a folder with a record."""
    assert record(folder, scored(0, LSTM)) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", *arguments, "--port", str(port)],
        cwd=folder,
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(WAIT_S)


@pytest.mark.slow
def test_mlflow_ui_shows_the_files(folder: Path, server: str) -> None:
    run_id = runs(folder)["lstm"].info.run_id
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(
                f"{server}/get-artifact?path=cell.cell&run_id={run_id}"
            ) as r:
                assert r.read().decode() == str(LSTM)
            return
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
