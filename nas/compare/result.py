"""From the stored outcomes of a comparison to a claim, or none, about each pair of cells.

There are two tests, one for each protocol. With fresh seeds, differences to GRU and LSTM are paired
by seed, and the rank test is corrected by Holm. With many settings, as by Greff et al. 2015,
sections IV and V, Welch's t test between the best shares of a cell and of the first one is
corrected by Bonferroni, and functional ANOVA says what the hyperparameters explain of the metric.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from nas.compare.config import Finding, published_of
from nas.compare.drawn import Axis, axes
from nas.compare.protocol import BestShare, FreshSeeds, is_missing, value_of
from nas.compare.ranking import TEST, Ranking, rankings
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import best_value
from nas.protocol.statistic import Of, Statistic, blind, of_run, planned_epochs
from nas.report.statistics.anova import Shares, shares
from nas.report.statistics.intervals import (
    LEVEL,
    Difference,
    Interval,
    compared_p,
    differences,
    interval,
    smallest_p,
    verdict,
)
from nas.study.visit import Visit
from nas.tasks.base import Metric, Task
from nas.tasks.levels import Levels, levels_of
from nas.zoo.lookup import cell as look_up

AREA: Of = "area"
CURVES: tuple[Of, ...] = ("best", "last", AREA)
"""Numbers of a run that are told of its validation curve."""
FEWEST = 20
"""Least number of runs of a cell from which the effects of hyperparameters are estimated."""
HOW = {"same": "no evidence of a difference", "worse": "worse", "better": "better"}
Agreement = Literal["", "same", "different", "no evidence"]


@dataclass(frozen=True)
class Run:
    """One run of many settings."""

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
class Measured:
    """A cell on a task."""

    name: str
    """Unlike that of any other cell of the comparison."""
    key: str
    values: tuple[float, ...]
    """On test, by seed, or of the best settings, the best on validation first; the metric of blind
    guessing for a run without one."""
    missing: tuple[str, ...]
    """By seed or by setting, the reason for a missing metric; empty where the metric is there."""
    seconds: float
    """Time of all training."""
    mean: Interval | None = None
    """Of values by seed."""
    settings: Settings | None = None
    """The best of tuning; None if no run had a metric."""
    tuned: float | None = None
    """Its metric on validation, with the seed of tuning: flattered by the choice."""
    n_params: int = 0
    hidden_size: int = 0
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """On validation, by seed: the best epoch, the last one and the area (mean over all epochs); a
    run counts as blind guessing from where it diverged or failed."""
    n_tuned: int = 0
    """Settings tried."""
    beside: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What else was measured on test of each run that has it, by its name, by seed."""
    runs: tuple[Run, ...] = ()
    """Of many settings, in their order, which all cells share."""
    shares: Shares | None = None
    """What hyperparameters explain of the test metric; None if it does not vary or runs are few."""

    @property
    def n_missing(self) -> int:
        return sum(bool(reason) for reason in self.missing)


