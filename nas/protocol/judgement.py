"""The judgement of a cell, and the reference that candidates are judged by."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nas.protocol.evaluation import Outcome
from nas.tasks.base import Task


@dataclass(frozen=True)
class Rung:
    """The result of a cell at one rung of a ladder."""

    rung: int
    """0 is the lowest."""
    values: dict[str, float]
    """The number by which cells are compared on each task; a task on which every run failed has
    none."""
    ratios: dict[str, float]
    """Relative to the GRU's at the same rung, above 1 is better."""

    @property
    def mean(self) -> float:
        """The geometric mean of the ratios."""
        return geometric_mean(self.ratios)


@dataclass(frozen=True)
class Judgement:
    """The result of judging a cell."""

    stage: str
    """"scored", or the task at which it was rejected; "constraints" if it was not trained."""
    best: dict[str, float | None]
    """The best metric on each tried task; None if no setting gave one."""
    ratios: dict[str, float] = field(default_factory=dict)
    """Relative to the GRU's best, above 1 is better."""
    score: float | None = None
    """`score_of` the ratios; None for a candidate that was rejected, or stands below the top of a
    ladder."""
    value: float = 0.0
    """The value that the sampler maximises: the score, or for a rejected candidate how far it came,
    less than any accepted candidate's."""
    looks: dict[str, float] = field(default_factory=dict)
    """The best metric on each task at the first look, where there is one."""
    cut: bool = False
    """Whether it was rejected at a first look."""
    set_aside: str = ""
    """Why it is never tried again: how its evaluations ended the workers."""
    compared: dict[str, float] = field(default_factory=dict)
    """The protocol's statistic on each task, of which the ratios are; empty where it is the best
    metric."""
    repeated: dict[str, float] = field(default_factory=dict)
    """The same number on each task from a second measurement with fresh seeds, for cells that have
    one: that of blind guessing where no run gave one. The sampler is not told."""
    repeated_ratios: dict[str, float] = field(default_factory=dict)
    """Its ratios to what `ratios` are relative to."""
    rungs: tuple[Rung, ...] = ()
    """On a ladder: the result at the rung of the visit, for a given cell at all rungs."""
    broken: dict[str, float] = field(default_factory=dict)
    """The size with which the cell breaks each constraint that it does, by the constraint's text.
    Such a candidate is not trained; a given cell is, and cannot win."""
    sizes: dict[str, float] = field(default_factory=dict)
    """With several objectives: those beside the score, by name, and multiply-adds in any case;
    step_time in seconds, where it was measured."""

    @staticmethod
    def untrained(broken: dict[str, float]) -> "Judgement":
        """Return the judgement of a candidate that breaks constraints."""
        return Judgement(CONSTRAINTS, {}, broken=broken)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Judgement":
        """Return the judgement that `to_json` stored."""
        rungs = tuple(Rung(**rung) for rung in data.get("rungs", ()))
        return Judgement(**{**data, "rungs": rungs})

    @property
    def waits(self) -> bool:
        """Whether the cell stands at a rung of a ladder from which it may go on."""
        return bool(self.rungs) and self.score is None

    def on(self, task: str) -> float | None:
        """Return the number on a task that its ratio is of; None if there is none."""
        return self.compared.get(task, self.best.get(task))

    def to_json(self) -> dict[str, Any]:
        """Return the judgement as it is stored, without unused fields of later studies."""
        plain = asdict(self)
        for name in UNUSED:
            if not plain[name]:
                del plain[name]
        return plain


CONSTRAINTS = "constraints"
"""The stage of a candidate that breaks a constraint."""
UNUSED = (
    "looks", "cut", "set_aside", "compared", "repeated", "repeated_ratios", "rungs", "broken",
    "sizes",
)  # fmt: skip
"""Fields that the first studies did not have."""
Score = Literal["smallest", "geometric"]


def score_of(ratios: Mapping[str, float], score: Score = "smallest") -> float:
    """The score of a cell with these ratios to the GRU, by task: the smallest of them, or their
    geometric mean.

    The smallest is that of Jozefowicz et al. 2015, section 3.1. Judgements keep the score that they
    were given, so another formula is another `definition` of a study (`nas/study/config.py`).
    """
    return min(ratios.values()) if score == "smallest" else geometric_mean(ratios)


def geometric_mean(ratios: Mapping[str, float]) -> float:
    """The geometric mean of ratios, 0 if one of them is 0."""
    return statistics.geometric_mean(ratios.values()) if min(ratios.values()) > 0 else 0.0


def set_aside(task: Task, outcomes: Sequence[Outcome]) -> Judgement | None:
    """Judge a candidate whose evaluation ended its workers, each time that it was tried.

    Return None for any other: the protocol judges a run that failed by itself. The sampler gets the
    lowest value, whatever other settings gave.
    """
    for outcome in outcomes:
        if outcome.status == "crashed":
            best = best_value(task, outcomes)
            reason = outcome.message or "its worker died"
            return Judgement(task.name, {task.name: best}, set_aside=reason)
    return None


@dataclass(frozen=True)
class Reference:
    """The metrics that the reference cell reaches on each task."""

    best: Mapping[str, float]
    looks: Mapping[str, float] = field(default_factory=dict)
    """The metrics at the first look."""
    compared: Mapping[str, float] = field(default_factory=dict)
    """`Judgement.compared` of the reference."""
    rungs: Sequence[Mapping[str, float]] = ()
    """On a ladder: the number that is compared, by task, at each rung."""

    def on(self, task: str) -> float:
        """Return the number on a task that ratios are relative to."""
        return self.compared.get(task, self.best[task])

    @staticmethod
    def of(judgement: Judgement) -> "Reference | None":
        """Return the reference of a judgement; None if a task has no metric."""
        known = {name: value for name, value in judgement.best.items() if value is not None}
        complete = len(known) == len(judgement.best)
        rungs = tuple(rung.values for rung in judgement.rungs)
        about = (known, judgement.looks, judgement.compared, rungs)
        return Reference(*about) if complete else None


def best_outcome(task: Task, outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome with the best metric, the first of equals; None if none has one."""
    best: Outcome | None = None
    for outcome in outcomes:
        if outcome.best is not None and (
            best is None or best.best is None or task.metric.better(outcome.best, best.best)
        ):
            best = outcome
    return best


def best_value(task: Task, outcomes: Sequence[Outcome]) -> float | None:
    """Return the best metric of all outcomes; None if none has one."""
    best = best_outcome(task, outcomes)
    return best.best if best else None


def value_at(task: Task, outcomes: Sequence[Outcome], n_epochs: int) -> float | None:
    """Return the best metric that any of the outcomes had reached after so many epochs."""
    values = [
        epoch.value(task.metric) for outcome in outcomes for epoch in outcome.curve[:n_epochs]
    ]
    if not values:
        return None
    return max(values) if task.metric.higher_is_better else min(values)
