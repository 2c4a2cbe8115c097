"""The record of one cell: a judged visit as the fields and files of an MLflow run, without MLflow.

To record something more of each cell, add it to `_metrics`, `_params`, `_files` or the tags of
`entry`, and raise `RECORD_FORMAT` in `store.py`, so that runs recorded before are written again.
"""

import csv
import dataclasses
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nas.cell.json import to_json
from nas.cell.reader import loads
from nas.errors import UserError
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import CONSTRAINTS, Judgement, best_outcome
from nas.protocol.objectives import STEP_TIME
from nas.protocol.statistic import FAST, FINAL, highest_drawn, planned_epochs, value_of
from nas.record import page
from nas.spaces.gates import Gates
from nas.study.leaderboard import kind_of
from nas.study.rejections import broken_by
from nas.study.visit import Evaluated, Visit
from nas.tasks.base import Task
from nas.tasks.kinds import LatentKind

RunStatus = Literal["FINISHED", "FAILED"]
"""MLflow marks a failed run with a red cross, which is for crashes: a rejected cell is finished."""
BROKEN = ("failed", "crashed", "out of memory", "timed out")
"""Statuses of an outcome that tell nothing about the cell."""
PICTURE = "cell.svg"
LOSSES = TRAINING_LOSS, VALIDATION_LOSS = "training loss", "validation loss"
"""Names of curves that are clipped."""
DIGITS = 4
"""Significant digits of what MLflow shows; settings.json and the study hold all."""
LARGEST_COUNT = 1e9
"""Whole numbers up to this one keep all digits."""


@dataclass(frozen=True)
class Point:
    """A value of a curve."""

    name: str
    value: float
    step: int
    at_s: float
    """Seconds after the training run began."""


@dataclass(frozen=True)
class Dataset:
    """The data of a task."""

    task: str
    digest: str
    """The digest of the configuration, of the revision of the code, and of the contents."""


@dataclass(frozen=True)
class Entry:
    """The fields of a run."""

    key: str
    name: str
    kind: str
    """"baseline", "included" or "candidate"."""
    status: RunStatus
    seconds: float
    """Seconds spent on training the cell."""
    tags: dict[str, str]
    metrics: dict[str, float]
    params: dict[str, str]
    curves: tuple[Point, ...]
    """The curves of the best setting on each task."""
    note: str
    """Markdown."""
    files: dict[str, str | bytes]
    """Texts and pictures by path."""
    datasets: tuple[Dataset, ...] = ()
    """The data on which the cell was trained and judged."""
    step: int = 0
    """The step of the metrics that are no curves."""
    beside: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """Tags of other runs, by the key of their cells, which this one knows better."""


@dataclass(frozen=True)
class _OnTask:
    """The results of a cell on one task."""

    task: Task
    value: float | None
    """The best metric; None if no setting gave one."""
    ratio: float | None
    best: Outcome | None
    settings: Settings | None
    """The settings of the best outcome."""
    endpoints: dict[str, float | None]
    """How fast it learns (area) and where it ends (last), as means over all settings."""
    is_of_best: bool
    """Whether the ratio is that of the best metrics."""
    repeated: float | None
    """What is compared, from a second measurement with fresh seeds, if there is one."""

    @property
    def of_reference(self) -> float | None:
        """The GRU's best metric, by the definition of the ratio; None if that is of another."""
        if not self.value or not self.ratio or not self.is_of_best:
            return None
        over = self.task.metric.higher_is_better
        return self.value / self.ratio if over else self.value * self.ratio


