"""From the runs of many settings to what may be said of each cell beside the first one.

Greff et al. 2015, sections IV and V: Welch's t test between the best shares of two cells, at 0.05
after Bonferroni's correction for as many tests as there are cells beside the first; and what the
hyperparameters explain of the metric over all runs of a cell, by functional ANOVA.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nas.compare.config import Finding, published_of
from nas.compare.drawn import Axis, axes
from nas.compare.many import ManySettings, best_places
from nas.compare.protocol import is_missing, value_of
from nas.compare.result import unique_names
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.statistics.anova import Shares, shares
from nas.statistics.intervals import LEVEL, Interval
from nas.study.visit import Visit
from nas.tasks.base import Task
from nas.tasks.levels import Levels, levels_of
from nas.zoo.lookup import cell as look_up

FEWEST = 20
"""Runs of a cell below which nothing is said of what hyperparameters explain."""
Agreement = Literal["", "same", "different", "no evidence"]


@dataclass(frozen=True)
class Tried:
    """One run."""

    settings: Settings
    validation: float | None
    test: float
    """That of blind guessing for a run without a metric."""
    status: str
    rank: int | None
    """Its place on validation, 0 the best, if it is of the share that is compared."""
    hidden_size: int
    seconds: float


@dataclass(frozen=True)
class Sampled:
    """A cell on a task."""

    name: str
    key: str
    runs: tuple[Tried, ...]
    """In the order of the settings, which all cells share."""
    shares: Shares | None
    """What hyperparameters explain of the test metric; None if it does not vary or runs are few."""

    @property
    def values(self) -> list[float]:
        """On test, of the share that is best on validation, the best there first."""
        compared = {run.rank: run.test for run in self.runs if run.rank is not None}
        return [compared[rank] for rank in range(len(compared))]

    @property
    def n_missing(self) -> int:
        return sum(run.validation is None for run in self.runs)


@dataclass(frozen=True)
class Contrast:
    """A cell against the first one."""

    gain: Interval
    """Of the means: above 0 the cell is better. The interval is Welch's."""
    p: float
    corrected: float
    """By Bonferroni, over the cells beside the first."""
    rank_p: float
    """Of Mann and Whitney's test, not corrected: it does not lean on the t distribution."""
    found: Finding
    """"same": no evidence of a difference."""
    published: Finding | None
    """What the paper found; None where nothing was given."""

    @property
    def agreement(self) -> Agreement:
        """Whether the paper's finding is found here; "no evidence" where it saw a difference of
        which there is none here."""
        if self.published is None:
            return ""
        if self.found == self.published:
            return "same"
        return "no evidence" if self.found == "same" else "different"


@dataclass(frozen=True)
class OnTask:
    """All cells on a task."""

    task: Task
    axes: tuple[Axis, ...]
    cells: tuple[Sampled, ...]
    """The one that others are compared with first."""
    contrasts: Mapping[str, Contrast]
    """By cell, the first left out."""
    levels: Levels
    """What needs no network, on test."""


@dataclass(frozen=True)
class ManyComparison:
    """What was found."""

    study: str
    n_settings: int
    n_best: int
    cells: Mapping[str, str]
    """Text of each cell, by its name, the first one first."""
    tasks: tuple[OnTask, ...]

    @property
    def first(self) -> str:
        return next(iter(self.cells))


def compared_many(
    study: str,
    visits: Sequence[Visit],
    protocol: ManySettings,
    first: str,
    published: Sequence[str] = (),
) -> ManyComparison:
    """What the visits of a finished comparison say; `first` is the key of the cell that others are
    compared with, `published` are findings as `CompareConfig.published` has them."""
    names = unique_names(visits)
    ordered = sorted(visits, key=lambda visit: visit.key != first)
    known = {
        (task, look_up(cell).key): finding for task, cell, finding in map(published_of, published)
    }
    tasks = tuple(_on_task(task, ordered, names, protocol, known) for task in protocol.tasks)
    cells = {names[visit.key]: visit.cell for visit in ordered}
    return ManyComparison(study, protocol.config.n_settings, protocol.n_best, cells, tasks)