@dataclass(frozen=True)
class Contrast(Difference):
    """A cell against the first one by Welch's test; `corrected` is by Bonferroni."""

    rank_p: float
    """The p value of Mann and Whitney's test, not corrected: it needs no t distribution."""
    published: Finding | None = None
    """The paper's finding; None where nothing was given."""

    @property
    def is_claimed(self) -> bool:
        return self.corrected <= LEVEL

    @property
    def found(self) -> Finding:
        """What the test says; "same" is no evidence of a difference."""
        assert self.gain is not None
        return "same" if not self.is_claimed else "better" if self.gain.mean > 0 else "worse"

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
    cells: tuple[Measured, ...]
    """The baselines first, or the one that others are compared with."""
    against: Mapping[str, Mapping[str, Difference]]
    """By the other cell, then by cell; a pair of baselines is there once."""
    levels: Levels
    """What needs no network, on test."""
    axes: tuple[Axis, ...] = ()
    """The hyperparameters that were drawn."""

    @cached_property
    def fast(self) -> Mapping[str, Mapping[str, Difference]]:
        """As `against`, of the area under the learning curve on validation: how fast cells learn;
        nothing for many settings."""
        if not all(cell.curves for cell in self.cells):
            return {}
        keys = {cell.name: cell.key for cell in self.cells}
        baselines = [keys[name] for name in self.against]
        areas = (self.task.metric, self.cells, baselines, lambda cell: cell.curves[AREA])
        return _against_baselines(*areas)

    @cached_property
    def rankings(self) -> Mapping[str, Ranking]:
        """How well one seed ranks the cells, by each number of a run; nothing for many settings."""
        if not all(cell.curves for cell in self.cells):
            return {}
        values: dict[str, list[tuple[float, ...]]] = {TEST: [cell.values for cell in self.cells]}
        for name in CURVES:
            values[name] = [cell.curves[name] for cell in self.cells]
        return rankings(values, self.task.metric)

    @property
    def contrasts(self) -> Mapping[str, Contrast]:
        """The pairs with the first cell, by the other cell."""
        pairs = (pair for of_other in self.against.values() for pair in of_other.values())
        return {pair.first: pair for pair in pairs if isinstance(pair, Contrast)}


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison."""

    study: str
    cells: Mapping[str, str]
    """Text of each cell, by its name."""
    tasks: tuple[OnTask, ...]
    tuning: int
    """Settings of each task that every cell was tried on."""
    seeds: tuple[int, ...] = ()
    n_best: int = 0
    """Settings of each cell that are compared; 0 where fresh seeds are."""

    @property
    def first(self) -> str:
        return next(iter(self.cells))

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each pair and task."""
        return [
            _beside(pair, on.task)
            if isinstance(pair, Contrast)
            else verdict(pair, on.task.name, on.task.metric.name)
            for on in self.tasks
            for of_other in on.against.values()
            for pair in of_other.values()
        ]

    @property
    def fast_verdicts(self) -> list[str]:
        """A sentence for each pair and task on how fast they learn."""
        return [
            verdict(pair, on.task.name, f"the area under the curve of validation {name}")
            for on in self.tasks
            for of_other in on.fast.values()
            for pair in of_other.values()
            for name in [on.task.metric.name]
        ]


def _beside(pair: Contrast, task: Task) -> str:
    test = (
        f"{task.metric.name} better by {gain_of(pair)}, n = {pair.n} settings of each, "
        f"corrected {compared_p(pair.corrected)}"
    )
    paper = f"; the paper: {pair.published}, {pair.agreement}" if pair.published else ""
    return f"{pair.first} beside {pair.other} on {task.name}: {HOW[pair.found]} ({test}){paper}."


def gain_of(pair: Difference) -> str:
    """By how much the first is better, with its interval."""
    gain = pair.gain
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]" if gain else "-"


def compared(
    study: str,
    visits: Sequence[Visit],
    protocol: FreshSeeds | BestShare,
    first: str = "",
    published: Sequence[str] = (),
) -> Comparison:
    """The results of a comparison whose visits are finished.

    With many settings, `first` is the key of the cell that others are compared with, and
    `published` are findings as `CompareConfig.published` has them.
    """
    names = unique_names(visits)
    tuning = protocol.config.n_settings
    if isinstance(protocol, FreshSeeds):
        cells = {names[visit.key]: visit.cell for visit in visits}
        tasks = tuple(_by_seeds(task, visits, names, protocol) for task in protocol.tasks)
        return Comparison(study, cells, tasks, tuning, seeds=protocol.seeds)
    visits = sorted(visits, key=lambda visit: visit.key != first)
    known: dict[tuple[str, str], Finding] = {
        (task, look_up(cell).key): finding for task, cell, finding in map(published_of, published)
    }
    tasks = tuple(_by_settings(task, visits, names, protocol, known) for task in protocol.tasks)
    cells = {names[visit.key]: visit.cell for visit in visits}
    return Comparison(study, cells, tasks, tuning, n_best=protocol.n_best)


def unique_names(visits: Sequence[Visit]) -> dict[str, str]:
    """A name for each key; cells of one name get the beginning of their key."""
    counts = Counter(visit.name for visit in visits)
    return {v.key: v.name if counts[v.name] == 1 else f"{v.name} {v.key[:6]}" for v in visits}


