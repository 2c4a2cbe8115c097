"""Entries as runs of an MLflow experiment: one flat run a cell, completed if half-written.

MLflow is used through its client and an explicit URI, so that no global state is set. It is
imported when a store is opened, which takes seconds.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.record.entry import Entry, shown
from nas.record.page import RUN_ID
from nas.record.view import VIEW_TAG, link
from nas.zoo.tracking import Place, initialising

if TYPE_CHECKING:  # an import takes seconds
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PAGE = 1000
NOTE = "mlflow.note.content"
KIND = "mlflow.experimentKind"
"""Of an experiment: versions of MLflow other than 3.17 open it on its runs by this tag."""
RECORD_FORMAT = "4"
"""The version of the record: runs of another format are written again, as new runs, since MLflow
cannot take a metric from a run. Raise it whenever something else is recorded of a cell."""


@dataclass(frozen=True)
class _Known:
    """A run that is there."""

    run_id: str
    start_ms: int
    kind: str
    turn: int
    """The turn of the visit that was recorded; later ones have results on further settings."""
    is_finished: bool
    format: str
    """The `RECORD_FORMAT` in which it was recorded."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_of_earlier_format(self) -> bool:
        """Whether an earlier version recorded it; a run that was only begun has no format yet."""
        return self.format != RECORD_FORMAT and (self.is_finished or self.format != "")

    @staticmethod
    def of(run: "Run") -> "_Known":
        info, tags = run.info, run.data.tags
        about = (tags.get("nas.kind", ""), int(tags.get("nas.turn", 0)), info.status != "RUNNING")
        return _Known(info.run_id, info.start_time, *about, tags.get("nas.format", ""), tags)


class Store:
    """The experiment of a study; made by `open_store`."""

    def __init__(
        self, client: "MlflowClient", experiment_id: str, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self.experiment_id = experiment_id
        self._clock = clock
        self._known: dict[str, _Known] = {}
        for run in self._runs():
            if key := run.data.tags.get("nas.key"):
                known = _Known.of(run)
                if key not in self._known or known.is_finished:
                    self._known[key] = known

    def holds(self, key: str, kind: str, turn: int = 0) -> bool:
        """Whether the cell is recorded in full.

        A cell that was drawn before it was given is written again: given cells go through all
        tasks, drawn ones may have been rejected. So is a cell that was visited again, and one that
        an earlier version recorded.
        """
        known = self._known.get(key)
        is_current = known is not None and known.format == RECORD_FORMAT
        if known is None or not known.is_finished or known.turn < turn or not is_current:
            return False
        return known.kind != "candidate" or kind == "candidate"

    def write(self, entry: Entry) -> None:
        """Write a cell's run; complete one that was left half-written.

        Its content is a function of the entry and the run's start, so that writing it twice changes
        nothing.
        """
        known = self._known.pop(entry.key, None)
        turn = int(entry.tags.get("nas.turn", 0))
        start_ms = round(1000 * (self._clock() - entry.seconds))
        is_old = known is not None and known.is_of_earlier_format
        if known is not None and (is_old or (known.kind, known.turn) != (entry.kind, turn)):
            self._client.delete_run(known.run_id)
            start_ms = known.start_ms if is_old else start_ms
            known = None
        if known is None:
            # Its tags come at once: they identify it if the rest is never written.
            run = self._client.create_run(self.experiment_id, start_ms, entry.tags, entry.name)
            known = _Known.of(run)
        self._log(known, entry)
        self._log_files(known.run_id, entry)
        end_ms = known.start_ms + round(1000 * entry.seconds)
        self._client.set_terminated(known.run_id, entry.status, end_ms)
        about = (known.run_id, known.start_ms, entry.kind, turn, True)
        self._known[entry.key] = _Known(*about, RECORD_FORMAT, entry.tags)
        self._write_beside(entry.beside)

    def _write_beside(self, beside: Mapping[str, Mapping[str, str]]) -> None:
        """Set the tags of other runs, where they differ."""
        from mlflow.entities import RunTag

        for key, tags in beside.items():
            known = self._known.get(key)
            if known is not None and not tags.items() <= known.tags.items():
                pairs = [RunTag(name, value) for name, value in tags.items()]
                self._client.log_batch(known.run_id, tags=pairs)
                self._known[key] = replace(known, tags={**known.tags, **tags})

    def _log(self, known: _Known, entry: Entry) -> None:
        from mlflow.entities import Metric, Param, RunTag

        start = known.start_ms
        end = start + round(1000 * entry.seconds)
        step = entry.step
        metrics = [Metric(name, shown(v), end, step) for name, v in entry.metrics.items()]
        at = [start + round(1000 * point.at_s) for point in entry.curves]
        metrics += [
            Metric(point.name, shown(point.value), at_ms, point.step)
            for point, at_ms in zip(entry.curves, at, strict=True)
        ]
        params = [Param(name, value) for name, value in entry.params.items()]
        note = entry.note.replace(RUN_ID, known.run_id)
        tags = {**entry.tags, "nas.format": RECORD_FORMAT, NOTE: note}
        pairs = [RunTag(name, value) for name, value in tags.items()]
        self._client.log_batch(known.run_id, metrics, params, pairs)  # splits what is too large
        if entry.datasets:
            self._log_datasets(known.run_id, entry)

    def _log_datasets(self, run_id: str, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        context = [InputTag("mlflow.data.context", "training, validation")]
        inputs = []
        for data in entry.datasets:
            source = json.dumps({"task": data.task, "version": f"{data.task}-{data.digest}"})
            inputs.append(DatasetInput(Dataset(data.task, data.digest, "nas", source), context))
        self._client.log_inputs(run_id, inputs)

    def _log_files(self, run_id: str, entry: Entry) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in entry.files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            self._client.log_artifacts(run_id, folder)

    def _runs(self) -> Iterator["Run"]:
        token: str | None = None
        while page := self._client.search_runs(
            [self.experiment_id], max_results=PAGE, page_token=token
        ):
            yield from page
            if not (token := page.token):
                return


def open_store(
    where: Place,
    study: str,
    description: str,
    view: str = "",
    clock: Callable[[], float] = time.time,
) -> Store:
    """Open the experiment of a study, or begin it; exceptions of MLflow come through.

    `view` is the value of `VIEW_TAG`, if the experiment is to have one.
    """
    from mlflow.tracking import MlflowClient

    with initialising(where.database):
        client = MlflowClient(tracking_uri=where.uri)
        experiment = client.get_experiment_by_name(study)
    if experiment is None:
        tags = {
            NOTE: description,
            "mlflow.experiment.primaryMetric.name": "score",
            "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
            KIND: "custom_model_development",
        }
        artifacts = f"{where.artifacts}/{study}" if where.artifacts else None
        number = client.create_experiment(study, artifacts, tags)
    else:
        number, tags = experiment.experiment_id, experiment.tags
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(number)
    if view and tags.get(VIEW_TAG) != view:
        client.set_experiment_tag(number, VIEW_TAG, view)
    note = tags.get(NOTE, "")
    linked = f"{description} {link(number)}"
    is_own = note == description or note.startswith(f"{description} [Its cells")
    if view and is_own and note != linked:  # a description that a person wrote stays
        client.set_experiment_tag(number, NOTE, linked)
    return Store(client, number, clock)
