"""From the stored outcomes of a comparison to what may be said of each pair of cells."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.compare.protocol import Comparing, is_missing, value_of
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import best_value
from nas.statistics.intervals import (
    LEVEL,
    Difference,
    Interval,
    differences,
    interval,
    smallest_p,
    verdict,
)
from nas.study.leaderboard import BASELINES
from nas.study.visit import Visit
from nas.tasks.base import Metric, Task
from nas.tasks.levels import Levels, levels_of
from nas.zoo import ZOO


@dataclass(frozen=True)
class Measured:
    """A cell on a task."""

    name: str
    """Unlike that of any other cell of the comparison."""
    key: str
    settings: Settings | None
    """The best of tuning; None if no run had a metric."""
    tuned: float | None
    """Its metric on validation, with the seed of tuning: flattered by the choice."""
    values: tuple[float, ...]
    """On test, by seed; that of blind guessing for a run without a metric."""
    missing: tuple[str, ...]
    """By seed, why there is no metric; empty where there is one."""
    mean: Interval | None
    n_params: int
    hidden_size: int
    n_tuned: int
    """Settings tried."""
    seconds: float
    """Of all training."""


@dataclass(frozen=True)
class OnTask:
    """All cells on a task."""

    task: Task
    cells: tuple[Measured, ...]
    """As they were given, the baselines first."""
    against: Mapping[str, Mapping[str, Difference]]
    """By baseline, then by cell; a pair of baselines is there once."""
    levels: Levels
    """On test, of the data of the first seed."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found."""

    study: str
    seeds: tuple[int, ...]
    tuning: int
    cells: Mapping[str, str]
    """Text of each cell, by its name."""
    tasks: tuple[OnTask, ...]

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each pair and task."""
        return [
            verdict(found, on.task.name, on.task.metric.name)
            for on in self.tasks
            for of_baseline in on.against.values()
            for found in of_baseline.values()
        ]


def compared(study: str, visits: Sequence[Visit], protocol: Comparing) -> Comparison:
    """What the visits of a finished comparison say."""
    names = unique_names(visits)
    tasks = tuple(_on_task(task, visits, names, protocol) for task in protocol.tasks)
    cells = {names[visit.key]: visit.cell for visit in visits}
    return Comparison(study, protocol.seeds, protocol.config.n_settings, cells, tasks)


def unique_names(visits: Sequence[Visit]) -> dict[str, str]:
    """A name for each key; cells of one name get the beginning of their key."""
    counts = Counter(visit.name for visit in visits)
    return {v.key: v.name if counts[v.name] == 1 else f"{v.name} {v.key[:6]}" for v in visits}


def _on_task(
    task: Task, visits: Sequence[Visit], names: Mapping[str, str], protocol: Comparing
) -> OnTask:
    cells = tuple(_measured(visit, names[visit.key], task, protocol) for visit in visits)
    by_key = {one.key: one for one in cells}
    against: dict[str, Mapping[str, Difference]] = {}
    done: set[str] = set()
    for baseline in BASELINES:
        other = by_key[ZOO[baseline].key]
        done.add(other.key)
        rest = {one.name: gains(task.metric, one, other) for one in cells if one.key not in done}
        against[other.name] = differences(rest, other.name)
    return OnTask(task, cells, against, levels_of(task, protocol.seeds[0], "test"))


def gains(metric: Metric, one: Measured, other: Measured) -> list[float]:
    """By how much one cell is better than another, seed by seed."""
    sign = 1.0 if metric.higher_is_better else -1.0
    return [sign * (a - b) for a, b in zip(one.values, other.values, strict=True)]


def _measured(visit: Visit, name: str, task: Task, protocol: Comparing) -> Measured:
    asked = protocol.given_evaluations(visit.cell, visit.key, task)
    answers = [visit.evaluated[one.digest()].outcomes for one in asked]
    settings = protocol.tuned(task, asked, answers)
    fresh = protocol.fresh(visit.cell, visit.key, task, settings)
    tested = [visit.evaluated[one.digest()].outcomes[0] for one in fresh]
    tuning = [outcome for of_one in answers for outcome in of_one]
    n_seeds = len(protocol.seeds)
    values = tuple(value_of(task, one) for one in tested) or (task.chance("test"),) * n_seeds
    for outcome in tested:
        budget = max(task.n_params)
        assert outcome.n_params <= budget, f"{name} has {outcome.n_params} of {budget} parameters"
    return Measured(
        name,
        visit.key,
        settings,
        best_value(task, tuning),
        values,
        tuple(_why(one) for one in tested) or ("no setting had a metric",) * n_seeds,
        interval(values),
        max((one.n_params for one in tested), default=0),
        max((one.hidden_size for one in tested), default=0),
        len(tuning),
        sum(one.cost.wall_s for one in (*tuning, *tested)),
    )


def _why(outcome: Outcome) -> str:
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
