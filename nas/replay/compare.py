"""Samplers against each other on one table: their regret, and a verdict.

Regret is the best candidate's value minus the best value so far: a step function of the cost so far
(training runs, FLOPs or seconds), never rising, 0 once the best is seen. Before the first candidate
it is that of the worst. Given cells cost every sampler the same and do not count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.errors import UserError
from nas.replay.bench import Bench
from nas.replay.run import Replay, ReplayConfig, make_replay
from nas.report.statistics.intervals import Array, Interval, intervals

BASELINE = "random"
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75)
"""Shares of the budget at which regret is printed."""
AXES = {"runs": "training runs", "flops": "training FLOPs", "seconds": "seconds of training"}
N_POINTS = 100
"""Points of a curve that is drawn or written."""
N_SHUFFLED = 39
"""The fewest shuffled tables with which one table can have p = 0.05, two-sided."""
SHUFFLED_SEEDS = 10
"""Searches on each shuffled table."""
LEVEL = 0.05


@dataclass(frozen=True)
class Curves:
    """The searches of one sampler, one a seed."""

    sampler: str
    paid: Array
    """[seeds, candidates + 1], from 0 on: the cost of the candidates so far."""
    regret: Array
    """[seeds, candidates + 1]: after so many candidates."""

    def at(self, budgets: Sequence[float]) -> Array:
        """Regret at each cost: [seeds, budgets]."""
        lines = [
            regret[np.searchsorted(paid, budgets, side="right") - 1]
            for paid, regret in zip(self.paid, self.regret, strict=True)
        ]
        return np.array(lines)

    def area(self, budget: float) -> Array:
        """The mean regret up to a budget, of each seed: the area under the curve over its width."""
        ends = np.minimum(self.paid[:, 1:], budget)
        starts = np.minimum(self.paid[:, :-1], budget)
        last = np.maximum(budget - self.paid[:, -1], 0.0) * self.regret[:, -1]
        total: Array = ((ends - starts) * self.regret[:, :-1]).sum(axis=1) + last
        return total / budget


def curves(
    sampler: str, orders: Sequence[Sequence[int]], values: Sequence[float], costs: Sequence[float]
) -> Curves:
    """The costs and regrets of searches, from the order in which they saw the candidates."""
    of = np.array(orders, dtype=np.int64)
    best = np.maximum.accumulate(np.array(values)[of], axis=1)
    worst = np.full((len(of), 1), min(values))
    paid = np.cumsum(np.array(costs)[of], axis=1)
    return Curves(
        sampler,
        np.hstack([np.zeros((len(of), 1)), paid]),
        max(values) - np.hstack([worst, best]),
    )


@dataclass(frozen=True)
class Result:
    """The regret of one sampler."""

    curves: Curves
    band: list[Interval]
    """The regret at `Comparison.points`."""
    at: list[Interval]
    """The regret at SHARES of the budget."""
    area: Interval
    """The mean regret over the budget."""
    gain: Interval | None
    """How much lower it is than the baseline's of the same seed; None for the baseline."""
    luck: float | None = None
    """The p value of this table among those with shuffled results; None if there are none."""

    @property
    def name(self) -> str:
        return self.curves.sampler


@dataclass(frozen=True)
class Comparison:
    """All samplers on one table."""

    study: str
    n_candidates: int
    best: float
    n_seeds: int
    axis: str
    budget: float
    points: list[float]
    n_shuffled: int
    results: list[Result]


