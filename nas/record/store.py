"""Entries as runs of an MLflow experiment: one flat run a cell, completed if half-written.

MLflow is used through its client and an explicit URI, so that no global state is set. It is
imported when a store is opened, which takes seconds.

By itself MLflow lists the runs that were written last first and shows no metric. So the experiment
keeps a view of its runs (`view`), as JSON in a tag, as MLflow's own "Share" button does.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.record.entry import RUN_ID, Entry, legal
from nas.zoo.tracking import Place, initialising

if TYPE_CHECKING:  # an import takes seconds
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PAGE = 1000
NOTE = "mlflow.note.content"
RECORD_FORMAT = "3"
"""The version of the record: runs of another format are written again. Raise it whenever more is
recorded of a cell."""
VIEW = "cells-by-score"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"


def run_list_view(tasks: Sequence[str]) -> str:
    """The value of `VIEW_TAG`: the best cells first, with the columns that people compare.

    `tasks` are those of the score.
    """
    names = ["score", *(legal(f"ratio.{task}") for task in tasks), "n_params"]
    columns = [f"metrics.`{name}`" for name in names]
    columns += [f"tags.`nas.{name}`" for name in ("family", "stage")]
    return json.dumps(
        {
            "orderByKey": columns[0],
            "orderByAsc": False,
            "selectedColumns": columns,
            "columnOrder": columns,
        }
    )


def link(experiment_id: str) -> str:
    """The address of the view, in Markdown."""
    # MLflow 3.17 begins with the side of its page that is for language models' traces.
    address = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    return f"[Its cells by score]({address}&viewStateShareKey={VIEW})"


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

    @staticmethod
    def of(run: "Run") -> "_Known":
        info, tags = run.info, run.data.tags
        about = (tags.get("nas.kind", ""), int(tags.get("nas.turn", 0)), info.status != "RUNNING")
        return _Known(info.run_id, info.start_time, *about, tags.get("nas.format", ""))


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
        if known is not None and (known.kind, known.turn) != (entry.kind, turn):
            self._client.delete_run(known.run_id)
            known = None
        if known is None:
            start_ms = round(1000 * (self._clock() - entry.seconds))
            # Its tags come at once: they identify it if the rest is never written.
            run = self._client.create_run(self._experiment_id, start_ms, entry.tags, entry.name)
            known = _Known.of(run)
        self._log(known, entry)
        self._log_files(known.run_id, entry)
        end_ms = known.start_ms + round(1000 * entry.seconds)
        self._client.set_terminated(known.run_id, entry.status, end_ms)
        about = (known.run_id, known.start_ms, entry.kind, turn, True)
        self._known[entry.key] = _Known(*about, RECORD_FORMAT)

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
            [self._experiment_id], max_results=PAGE, page_token=token
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
            "mlflow.experimentKind": "custom_model_development",
        }
        artifacts = f"{where.artifacts}/{study}" if where.artifacts else None
        number = client.create_experiment(study, artifacts, tags)
    else:
        number, tags = experiment.experiment_id, experiment.tags
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(number)
    if view and tags.get(VIEW_TAG) != view:
        client.set_experiment_tag(number, VIEW_TAG, view)
    if view and tags.get(NOTE) == description:  # a description that a person wrote stays
        client.set_experiment_tag(number, NOTE, f"{description} {link(number)}")
    return Store(client, number, clock)
