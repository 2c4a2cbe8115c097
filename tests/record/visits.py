"""Visits with made-up outcomes, how to record them, and how to read the record back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nas.cell.cell import Cell
from nas.nn.settings import Settings
from nas.protocol.evaluation import Cost, Epoch, Outcome, Status
from nas.protocol.judgement import Judgement
from nas.record.recorder import Recorder
from nas.study.visit import Evaluated, Visit
from nas.tasks import Memorization, Text, Xml
from nas.zoo import ZOO

# SQLAlchemy 2.1 deprecates what MLflow 3.17 does; as an error it would look like a dead database.
SQLALCHEMY = pytest.mark.filterwarnings(
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
    return Recorder(uri, "study", "What this is.", TASKS, FILTER, BASELINES, directory=folder)


def record(folder: Path, *visits: Visit | None) -> int:
    made = recorder(folder)
    made.sync(visits)
    return made.close(WAIT_S)


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
