"""What the record says of one cell: a judged visit as the fields of an MLflow run, without MLflow.

To record something more of each cell, add it to `entry`; no state and no I/O here.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import Judgement, best_outcome
from nas.record.files import PICTURE, files_of
from nas.spaces.gates import Gates
from nas.study.visit import Visit
from nas.tasks.base import Task

RunStatus = Literal["FINISHED", "KILLED", "FAILED"]
BROKEN = ("failed", "crashed", "out of memory", "timed out")
"""Statuses of an outcome that say nothing of the cell."""
RUN_ID = "RUN-ID"
"""Stands in a note for the run's own id."""
LONGEST_EQUATIONS = 5000
"""Characters of a cell's text in its note: MLflow cuts a note at 8000, silently."""


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
    """Of all that determines it: configuration, revision of the code that makes it, contents."""


@dataclass(frozen=True)
class Entry:
    """The fields of a cell's run."""

    key: str
    name: str
    kind: str
    """"baseline", "included" or "candidate"."""
    status: RunStatus
    seconds: float
    """Spent on training the cell."""
    tags: dict[str, str]
    metrics: dict[str, float]
    params: dict[str, str]
    curves: tuple[Point, ...]
    """Of the best setting on each task."""
    note: str
    """Markdown."""
    files: dict[str, str | bytes]
    """By path: texts, and pictures."""
    datasets: tuple[Dataset, ...] = ()
    """What the cell was trained and judged on."""
    step: int = 0
    """Of the metrics that are no curves."""


@dataclass(frozen=True)
class _Tried:
    """What a cell did on one task."""

    task: Task
    value: float | None
    """The best metric; None if no setting gave one."""
    ratio: float | None
    best: Outcome | None
    settings: Settings | None
    """Of the best outcome."""

    @property
    def of_reference(self) -> float | None:
        """The GRU's best metric, by the definition of the ratio."""
        if not self.value or not self.ratio:
            return None
        over = self.task.metric.higher_is_better
        return self.value / self.ratio if over else self.value * self.ratio


def entry(
    visit: Visit, study: str, tasks: Sequence[Task], baselines: Sequence[str], parent: str = ""
) -> Entry:
    """Describe a judged visit; `tasks` are all that may occur in it, `baselines` are keys, `parent`
    is the name of the cell that it descends from."""
    judgement = visit.judgement
    assert judgement is not None, "only judged visits are recorded"
    kind = kind_of(visit, baselines)
    tried = [_tried(visit, judgement, task) for task in tasks if task.name in judgement.best]
    outcomes = [outcome for e in visit.evaluated.values() for outcome in e.outcomes]
    tags = {
        "nas.key": visit.key,
        "nas.kind": kind,
        "nas.family": family(visit),
        "nas.stage": judgement.stage,
        "nas.study": study,
        "nas.trial": str(visit.number),
    }
    if visit.turn:
        tags["nas.turn"] = str(visit.turn)
    if visit.parent is not None:
        tags["nas.parent"] = f"{parent} (trial {visit.parent})".strip()
    return Entry(
        visit.key,
        visit.name,
        kind,
        _status(judgement, outcomes),
        sum(outcome.cost.wall_s for outcome in outcomes),
        tags,
        _metrics(judgement, tried, outcomes),
        _params(tried),
        tuple(point for one in tried for point in _curves(one)),
        _note(visit, judgement, tried, outcomes, is_reference=visit.key in baselines[:1]),
        files_of(visit),
        tuple(_datasets(visit)),
    )


def kind_of(visit: Visit, baselines: Sequence[str]) -> str:
    """Whether a cell is a baseline, included by the user, or drawn."""
    given = "baseline" if visit.key in baselines else "included"
    return given if visit.kind == "given" else "candidate"


def family(visit: Visit) -> str:
    """Where a cell comes from: "given", "gates", a start cell of a space of free graphs, "mutants
    of" one of these, or "other" in a space of another kind."""
    if visit.kind == "given":
        return "given"
    generation = visit.params.get("generation", 1)
    gated = {field.name for field in dataclasses.fields(Gates)} & visit.params.keys()
    if gated or visit.params.get("origin") == "gates":
        origin = "gates"
    elif "generation" in visit.params:
        origin = str(visit.params.get("start", "the start cell"))
    else:
        origin = "other"
    return origin if generation == 1 else f"mutants of {origin}"


def _datasets(visit: Visit) -> Iterator[Dataset]:
    """One a task, in the order in which they were met."""
    versions = {e.task: e.task_version for e in visit.evaluated.values() if not e.key}
    for task, version in versions.items():
        yield Dataset(task, version.removeprefix(f"{task}-"))


def _tried(visit: Visit, judgement: Judgement, task: Task) -> _Tried:
    evaluated = [e for e in visit.evaluated.values() if e.task == task.name]
    best = best_outcome(task, [outcome for e in evaluated for outcome in e.outcomes])
    pairs = [pair for e in evaluated for pair in zip(e.settings, e.outcomes, strict=True)]
    settings = next((settings for settings, outcome in pairs if outcome is best), None)
    ratio = judgement.ratios.get(task.name)
    return _Tried(task, judgement.best[task.name], ratio, best, settings)


