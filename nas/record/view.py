"""What MLflow shows of an experiment at first: which runs, columns and charts, and their address.

By itself MLflow lists the runs that were written last first and shows no metric. So an experiment
keeps a view of its runs as JSON in a tag, as MLflow's own "Share" button does. MLflow 3.17 shows
the side of its page for language models until an address or the reader chooses the other; it does
not read the tag `mlflow.experimentKind`, which other versions read. So every link that is printed
names that side and the view.
"""

import base64
import json
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import hidden
from nas.record.entry import TRAINING_LOSS, VALIDATION_LOSS, legal

VIEW = "cells-by-score"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
LOCAL = "http://127.0.0.1:5000"
"""The address of `mlflow ui` where nothing else is asked of it."""
SIDE = "workflowType=machine_learning"
PACKED = "deflate;"
"""With this a packed state begins."""
NARROWEST, WIDEST, A_LETTER = 90, 240, 8
"""Pixels of a column, and of a letter of its name."""


@dataclass(frozen=True)
class Column:
    """A metric or a tag of the runs."""

    name: str
    is_tag: bool = False

    @property
    def key(self) -> str:
        """MLflow's own name of the column."""
        return f"{'tags' if self.is_tag else 'metrics'}.`{legal(self.name)}`"

    @property
    def width(self) -> int:
        """Pixels at which its name can be read."""
        return max(NARROWEST, min(WIDEST, A_LETTER * len(self.name) + 40))


def view_of_search(tasks: Sequence[str], metrics: Sequence[str], sizes: Sequence[str] = ()) -> str:
    """The value of `VIEW_TAG` for a search: the best cells first, with what people compare.

    `tasks` are those of the score, `metrics` the name of each one's metric, `sizes` the metrics of
    further objectives.
    """
    columns = [
        Column("score"),
        *([Column("nas.front", is_tag=True)] if sizes else []),
        *(Column(name) for name in sizes),
        Column("nas.interval", is_tag=True),
        Column("nas.place", is_tag=True),
        *(Column(f"ratio.{task}") for task in tasks),
        Column("nas.stage", is_tag=True),
        Column("nas.status", is_tag=True),
        Column("n_params"),
        Column("nas.family", is_tag=True),
    ]
    return _view(columns, is_ascending=False, charts=list(_charts_of_search(tasks, metrics, sizes)))


def view_of_comparison(task: str, columns: Sequence[str], *, is_ascending: bool) -> str:
    """The value of `VIEW_TAG` for a comparison: the best cells on the first task first."""
    bars = [_bar("Test", f"{task}.test", "test")]
    return _view([Column(name) for name in columns], is_ascending=is_ascending, charts=bars)


def _view(columns: Sequence[Column], *, is_ascending: bool, charts: list[dict[str, Any]]) -> str:
    keys = [column.key for column in columns]
    return _packed(
        {
            "orderByKey": keys[0],
            "orderByAsc": is_ascending,
            "selectedColumns": keys,
            "columnOrder": keys,
            "columnWidths": {column.key: column.width for column in columns},
            "compareRunCharts": charts,
            "compareRunSections": _sections(charts),
            "isAccordionReordered": True,
        }
    )


def _packed(state: Mapping[str, Any]) -> str:
    """The state as MLflow's page packs it, since a tag has 5,000 characters in some versions."""
    packed = zlib.compress(json.dumps(state).encode(), 9)
    return f"{PACKED}{base64.b64encode(packed).decode()}"


def unpacked(view: str) -> dict[str, Any]:
    """The state of a view; the inverse of what made it."""
    packed = base64.b64decode(view.removeprefix(PACKED))
    state: dict[str, Any] = json.loads(zlib.decompress(packed))
    return state


def _charts_of_search(
    tasks: Sequence[str], metrics: Sequence[str], sizes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Scores and ratios, the score against parameters and time, then each task's curves."""
    yield _bar("Scores", "score", "score")
    for task in tasks:
        yield _bar("Scores", f"ratio.{task}", f"ratio to the GRU on {task}")
    for name in ("n_params", *sizes):
        yield _scatter("Scores", name, "score")
    yield _scatter("Scores", "seconds", "score")
    for task, metric in zip(tasks, metrics, strict=True):
        names = ["validation accuracy"] if metric == "accuracy" else []
        for name in (*names, VALIDATION_LOSS, TRAINING_LOSS):
            yield _line(legal(task), f"{task}/{name}", name)


def _chart(kind: str, section: str, name: str, **fields: Any) -> dict[str, Any]:
    about = {"uuid": f"{section} {name}", "type": kind, "metricSectionId": section}
    plain = {"runsCountToCompare": 10, "deleted": False, "isGenerated": False}
    return {**about, **plain, "displayName": name, **fields}


def _bar(section: str, metric: str, name: str) -> dict[str, Any]:
    return _chart("BAR", section, name, metricKey=legal(metric))


def _scatter(section: str, x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return _chart("SCATTER", section, f"{y} against {x}", **axes) | {"runsCountToCompare": 100}


def _line(section: str, metric: str, name: str) -> dict[str, Any]:
    key = legal(metric)
    return _chart(
        "LINE",
        section,
        name,
        metricKey=key,
        selectedMetricKeys=[key],
        lineSmoothness=0,
        xAxisKey="step",
        xAxisScaleType="linear",
        scaleType="linear",
        yAxisKey="metric",
        yAxisExpressions=[],
        selectedXAxisMetricKey="",
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
        range={},
    )


def _sections(charts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sections of the charts; all other metrics are in a last one, which is shut at first."""
    names = dict.fromkeys(chart["metricSectionId"] for chart in charts)
    shown = dict.fromkeys(names, True) | {"Model metrics": False}
    plain = {"isReordered": True, "deleted": False, "isGenerated": False}
    return [{"uuid": n, "name": n, "display": is_open, **plain} for n, is_open in shown.items()]


def address(experiment_id: str, *, charts: bool = False) -> str:
    """The address of the view behind that of a server."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment_id}/runs?{SIDE}&viewStateShareKey={VIEW}{mode}"


def where_to_look(uri: str, experiment_id: str) -> list[str]:
    """Lines on where a browser shows an experiment; of a database, how to open it first.

    `uri` is that of MLflow, whose password is hidden. Without an id the address is the server's.
    """
    behind = f"/{address(experiment_id)}" if experiment_id else ""
    if uri.startswith("http"):
        return [f"Look at every cell: {hidden(uri).rstrip('/')}{behind}"]
    if uri == "databricks":
        return ["Look at every cell: the experiment in the workspace of Databricks"]
    return [
        f"Look at every cell: mlflow ui --backend-store-uri {shlex.quote(hidden(uri))}",
        f"and then open {LOCAL}{behind}",
    ]


def link(experiment_id: str) -> str:
    """The addresses of the view and of its charts, in Markdown."""
    charts = address(experiment_id, charts=True)
    return f"[Its cells by score]({address(experiment_id)}), [as charts]({charts})"
