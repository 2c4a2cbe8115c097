"""Samplers against each other on one table, and what may be said of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.errors import UserError
from nas.replay.bench import Bench
from nas.replay.regret import Curves, curves
from nas.replay.run import Replay, ReplayConfig, make_replay
from nas.statistics.intervals import Interval, intervals

BASELINE = "random"
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75)
"""Of the budget, at which regret is printed."""
AXES = {"runs": "training runs", "flops": "training FLOPs", "seconds": "seconds of training"}
N_POINTS = 100
"""Of a curve that is drawn or written."""
N_SHUFFLED = 39
"""The fewest with which one table of all can have p = 0.05, two-sided."""
SHUFFLED_SEEDS = 10
"""Searches on each of them."""
LEVEL = 0.05

Told = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What is reported of one sampler."""

    curves: Curves
    band: list[Interval]
    """Of the regret, at `Comparison.points`."""
    at: list[Interval]
    """Of the regret, at SHARES of the budget."""
    area: Interval
    """Of the mean regret over the budget."""
    gain: Interval | None
    """How much lower it is than the baseline's of the same seed; None for the baseline."""
    luck: float | None = None
    """p value of this table among those with shuffled results; None if there are none."""

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
    axis: str = "runs",
    n_shuffled: int = N_SHUFFLED,
    told: Told = lambda line: None,
) -> Comparison:
    """Replay each sampler on each seed; the baseline is always among them.

    `told` is handed a line of progress now and then.

    Raises:
        UserError: if a sampler is unknown or nothing was paid for the recorded cells.
    """
    costs = bench.costs(axis)
    if sum(costs) <= 0:
        raise UserError(f"the table of study {bench.table.header.study} has no {AXES[axis]}.")
    names = list(dict.fromkeys((BASELINE, *samplers)))
    replays = {name: make_replay(name, bench, config) for name in names}
    found = {}
    for name, replay in replays.items():
        told(f"{name}: {len(seeds)} searches")
        orders = [replay(bench, seed) for seed in seeds]
        found[name] = curves(name, orders, bench.values, costs)
    # What every search has paid for: all of it, where all candidates are seen.
    budget = min(float(one.paid[:, -1].min()) for one in found.values())
    points = [budget * k / N_POINTS for k in range(N_POINTS + 1)]
    areas = {name: one.area(budget) for name, one in found.items()}
    results = []
    for name, one in found.items():
        gain = None if name == BASELINE else areas[BASELINE] - areas[name]
        luck = None
        if n_shuffled and gain is not None:
            told(f"{name}: {n_shuffled} tables with shuffled results")
            luck = _luck(replays[name], bench, seeds, axis, budget, n_shuffled)
        results.append(
            Result(
                one,
                intervals(one.at(points)),
                intervals(one.at([budget * share for share in SHARES])),
                intervals(areas[name][:, None])[0],
                None if gain is None else intervals(gain[:, None])[0],
                luck,
            )
        )
    about = bench.table.header.study, bench.n_candidates, max(bench.values)
    return Comparison(*about, len(seeds), axis, budget, points, n_shuffled, results)


def _luck(
    replay: Replay, bench: Bench, seeds: Sequence[int], axis: str, budget: float, n_shuffled: int
) -> float:
    """The two-sided p value of a permutation test: how usual the table is among its shuffles.

    One table has one best cell, which may lie well or badly for a sampler by chance, and no number
    of seeds can tell: of tables with independent results, the interval over 50 seeds left out zero
    on 43 % (regularized) and 68 % (jozefowicz). If results had nothing to do with cells, the table
    would be one of its shuffles like any other, whatever the number of seeds.
    """
    few = seeds[:SHUFFLED_SEEDS]
    means = []
    for other in (bench, *(bench.shuffled(shuffle) for shuffle in range(n_shuffled))):
        orders = [replay(other, seed) for seed in few]
        means.append(curves("", orders, other.values, other.costs(axis)).area(budget).mean())
    found = np.array(means)
    lower, higher = (found <= found[0]).mean(), (found >= found[0]).mean()
    return min(1.0, 2 * float(min(lower, higher)))


def verdict(comparison: Comparison, result: Result) -> str:
    """What may be said of a sampler against the baseline."""
    gain, luck = result.gain, result.luck
    assert gain is not None
    seeds = f"{comparison.n_seeds} seeds"
    if not gain.excludes_zero:
        return (
            f"No evidence of a difference between {result.name} and {BASELINE}: mean regret "
            f"differs by {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], {seeds}."
        )
    first, other = (result.name, BASELINE) if gain.mean > 0 else (BASELINE, result.name)
    low, high = sorted((abs(gain.low), abs(gain.high)))
    by = f"mean regret is {abs(gain.mean):.4f} [{low:.4f}, {high:.4f}] lower, {seeds}"
    if luck is None:
        return f"{first} beats {other} on this table, by luck or not (see --shuffled): its {by}."
    tables = f"{comparison.n_shuffled} tables with the results shuffled among the cells"
    if luck > LEVEL:
        return (
            f"No evidence of a difference between {result.name} and {BASELINE} beyond this table's "
            f"luck: {first}'s {by}, but it is not unusual among {tables} (p = {luck:.2g})."
        )
    return f"{first} beats {other}: its {by}, and it is unusual among {tables} (p = {luck:.2g})."