def _tried(visit: Visit, task: Task, protocol: FreshSeeds | BestShare) -> list[Outcome]:
    """The outcomes of all settings."""
    asked = protocol.given_evaluations(visit.cell, visit.key, task)
    return [outcome for e in asked for outcome in visit.evaluated[e.digest()].outcomes]


# --- fresh seeds ---


def _by_seeds(
    task: Task, visits: Sequence[Visit], names: Mapping[str, str], protocol: FreshSeeds
) -> OnTask:
    cells = tuple(_tuned(visit, names[visit.key], task, protocol) for visit in visits)
    known = protocol.baselines
    against = _against_baselines(task.metric, cells, known, lambda cell: cell.values)
    return OnTask(task, cells, against, levels_of(task, protocol.seeds[0], "test"))


def _against_baselines(
    metric: Metric,
    cells: Sequence[Measured],
    baselines: Sequence[str],
    values: Callable[[Measured], Sequence[float]],
) -> dict[str, Mapping[str, Difference]]:
    """All cells against each baseline, by key, paired by seed; a pair of baselines is there
    once."""
    by_key = {cell.key: cell for cell in cells}
    against: dict[str, Mapping[str, Difference]] = {}
    done: set[str] = set()
    for key in baselines:
        other = by_key[key]
        done.add(other.key)
        rest = [cell for cell in cells if cell.key not in done]
        by_cell = {cell.name: gains(metric, values(cell), values(other)) for cell in rest}
        against[other.name] = differences(by_cell, other.name)
    return against


def gains(metric: Metric, values: Sequence[float], others: Sequence[float]) -> list[float]:
    """By how much one cell is better than another, seed by seed."""
    sign = 1.0 if metric.higher_is_better else -1.0
    return [sign * (a - b) for a, b in zip(values, others, strict=True)]


def _tuned(visit: Visit, name: str, task: Task, protocol: FreshSeeds) -> Measured:
    tuning = _tried(visit, task, protocol)
    settings = protocol.tuned(visit.cell, visit.key, task, tuning)
    fresh = protocol.fresh(visit.cell, visit.key, task, settings)
    tested = [visit.evaluated[evaluation.digest()].outcomes[0] for evaluation in fresh]
    n_seeds = len(protocol.seeds)
    guessed = (task.chance("test"),) * n_seeds
    values = tuple(value_of(task, outcome) for outcome in tested) or guessed
    for outcome in tested:
        budget = max(task.n_params)
        assert outcome.n_params <= budget, f"{name} has {outcome.n_params} of {budget} parameters"
    return Measured(
        name,
        visit.key,
        values,
        tuple(map(_why_missing, tested)) or ("no setting had a metric",) * n_seeds,
        sum(outcome.cost.wall_s for outcome in (*tuning, *tested)),
        interval(values),
        settings,
        best_value(task, tuning),
        max((outcome.n_params for outcome in tested), default=0),
        max((outcome.hidden_size for outcome in tested), default=0),
        {of: _on_validation(task, tested, of) or (blind(task),) * n_seeds for of in CURVES},
        len(tuning),
        _also(tested),
    )


def _also(outcomes: Sequence[Outcome]) -> dict[str, tuple[float, ...]]:
    names = sorted({name for outcome in outcomes for name in outcome.test_marks})
    return {
        name: tuple(one.test_marks[name] for one in outcomes if name in one.test_marks)
        for name in names
    }


def _on_validation(task: Task, outcomes: Sequence[Outcome], of: Of) -> tuple[float, ...]:
    """One number of each run's validation curve."""
    statistic, n_epochs = Statistic(of=of), planned_epochs(task)
    return tuple(of_run(task, outcome, statistic, n_epochs) for outcome in outcomes)


def _why_missing(outcome: Outcome) -> str:
    """Why a run has no metric; empty if it has one."""
    if not is_missing(outcome):
        return ""
    return outcome.status if outcome.status != "ok" else "not finite"