def entry(
    visit: Visit, study: str, tasks: Sequence[Task], baselines: Sequence[str], parent: str = ""
) -> Entry:
    """Describe a judged visit.

    `tasks` are all that may occur in it, `baselines` are keys, and `parent` is the name of the cell
    that it descends from.
    """
    judgement = visit.judgement
    assert judgement is not None, "only judged visits are recorded"
    results = [_result(visit, judgement, task) for task in tasks if task.name in judgement.best]
    outcomes = [outcome for e in visit.evaluated.values() for outcome in e.outcomes]
    kind, untrained = kind_of(visit, baselines), judgement.stage == CONSTRAINTS
    tags = {
        "nas.key": visit.key,
        "nas.kind": kind,
        "nas.family": family(visit),
        "nas.stage": ", ".join(judgement.broken) if untrained else judgement.stage,
        "nas.status": _status(judgement, outcomes),
        "nas.study": study,
        "nas.trial": str(visit.number),
    }
    if visit.turn:
        tags["nas.turn"] = str(visit.turn)
    if visit.parent is not None:
        tags["nas.parent"] = f"{parent} (trial {visit.parent})".strip()
    standing = _standing(judgement, results, is_reference=visit.key in baselines[:1])
    return Entry(
        visit.key,
        visit.name,
        kind,
        "FAILED" if tags["nas.status"] == "failed" else "FINISHED",
        sum(outcome.cost.wall_s for outcome in outcomes),
        tags,
        _metrics(judgement, results, outcomes),
        _params(results),
        tuple(point for result in results for point in _curves(result)),
        _note(visit, standing, results, outcomes),
        _files(visit),
        tuple(_datasets(visit)),
    )


def _datasets(visit: Visit) -> Iterator[Dataset]:
    versions = {e.task: e.task_version for e in visit.evaluated.values() if not e.key}
    for task, version in versions.items():
        yield Dataset(task, version.removeprefix(f"{task}-"))


def family(visit: Visit) -> str:
    """Where a cell comes from: "given", "gates", a start cell of a space of free graphs, "mutants
    of" one of these, "children of" one or two in a space of bred cells, or "other" elsewhere."""
    if visit.kind == "given":
        return "given"
    if visit.params.get("origin") == "child":
        return "children of two" if visit.params["mate"] else "children of one"
    generation = visit.params.get("generation", 1)
    gated = {field.name for field in dataclasses.fields(Gates)} & visit.params.keys()
    if gated or visit.params.get("origin") == "gates":
        origin = "gates"
    elif "generation" in visit.params:
        origin = str(visit.params.get("start", "the start cell"))
    else:
        origin = "other"
    return origin if generation == 1 else f"mutants of {origin}"


def _result(visit: Visit, judgement: Judgement, task: Task) -> _OnTask:
    evaluated = [e for e in visit.evaluated.values() if e.task == task.name]
    if judgement.rungs:  # a given cell was measured at all of them
        largest = max(map(_budget, evaluated), default=None)
        evaluated = [e for e in evaluated if _budget(e) == largest]
    pairs = [pair for e in evaluated for pair in zip(e.settings, e.outcomes, strict=True)]
    best = best_outcome(task, [outcome for _, outcome in pairs])
    settings = next((settings for settings, outcome in pairs if outcome is best), None)
    ratio, repeated = judgement.ratios.get(task.name), judgement.repeated.get(task.name)
    about = (task, judgement.best[task.name], ratio, best, settings)
    is_of_best = task.name not in judgement.compared
    return _OnTask(*about, _endpoints(task, evaluated), is_of_best, repeated)


def _budget(evaluated: Evaluated) -> tuple[int, float]:
    """How much a run could take at most: parameters, then the share of the epochs."""
    return max(settings.n_params for settings in evaluated.settings), evaluated.fidelity


def _endpoints(task: Task, evaluated: Sequence[Evaluated]) -> dict[str, float | None]:
    """The endpoints by name; none where blind guessing has no metric, since data are not here."""
    if not evaluated or task.missing():
        return {}
    outcomes = [outcome for e in evaluated for outcome in e.outcomes]
    n_epochs = planned_epochs(task, evaluated[0].fidelity)
    try:
        return {s.of: value_of(task, outcomes, s, n_epochs) for s in (FAST, FINAL)}
    except UserError:
        return {}


def _status(judgement: Judgement, outcomes: Sequence[Outcome]) -> str:
    """What became of a cell, in a word."""
    if outcomes and all(outcome.status in BROKEN for outcome in outcomes):
        return "failed"
    if judgement.waits:
        return "waits"
    return "rejected" if judgement.score is None else "scored"