def _on_task(
    task: Task,
    visits: Sequence[Visit],
    names: Mapping[str, str],
    protocol: ManySettings,
    known: Mapping[tuple[str, str], Finding],
) -> OnTask:
    drawn = axes(protocol.grid, task)
    cells = [_sampled(visit, names[visit.key], task, protocol, drawn) for visit in visits]
    first, n_tests = cells[0], len(cells) - 1
    contrasts = {
        one.name: contrast(task, one.values, first.values, n_tests, known.get((task.name, one.key)))
        for one in cells[1:]
    }
    return OnTask(task, drawn, tuple(cells), contrasts, levels_of(task, protocol.seed, "test"))


def _sampled(
    visit: Visit, name: str, task: Task, protocol: ManySettings, drawn: Sequence[Axis]
) -> Sampled:
    asked = protocol.given_evaluations(visit.cell, visit.key, task)
    outcomes = [one for e in asked for one in visit.evaluated[e.digest()].outcomes]
    ranks = {place: rank for rank, place in enumerate(best_places(task, outcomes, protocol.n_best))}
    settings = protocol.settings_of(task)
    runs = tuple(
        _tried(task, settings[place], outcome, ranks.get(place))
        for place, outcome in enumerate(outcomes)
    )
    return Sampled(name, visit.key, runs, effects(task, drawn, runs))


def _tried(task: Task, settings: Settings, outcome: Outcome, rank: int | None) -> Tried:
    status = "not finite" if outcome.status == "ok" and is_missing(outcome) else outcome.status
    value, hidden, seconds = value_of(task, outcome), outcome.hidden_size, outcome.cost.wall_s
    return Tried(settings, outcome.best, value, status, rank, hidden, seconds)


def limited(task: Task, value: float) -> float:
    """A metric that is worse than blind guessing counts as that."""
    return (max if task.metric.higher_is_better else min)(value, task.chance("test"))


def effects(task: Task, drawn: Sequence[Axis], runs: Sequence[Tried]) -> Shares | None:
    """What each hyperparameter explains of the test metric over all runs of a cell.

    Metrics are limited, so that how badly a run ended does not outweigh all else.
    """
    if not drawn or len(runs) < FEWEST:
        return None
    points = np.array([[axis.place(run.settings) for axis in drawn] for run in runs])
    values = np.array([limited(task, run.test) for run in runs])
    return shares([axis.name for axis in drawn], points, values)


def contrast(
    task: Task,
    values: Sequence[float],
    others: Sequence[float],
    n_tests: int,
    published: Finding | None = None,
) -> Contrast:
    """A cell's test metrics against those of the first cell, one of `n_tests` on the task."""
    sign = 1.0 if task.metric.higher_is_better else -1.0
    gain, p = welch([sign * one for one in values], [sign * one for one in others])
    corrected = min(1.0, n_tests * p)
    found: Finding = "same"
    if corrected <= LEVEL:
        found = "better" if gain.mean > 0 else "worse"
    return Contrast(gain, p, corrected, _rank_p(values, others), found, published)


def welch(values: Sequence[float], others: Sequence[float]) -> tuple[Interval, float]:
    """The difference of two means with its 95 % interval, and the p value of Welch's t test.

    Of at least two values each; neither equal numbers nor equal variances are assumed. Without any
    spread, p is 1 where the means are equal and else 0.
    """
    from scipy.stats import ttest_ind

    assert min(len(values), len(others)) > 1
    mean = float(np.mean(values) - np.mean(others))
    if len(set(values)) == len(set(others)) == 1:
        return Interval(mean, mean, mean), float(mean == 0)
    test = ttest_ind(values, others, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return Interval(mean, float(low), float(high)), float(test.pvalue)


def _rank_p(values: Sequence[float], others: Sequence[float]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(values, others).pvalue)