def too_few_seeds(n_seeds: int, n_cells: int) -> str:
    """Why no difference can be claimed, whatever is measured; empty if one can.

    `n_cells` are those beside the GRU, whose p values are corrected together.
    """
    if n_cells * smallest_p(n_seeds) <= LEVEL:
        return ""
    needed = next(n for n in range(1, 1000) if n_cells * smallest_p(n) <= LEVEL)
    cells = "1 cell" if n_cells == 1 else f"{n_cells} cells"
    return (
        f"{n_seeds} seed{'' if n_seeds == 1 else 's'} cannot show a difference: the rank test of "
        f"{cells} against the GRU, corrected, needs at least {needed}."
    )


# --- the best of many settings ---


def _by_settings(
    task: Task,
    visits: Sequence[Visit],
    names: Mapping[str, str],
    protocol: BestShare,
    known: Mapping[tuple[str, str], Finding],
) -> OnTask:
    drawn = axes(protocol.grid, task)
    cells = [_sampled(visit, names[visit.key], task, protocol, drawn) for visit in visits]
    first, rest = cells[0], cells[1:]
    pairs = {
        cell.name: contrast(task, cell, first, len(rest), known.get((task.name, cell.key)))
        for cell in rest
    }
    levels = levels_of(task, protocol.seed, "test")
    return OnTask(task, tuple(cells), {first.name: pairs}, levels, drawn)


def _sampled(
    visit: Visit, name: str, task: Task, protocol: BestShare, drawn: Sequence[Axis]
) -> Measured:
    outcomes = _tried(visit, task, protocol)
    ranks = {place: rank for rank, place in enumerate(protocol.best_places(task, outcomes))}
    pairs = zip(protocol.settings_of(task), outcomes, strict=True)
    runs = [
        Run(
            settings,
            outcome.best,
            value_of(task, outcome),
            _why_missing(outcome) or outcome.status,
            ranks.get(place),
            outcome.hidden_size,
            outcome.cost.wall_s,
        )
        for place, (settings, outcome) in enumerate(pairs)
    ]
    return sampled(name, visit.key, runs, effects(task, drawn, runs))


def sampled(name: str, key: str, runs: Sequence[Run], explained: Shares | None = None) -> Measured:
    """A cell by its runs."""
    best = {run.rank: run.test for run in runs if run.rank is not None}
    return Measured(
        name,
        key,
        tuple(best[rank] for rank in range(len(best))),
        tuple("" if run.validation is not None else run.status for run in runs),
        sum(run.seconds for run in runs),
        runs=tuple(runs),
        shares=explained,
    )


def limited(task: Task, value: float) -> float:
    """A metric that is worse than blind guessing counts as that."""
    return (max if task.metric.higher_is_better else min)(value, task.chance("test"))


def effects(task: Task, drawn: Sequence[Axis], runs: Sequence[Run]) -> Shares | None:
    """What each hyperparameter explains of the test metric over all runs of a cell.

    Metrics are limited, so that how badly a run ended does not outweigh all else.
    """
    if not drawn or len(runs) < FEWEST:
        return None
    points = np.array([[axis.place(run.settings) for axis in drawn] for run in runs])
    values = np.array([limited(task, run.test) for run in runs])
    return shares([axis.name for axis in drawn], points, values)


def contrast(
    task: Task, cell: Measured, first: Measured, n_tests: int, published: Finding | None = None
) -> Contrast:
    """A cell's test metrics against those of the first cell, one of `n_tests` on the task."""
    from scipy.stats import mannwhitneyu

    sign = 1.0 if task.metric.higher_is_better else -1.0
    gain, p = welch([sign * v for v in cell.values], [sign * v for v in first.values])
    rank_p = float(mannwhitneyu(cell.values, first.values).pvalue)
    about = (cell.name, first.name, len(cell.values), gain, p, min(1.0, n_tests * p))
    return Contrast(*about, rank_p, published)


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


def agreements(comparison: Comparison) -> Iterator[str]:
    """How many published findings are found again, a line a task."""
    for on in comparison.tasks:
        agreed: list[Agreement] = [p.agreement for p in on.contrasts.values() if p.agreement]
        if agreed:
            kinds: tuple[Agreement, ...] = ("same", "different", "no evidence")
            counts = ", ".join(f"{agreed.count(kind)} {kind}" for kind in kinds)
            findings = f"{len(agreed)} finding{'' if len(agreed) == 1 else 's'}"
            yield f"Beside the paper on {on.task.name}, of {findings}: {counts}."
