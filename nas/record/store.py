"""Entries as runs of an MLflow experiment: one flat run a cell, completed if half-written.

MLflow is used through its client with the URI handed to it, so that no global state is set, and is
imported when a store is opened, which takes seconds.
"""

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.record.entry import RUN_ID, Entry
from nas.record.view import VIEW_TAG, link
from nas.zoo.tracking import QUIET, Place, initialising

if TYPE_CHECKING:  # an import takes seconds
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PAGE = 1000
NOTE = "mlflow.note.content"
FORMAT = "2"
"""Raised whenever more is recorded of a cell: runs of another format are written again."""


@dataclass(frozen=True)
class _Known:
    """A run that is there."""

    run_id: str
    start_ms: int
    kind: str
    turn: int
    """Of the visit that was recorded; later ones know the results on further settings."""
    finished: bool
    format: str
    """Of what was recorded, see `FORMAT`."""


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
        tasks, drawn ones may have been rejected before. So is one that was visited again,
        and one that an earlier version recorded.
        """
        known = self._known.get(key)
        if known is None or not known.finished or known.turn < turn or known.format != FORMAT:
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
            # With its tags, by which it is known again if the rest is never written.
            run = self._client.create_run(self._experiment_id, start_ms, entry.tags, entry.name)
            known = _known(run)
        self._log(known, entry)
        self._log_files(known.run_id, entry)
        end_ms = known.start_ms + round(1000 * entry.seconds)
        self._client.set_terminated(known.run_id, entry.status, end_ms)
        about = (known.run_id, known.start_ms, entry.kind, turn, True)
        self._known[entry.key] = _Known(*about, FORMAT)

    def _log(self, known: _Known, entry: Entry) -> None:
        from mlflow.entities import Metric, Param, RunTag

        start = known.start_ms
        end = start + round(1000 * entry.seconds)
        step = entry.step
        metrics = [Metric(name, value, end, step) for name, value in entry.metrics.items()]
        metrics += [
            Metric(p.name, p.value, start + round(1000 * p.at_s), p.step) for p in entry.curves
        ]
        params = [Param(name, value) for name, value in entry.params.items()]
        note = entry.note.replace(RUN_ID, known.run_id)
        tags = {**entry.tags, "nas.format": FORMAT, NOTE: note}
        pairs = [RunTag(name, value) for name, value in tags.items()]
        self._client.log_batch(known.run_id, metrics, params, pairs)  # splits what is too much
        if entry.datasets:
            self._log_datasets(known.run_id, entry)

    def _log_datasets(self, run_id: str, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        context = [InputTag("mlflow.data.context", "training, validation")]
        inputs = []
        for one in entry.datasets:
            source = json.dumps({"task": one.task, "version": f"{one.task}-{one.digest}"})
            inputs.append(DatasetInput(Dataset(one.task, one.digest, "nas", source), context))
        self._client.log_inputs(run_id, inputs)

    def _log_files(self, run_id: str, entry: Entry) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in entry.files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            self._client.log_artifacts(run_id, folder)

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
    written = run.data.tags.get("nas.format", "")
    return _Known(run.info.run_id, run.info.start_time, kind, turn, finished, written)


def open_store(
    where: Place,
    study: str,
    description: str,
    view: str = "",
    clock: Callable[[], float] = time.time,
) -> Store:
    """Open the experiment of a study, or begin it; whatever MLflow raises comes through.

    `view` is how MLflow's page is to list its runs, see `nas/record/view.py`.
    """
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
            NOTE: description,
            "mlflow.experiment.primaryMetric.name": "score",
            "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
            "mlflow.experimentKind": "custom_model_development",
        }
        artifacts = f"{where.artifacts}/{study}" if where.artifacts else None
        number = client.create_experiment(study, artifacts, tags)
    else:
        number, tags = experiment.experiment_id, experiment.tags
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(number)
    if view:
        _offer(client, number, tags, description, view)
    return Store(client, number, clock)


def _offer(
    client: "MlflowClient", number: str, tags: Mapping[str, str], description: str, view: str
) -> None:
    """Keep a view with an experiment that has these tags, and link it in its description."""
    if tags.get(VIEW_TAG) != view:
        client.set_experiment_tag(number, VIEW_TAG, view)
    if tags.get(NOTE) == description:  # what a person wrote instead stays
        client.set_experiment_tag(number, NOTE, f"{description} {link(number)}")
