"""Times of several things that take turns, and the ratios of their medians."""

import gc
import math
import statistics
import timeit
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Times = list[float | None]
"""Seconds a call by round; None where an arm sat a round out."""

WARM_UP = 3
"""Calls before the first round: compilation, primitives that are made for a shape, caches."""
SELDOM = 4
"""A seldom arm takes part in every fourth round."""
MOST_CALLS = 50


@dataclass(frozen=True)
class Ratio:
    """How many times as fast ours is: a baseline's median time over ours."""

    ratio: float
    low: float
    """First and third quartile of the ratios of single rounds."""
    high: float


def take_turns(
    arms: Mapping[str, Callable[[], object]],
    rounds: int,
    round_s: float = 0.0,
    seldom: Collection[str] = (),
    warm_up: int = WARM_UP,
) -> dict[str, Times]:
    """Time every arm in every round, in an order that rotates, so that drift meets all alike.

    A quick arm is called several times in a round, so that a round takes about `round_s`; its time
    is that of one call. `torch.utils.benchmark.Timer` would warm up again in every round.
    """
    calls = {name: _calls(arm, round_s, warm_up) for name, arm in arms.items()}
    names = list(arms)
    times: dict[str, Times] = {name: [] for name in names}
    gc.collect()  # now rather than between rounds; `timeit` collects no garbage while it measures
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            sits_out = name in seldom and number % SELDOM
            times[name].append(None if sits_out else _time(arms[name], calls[name]))
    return times


def _calls(arm: Callable[[], object], round_s: float, warm_up: int) -> int:
    """Warm an arm up, and return how many calls make a round."""
    for _ in range(warm_up - 1):
        arm()
    return max(1, min(MOST_CALLS, math.ceil(round_s / max(1e-9, _time(arm, 1)))))


def _time(arm: Callable[[], object], calls: int) -> float:
    return timeit.timeit(arm, number=calls) / calls


def median_s(times: Sequence[float | None]) -> float:
    return statistics.median(t for t in times if t is not None)


def compare(baseline: Sequence[float | None], ours: Sequence[float | None]) -> Ratio:
    """The ratio of medians, and the quartiles over the rounds that both took part in."""
    paired = zip(baseline, ours, strict=True)
    ratios = [b / o for b, o in paired if b is not None and o is not None]
    low, high = np.quantile(ratios, [0.25, 0.75])
    return Ratio(median_s(baseline) / median_s(ours), float(low), float(high))