def finite(metrics: dict[str, float | None]) -> dict[str, float]:
    """The metrics that MLflow takes."""
    known = {name: float(value) for name, value in metrics.items() if value is not None}
    return {name: value for name, value in known.items() if math.isfinite(value)}


def shown(value: float) -> float:
    """A number with as many digits as MLflow is to show; counts keep all."""
    is_count = float(value).is_integer() and abs(value) <= LARGEST_COUNT
    return float(value) if is_count else float(f"{value:.{DIGITS}g}")


def shown_param(value: Any) -> str:
    """A value of a setting as text, with as many digits."""
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def _metrics(
    judgement: Judgement, results: Sequence[_OnTask], outcomes: Sequence[Outcome]
) -> dict[str, float]:
    metrics: dict[str, float | None] = {"score": judgement.score}
    metrics |= {size_name(name): size(name, value) for name, value in judgement.sizes.items()}
    for result in results:
        metrics[legal(f"ratio.{result.task.name}")] = result.ratio
        metrics[legal(f"{result.task.name}.{result.task.metric.name}")] = result.value
        for name, value in {**result.endpoints, "repeated": result.repeated}.items():
            metrics[legal(f"{result.task.name}.{name}")] = value
    metrics["n_params"] = max((outcome.n_params for outcome in outcomes), default=0)
    metrics["seconds"] = round(sum(outcome.cost.wall_s for outcome in outcomes), 3)
    metrics["n_outcomes"] = len(outcomes)
    metrics["n_diverged"] = sum(outcome.status == "diverged" for outcome in outcomes)
    metrics["n_failed"] = sum(outcome.status in BROKEN for outcome in outcomes)
    return finite(metrics)


def size_name(name: str) -> str:
    """The name of an objective beside the score as a metric."""
    return "step_us" if name == STEP_TIME else name


def size(name: str, value: float) -> float:
    """Its value, a step time in microseconds."""
    return 1e6 * value if name == STEP_TIME else value


def _params(results: Sequence[_OnTask]) -> dict[str, str]:
    params: dict[str, str] = {}
    for result in results:
        if result.best is not None and result.settings is not None:
            best = {**dataclasses.asdict(result.settings), "hidden_size": result.best.hidden_size}
            params |= {
                legal(f"{result.task.name}.{name}"): shown_param(v) for name, v in best.items()
            }
    return params


def _curves(result: _OnTask) -> Iterator[Point]:
    """The curves of the best setting; MLflow's page groups them by the text before "/".

    Losses are clipped, or those of one run that diverges press all others flat.
    """
    if result.best is None:
        return
    highest = highest_drawn(result.task)
    epoch_s = result.best.cost.wall_s / max(1, len(result.best.curve))
    for step, epoch in enumerate(result.best.curve, start=1):
        values = {
            TRAINING_LOSS: epoch.train_loss,
            VALIDATION_LOSS: epoch.loss,
            "learning rate": epoch.learning_rate,
            **{f"validation accuracy of {mark}": value for mark, value in epoch.marks.items()},
        }
        ends = result.task.interface
        if ends.head != "gaussian" and not isinstance(ends.kind, LatentKind):
            values["validation accuracy"] = epoch.accuracy
        for name, value in values.items():
            if math.isfinite(value):
                drawn = min(value, highest) if name in LOSSES else value
                yield Point(legal(f"{result.task.name}/{name}"), drawn, step, step * epoch_s)


def legal(name: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w.\- /]", "_", name)


def _note(
    visit: Visit, standing: str, results: Sequence[_OnTask], outcomes: Sequence[Outcome]
) -> str:
    assert visit.judgement is not None
    cell = loads(visit.cell)
    counts = Counter[str](outcome.status for outcome in outcomes)
    troubles = [f"{counts[kind]} {kind}" for kind in ("diverged", *BROKEN) if counts[kind]]
    runs = ", ".join([f"{len(outcomes)} training runs", *troubles])
    lines = [
        page.beginning(cell),
        "",
        standing,
        "",
        f"![{visit.name}](get-artifact?path={PICTURE}&run_uuid={page.RUN_ID})",
        "",
        "| task | metric | best | GRU | ratio |",
        "| --- | --- | --- | --- | --- |",
        *map(_table_row, results),
        "",
        f"Stage: {visit.judgement.stage}. Trial {visit.number}, key `{visit.key}`, {runs}.",
    ]
    return "\n".join([*lines, *(["", about] if (about := page.end(cell)) else [])])