def _status(judgement: Judgement, outcomes: Sequence[Outcome]) -> RunStatus:
    if outcomes and all(outcome.status in BROKEN for outcome in outcomes):
        return "FAILED"
    return "KILLED" if judgement.score is None else "FINISHED"


def _metrics(
    judgement: Judgement, tried: Sequence[_Tried], outcomes: Sequence[Outcome]
) -> dict[str, float]:
    metrics: dict[str, float | None] = {"score": judgement.score, "value": judgement.value}
    for one in tried:
        metrics[legal(f"ratio.{one.task.name}")] = one.ratio
        metrics[legal(f"{one.task.name}.{one.task.metric.name}")] = one.value
    metrics["n_params"] = max((outcome.n_params for outcome in outcomes), default=0)
    metrics["seconds"] = round(sum(outcome.cost.wall_s for outcome in outcomes), 3)
    metrics["n_outcomes"] = len(outcomes)
    metrics["n_diverged"] = sum(outcome.status == "diverged" for outcome in outcomes)
    metrics["n_failed"] = sum(outcome.status in BROKEN for outcome in outcomes)
    return {
        name: float(value)
        for name, value in metrics.items()
        if value is not None and math.isfinite(value)
    }


def _params(tried: Sequence[_Tried]) -> dict[str, str]:
    params: dict[str, str] = {}
    for one in tried:
        if one.best is not None and one.settings is not None:
            best = {**dataclasses.asdict(one.settings), "hidden_size": one.best.hidden_size}
            params |= {legal(f"{one.task.name}.{name}"): str(v) for name, v in best.items()}
    return params


def _curves(one: _Tried) -> Iterator[Point]:
    """Yield the curves of the best setting; what comes before "/" groups them in MLflow's page."""
    if one.best is None:
        return
    epoch_s = one.best.cost.wall_s / max(1, len(one.best.curve))
    for step, epoch in enumerate(one.best.curve, start=1):
        values = {
            "train_loss": epoch.train_loss,
            "validation_loss": epoch.loss,
            "learning_rate": epoch.learning_rate,
            **{f"validation_accuracy_{mark}": value for mark, value in epoch.marks.items()},
        }
        if one.task.interface.head != "gaussian":
            values["validation_accuracy"] = epoch.accuracy
        for name, value in values.items():
            if math.isfinite(value):
                yield Point(legal(f"{one.task.name}/{name}"), value, step, step * epoch_s)


def legal(name: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w.\- /]", "_", name)


def _note(
    visit: Visit,
    judgement: Judgement,
    tried: Sequence[_Tried],
    outcomes: Sequence[Outcome],
    *,
    is_reference: bool,
) -> str:
    text = visit.cell
    if len(text) > LONGEST_EQUATIONS:
        text = text[:LONGEST_EQUATIONS].rsplit("\n", 1)[0] + "\n    # … the rest is in cell.cell\n"
    rows = [_table_row(one) for one in tried]
    troubles = [
        f"{count} {status}"
        for status in ("diverged", *BROKEN)
        if (count := sum(outcome.status == status for outcome in outcomes))
    ]
    runs = f"{len(outcomes)} training runs" + (f", {', '.join(troubles)}" if troubles else "")
    lines = [
        _standing(judgement, tried, is_reference=is_reference),
        "",
        f"```python\n{text.rstrip()}\n```",
        "",
        # MLflow removes inline SVG and data URIs from notes; its own server has the artifact.
        f"![{visit.name}](get-artifact?path={PICTURE}&run_uuid={RUN_ID})",
        "",
        "| task | metric | best | GRU | ratio |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        f"Stage: {judgement.stage}. Trial {visit.number}, key `{visit.key}`, {runs}.",
    ]
    return "\n".join(lines)


def _table_row(one: _Tried) -> str:
    numbers = (
        "-" if number is None else f"{number:.4g}"
        for number in (one.value, one.of_reference, one.ratio)
    )
    return f"| {one.task.name} | {one.task.metric.name} | {' | '.join(numbers)} |"


def _standing(judgement: Judgement, tried: Sequence[_Tried], *, is_reference: bool) -> str:
    """One paragraph: where the cell stands against the GRU."""
    ratios: Mapping[str, float] = judgement.ratios
    if is_reference:
        return "**The reference**: ratios and scores are relative to this cell."
    if judgement.score is None:
        how = next(one for one in tried if one.task.name == judgement.stage)
        metric = how.task.metric.name
        got = f"no {metric}" if how.value is None else f"{metric} {how.value:.4g}"
        against = "" if how.ratio is None else f", {how.ratio:.3f} of what the GRU reaches"
        return f"**Rejected at {judgement.stage}**: {got}{against}."
    worst = min(ratios, key=lambda name: ratios[name])
    ahead = [name for name, ratio in ratios.items() if ratio > 1]
    behind = [name for name, ratio in ratios.items() if ratio < 1]
    stands = [
        f"{where} on {', '.join(names)}"
        for where, names in (("ahead of it", ahead), ("behind it", behind))
        if names
    ]
    return (
        f"**Score {judgement.score:.3f}**, its smallest ratio to the GRU, on {worst}: "
        f"{'; '.join(stands) or 'equal to it'}."
    )
