"""Entries as runs of an MLflow experiment: one flat run a cell, completed if half-written.

MLflow is used through its client with the URI handed to it, so that no global state is set, and is
imported when a store is opened, which takes seconds.
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from nas.record_entry import Entry
from nas.record_place import Place

if TYPE_CHECKING:  # an import takes seconds
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PAGE = 1000
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow would try for minutes; the recorder itself tries again.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Environment variables of MLflow, set where the user has not."""


@dataclass(frozen=True)
class _Known:
    """A run that is there."""

    run_id: str
    start_ms: int
    kind: str
    turn: int
    """Of the visit that was recorded; later ones know the results on further settings."""
    finished: bool


class Store:
    """The experiment of a study; made by `open_store`."""

    def __init__(
        self, client: "MlflowClient", experiment_id: str, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._clock = clock
        self._known: dict[str, _Known] = {}
        for run in self._runs():
            if key := run.data.tags.get("nas.key"):
                known = _known(run)
                if key not in self._known or known.finished:
                    self._known[key] = known

    def holds(self, key: str, kind: str, turn: int = 0) -> bool:
        """Whether the cell needs no more writing.

        A cell that was drawn before it was given is written again: given cells go through all
        tasks, drawn ones may have been rejected before. So is one that was visited again.
        """
        known = self._known.get(key)
        if known is None or not known.finished or known.turn < turn:
            return False
        return known.kind != "candidate" or kind == "candidate"

    def write(self, entry: Entry) -> None:
        """Write a cell's run; one that was left half-written is completed.

        All that is written is a function of the entry and the run's start, so that writing it
        twice changes nothing.
        """
        known = self._known.pop(entry.key, None)
        turn = int(entry.tags.get("nas.turn", 0))
        if known is not None and (known.kind, known.turn) != (entry.kind, turn):
            self._client.delete_run(known.run_id)
            known = None
        if known is None:
            start_ms = round(1000 * (self._clock() - entry.seconds))
            tags = {**entry.tags, "mlflow.note.content": entry.note}
            run = self._client.create_run(self._experiment_id, start_ms, tags, entry.name)
            known = _known(run)
        self._log(known, entry)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in entry.files.items():
                data = content.encode() if isinstance(content, str) else content
                (Path(folder) / name).write_bytes(data)
            self._client.log_artifacts(known.run_id, folder)
        end_ms = known.start_ms + round(1000 * entry.seconds)
        self._client.set_terminated(known.run_id, entry.status, end_ms)
        self._known[entry.key] = _Known(known.run_id, known.start_ms, entry.kind, turn, True)

    def _log(self, known: _Known, entry: Entry) -> None:
        from mlflow.entities import Metric, Param

        start = known.start_ms
        end = start + round(1000 * entry.seconds)
        metrics = [Metric(name, value, end, 0) for name, value in entry.metrics.items()]
        metrics += [
            Metric(p.name, p.value, start + round(1000 * p.at_s), p.step) for p in entry.curves
        ]
        params = [Param(name, value) for name, value in entry.params.items()]
        self._client.log_batch(known.run_id, metrics, params)  # splits what is too much

    def _runs(self) -> Iterator["Run"]:
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self._experiment_id], max_results=PAGE, page_token=token or None
            )
            yield from page
            token = page.token or None


def _known(run: "Run") -> _Known:
    finished = run.info.status != "RUNNING"
    kind = run.data.tags.get("nas.kind", "")
    turn = int(run.data.tags.get("nas.turn", 0))
    return _Known(run.info.run_id, run.info.start_time, kind, turn, finished)


def open_store(
    where: Place, study: str, description: str, clock: Callable[[], float] = time.time
) -> Store:
    """Open the experiment of a study, or begin it; whatever MLflow raises comes through."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    # A dead database is one warning of ours instead of ten of MLflow's with a traceback.
    for name in ("mlflow.store", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with initialising(where.database):
        client = MlflowClient(tracking_uri=where.uri)
        experiment = client.get_experiment_by_name(study)
    if experiment is None:
        tags = {
            "mlflow.note.content": description,
            "mlflow.experiment.primaryMetric.name": "score",
            "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
            "mlflow.experimentKind": "custom_model_development",
        }
        artifacts = f"{where.artifacts}/{study}" if where.artifacts else None
        return Store(client, client.create_experiment(study, artifacts, tags), clock)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return Store(client, experiment.experiment_id, clock)


@contextmanager
def initialising(database: Path | None) -> Iterator[None]:
    """Hold a fresh SQLite database while its tables are made: two processes would break it."""
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=60):
        yield