def _table_row(result: _OnTask) -> str:
    numbers = (
        "-" if number is None else f"{number:.4g}"
        for number in (result.value, result.of_reference, result.ratio)
    )
    return f"| {result.task.name} | {result.task.metric.name} | {' | '.join(numbers)} |"


def _standing(judgement: Judgement, results: Sequence[_OnTask], *, is_reference: bool) -> str:
    """One paragraph: where the cell stands against the GRU."""
    ratios = judgement.ratios
    if is_reference:
        return "**The reference**: ratios and scores are relative to this cell."
    if judgement.waits:
        return (
            f"**At {judgement.stage}**: {judgement.rungs[-1].mean:.3f} of the GRU there, the "
            "geometric mean of its ratios over the tasks."
        )
    if judgement.stage == CONSTRAINTS:
        return f"**Not trained**: {broken_by(judgement.broken)}."
    if judgement.score is None:
        last = next(result for result in results if result.task.name == judgement.stage)
        metric = last.task.metric.name
        got = f"no {metric}" if last.value is None else f"{metric} {last.value:.4g}"
        against = "" if last.ratio is None else f", {last.ratio:.3f} of what the GRU reaches"
        return f"**Rejected at {judgement.stage}**: {got}{against}."
    worst = min(ratios, key=lambda name: ratios[name])
    ahead = [name for name, ratio in ratios.items() if ratio > 1]
    behind = [name for name, ratio in ratios.items() if ratio < 1]
    stands = [
        f"{where} on {', '.join(names)}"
        for where, names in (("ahead of it", ahead), ("behind it", behind))
        if names
    ]
    is_smallest = judgement.score == ratios[worst]
    what = f"its smallest ratio to the GRU, on {worst}"
    if not is_smallest:
        what = f"the geometric mean of its ratios to the GRU, of which {worst} is the smallest"
    return f"**Score {judgement.score:.3f}**, {what}: {'; '.join(stands) or 'equal to it'}."


def _files(visit: Visit) -> dict[str, str | bytes]:
    """The equations, the picture, and what each setting gave; MLflow shows settings.csv as a table,
    settings.json is for programs."""
    rows = [row for evaluated in visit.evaluated.values() for row in _outcome_rows(evaluated)]
    cell = loads(visit.cell)
    return {
        "cell.cell": visit.cell,
        "cell.json": json.dumps(to_json(cell), indent=2) + "\n",
        PICTURE: (picture := cell.svg()),
        page.SMALL: page.small(picture),
        "settings.json": json.dumps(rows, indent=2) + "\n",
        "settings.csv": as_csv([_flat(row) for row in rows]),
    }


def _outcome_rows(evaluated: Evaluated) -> Iterator[dict[str, Any]]:
    for settings, outcome in zip(evaluated.settings, evaluated.outcomes, strict=True):
        yield {
            "task": evaluated.task,
            "task_version": evaluated.task_version,
            "seed": evaluated.seed,
            "fidelity": evaluated.fidelity,
            "settings": dataclasses.asdict(settings),
            "status": outcome.status,
            "best": outcome.best,
            "best_epoch": outcome.best_epoch,
            "epochs": len(outcome.curve),
            "n_params": outcome.n_params,
            "hidden_size": outcome.hidden_size,
            "cost": dataclasses.asdict(outcome.cost),
            "message": outcome.message,
        }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of settings.json without nesting."""
    flat = {name: value for name, value in row.items() if not isinstance(value, dict)}
    message = flat.pop("message")
    settings = {**row["settings"]}
    budget = {"parameter_budget": settings.pop("n_params")}
    return {**flat, **budget, **settings, **row["cost"], "message": message}


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV, with all digits and a line of the first row's names; None is empty."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