def compare(
    bench: Bench,
    samplers: Sequence[str],
    seeds: Sequence[int],
    config: ReplayConfig,
    *,
    axis: str = "runs",
    n_shuffled: int = N_SHUFFLED,
    note: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Replay each sampler on each seed; the baseline is always among them.

    `note` receives a line of progress now and then.

    Raises:
        UserError: if a sampler is unknown or nothing was paid for the recorded cells.
    """
    costs = bench.costs(axis)
    if sum(costs) <= 0:
        raise UserError(f"the table of study {bench.table.header.study} has no {AXES[axis]}.")
    names = dict.fromkeys((BASELINE, *samplers))
    replays = {name: make_replay(name, bench, config) for name in names}
    searches = {}
    for name, replay in replays.items():
        note(f"{name}: {len(seeds)} searches")
        orders = [replay(bench, seed) for seed in seeds]
        searches[name] = curves(name, orders, bench.values, costs)
    # The cost that every search has reached: that of all candidates, where all are seen.
    budget = min(float(search.paid[:, -1].min()) for search in searches.values())
    points = [budget * k / N_POINTS for k in range(N_POINTS + 1)]
    baseline = searches[BASELINE].area(budget)
    results = []
    for name, search in searches.items():
        results.append(_result(search, points, baseline))
        if n_shuffled and name != BASELINE:
            note(f"{name}: {n_shuffled} tables with shuffled results")
            luck = _luck(replays[name], bench, seeds[:SHUFFLED_SEEDS], axis, budget, n_shuffled)
            results[-1] = replace(results[-1], luck=luck)
    about = bench.table.header.study, bench.n_candidates, max(bench.values), len(seeds)
    return Comparison(*about, axis, budget, points, n_shuffled, results)


def _result(search: Curves, points: Sequence[float], baseline: Array) -> Result:
    """The intervals of one sampler; `baseline` is the mean regret of each search at random."""
    budget = points[-1]
    areas = search.area(budget)
    [area] = intervals(areas[:, None])
    [gain] = intervals((baseline - areas)[:, None])
    return Result(
        search,
        intervals(search.at(points)),
        intervals(search.at([budget * share for share in SHARES])),
        area,
        None if search.sampler == BASELINE else gain,
    )


def _luck(
    replay: Replay, bench: Bench, seeds: Sequence[int], axis: str, budget: float, n_shuffled: int
) -> float:
    """The two-sided p value of a permutation test: how usual the table is among its shuffles.

    One table has one best cell, which may lie well or badly for a sampler by chance, and no number
    of seeds can tell: of tables with independent results, the interval over 50 seeds left out zero
    on 43 % (regularized) and 68 % (jozefowicz). If results had nothing to do with cells, the table
    would be one of its shuffles like any other, whatever the number of seeds.
    """
    means = []
    for table in (bench, *(bench.shuffled(shuffle) for shuffle in range(n_shuffled))):
        orders = [replay(table, seed) for seed in seeds]
        means.append(curves("", orders, table.values, table.costs(axis)).area(budget).mean())
    areas = np.array(means)
    lower, higher = (areas <= areas[0]).mean(), (areas >= areas[0]).mean()
    return min(1.0, 2 * float(min(lower, higher)))


def verdict(comparison: Comparison, result: Result) -> str:
    """One sentence about a sampler against the baseline."""
    gain, luck = result.gain, result.luck
    assert gain is not None
    none = f"No evidence of a difference between {result.name} and {BASELINE}"
    seeds = f"{comparison.n_seeds} seeds"
    if not gain.excludes_zero:
        by = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        return f"{none}: mean regret differs by {by}, {seeds}."
    first, other = (result.name, BASELINE) if gain.mean > 0 else (BASELINE, result.name)
    low, high = sorted((abs(gain.low), abs(gain.high)))
    by = f"mean regret is {abs(gain.mean):.4f} [{low:.4f}, {high:.4f}] lower, {seeds}"
    if luck is None:
        return f"{first} beats {other} on this table, by luck or not (see --shuffled): its {by}."
    tables = f"{comparison.n_shuffled} tables with the results shuffled among the cells"
    if luck > LEVEL:
        return (
            f"{none} beyond this table's luck: {first}'s {by}, but it is not unusual among "
            f"{tables} (p = {luck:.2g})."
        )
    return f"{first} beats {other}: its {by}, and it is unusual among {tables} (p = {luck:.2g})."
