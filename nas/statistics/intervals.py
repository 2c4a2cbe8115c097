"""What few paired numbers can say: intervals of a mean, a rank test, a correction, a verdict.

Intervals for few seeds (`interval`) were chosen by simulation, 2,000 samples each of normal,
triangular, uniform, Laplace, Student's t with 5 and 3 degrees of freedom, Gumbel, gamma and
exponential values and of normal ones with outliers. How often an interval of 95 % holds the mean of
10 values, over these shapes: percentile bootstrap 87 to 91 %, Student's t 91 to 97 % (least where
values are skewed), studentised bootstrap 92 to 97 % (least where tails are heavy). What is used
takes each end from the studentised bootstrap where that is farther out than Student's t, and half
way between the two where it is not: 94 to 97 %; with 5, 7 and 20 values 92 to 97 %. With few values
some resamples have next to no spread, and such an end can be absurdly far: none is farther than
1.5 times Student's t, which costs at most a point (of exponential values).
`tests/statistics/test_stats.py` measures it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESAMPLES = 2000
COVERAGE = 0.95
LEVEL = 0.05
"""Of a false claim, among all pairs that are corrected together."""
FEWEST = 5
"""Pairs below which nothing is claimed (Lindauer & Hutter 2020 ask for repetitions; two or three
seeds hold no interval)."""
FLAT = 1e-9
"""A resample whose spread is this share of the sample's has none."""
FARTHEST = 1.5
"""An end's distance from the mean, at most, in that of Student's t."""
MOST_FLAT = 0.01
"""Share of resamples without spread above which they say nothing of the tails."""


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that covers it in 95 % of cases."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@lru_cache(maxsize=16)
def _weights(n: int, seed: int) -> Array:
    """How often each of `n` values is drawn in each resample, over n: [resamples, n]."""
    drawn = np.random.default_rng(seed).multinomial(n, [1 / n] * n, size=RESAMPLES)
    shares: Array = drawn / n
    return shares


def intervals(samples: Array, seed: int = 0) -> list[Interval]:
    """Of each column of [many, columns], by the percentile bootstrap: never outside the values.

    For curves over 50 values and more; too narrow for few.
    """
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(_weights(len(samples), seed) @ samples, [tail, 100 - tail], axis=0)
    means = samples.mean(axis=0)
    return [Interval(*map(float, one)) for one in zip(means, low, high, strict=True)]


def interval(values: Sequence[float], seed: int = 0) -> Interval | None:
    """Of the mean of few values, such as differences paired by seed; None for fewer than 2.

    Each end is that of the studentised bootstrap (Efron & Tibshirani 1993, section 12.5), or half
    way from it to that of Student's t if this is farther out, but no farther than `FARTHEST`; of
    values that nearly all are equal, whose resamples say nothing, it is that of Student's t.
    """
    from scipy.stats import t

    sample = np.array(values, dtype=np.float64)
    n = len(sample)
    if n < 2:
        return None
    mean, error = float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(n))
    if error <= FLAT * abs(mean):
        return Interval(mean, mean, mean)
    reach = float(t.ppf((1 + COVERAGE) / 2, n - 1))
    below = above = reach
    weights, centred = _weights(n, seed), sample - mean
    means = weights @ centred
    spread = np.sqrt(np.maximum(weights @ centred**2 - means**2, 0.0) / (n - 1))
    has_spread = spread > FLAT * error
    if (~has_spread).mean() <= MOST_FLAT:
        tail = 50 * (1 - COVERAGE)
        left, right = np.percentile(means[has_spread] / spread[has_spread], [tail, 100 - tail])
        ends = (float(right), -float(left))
        below, above = (min(max(end, (end + reach) / 2), FARTHEST * reach) for end in ends)
    return Interval(mean, mean - below * error, mean + above * error)


def rank_test(differences: Sequence[float]) -> float:
    """The two-sided p value of Wilcoxon's signed-rank test; 1 if all differences are zero.

    Zeros are left out (Wilcoxon), equal ones share their ranks. Exact, by counting all signs: the
    normal approximation that `scipy.stats.wilcoxon` has for ties is poor for few differences.
    """
    from scipy.stats import rankdata

    left = np.array([one for one in differences if one != 0])
    if not len(left):
        return 1.0
    ranks = np.rint(2 * rankdata(np.abs(left))).astype(np.int64)  # doubled: shared ones are halves
    chances = np.ones(1)
    for rank in ranks:  # chances[s]: that the positive ones have the doubled rank sum s
        longer = np.zeros(len(chances) + rank)
        longer[: len(chances)] += chances / 2
        longer[rank:] += chances / 2
        chances = longer
    from_middle = np.abs(2 * np.arange(len(chances)) - ranks.sum())
    seen = abs(2 * int(ranks[left > 0].sum()) - int(ranks.sum()))
    return min(1.0, float(chances[from_middle >= seen].sum()))


def smallest_p(n: int) -> float:
    """The smallest p value that the rank test of `n` differences can give."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Corrected p values (Holm 1979): below `LEVEL` for a false one in at most that share of cases.

    Of m, the smallest is multiplied by m, the next by m - 1, …, and none is below one before it.
    """
    corrected, largest = {}, 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


@dataclass(frozen=True)
class Difference:
    """What was measured of two cells, paired by seed."""

    first: str
    other: str
    n: int
    """Pairs."""
    gain: Interval | None
    """By how much the first is better, whatever the direction of the metric; None for one pair."""
    p: float
    corrected: float
    """By `holm`, over all firsts."""

    @property
    def is_claimed(self) -> bool:
        """Whether the test and the interval both say that there is a difference, from enough."""
        enough = self.n >= FEWEST and self.gain is not None
        return enough and self.corrected <= LEVEL and bool(self.gain and self.gain.excludes_zero)


def differences(gains: Mapping[str, Sequence[float]], other: str) -> dict[str, Difference]:
    """Each cell against another one, from what it is better by on each seed; corrected together."""
    p_values = {name: rank_test(one) for name, one in gains.items()}
    corrected = holm(p_values)
    return {
        name: Difference(name, other, len(one), interval(one), p_values[name], corrected[name])
        for name, one in gains.items()
    }


def verdict(found: Difference, where: str, what: str) -> str:
    """One sentence; `where` is the task, `what` the metric with its unit."""
    first, other, gain = found.first, found.other, found.gain
    seeds = f"n = {found.n} seed{'' if found.n == 1 else 's'}"
    if gain is None or found.n < FEWEST:
        return f"{first} and {other} on {where}: no claim from fewer than {FEWEST} seeds ({seeds})."
    test = f"{seeds}, corrected p = {shown_p(found.corrected)}"
    if not found.is_claimed:
        return (
            f"{first} and {other} on {where}: no evidence of a difference ({what} better by "
            f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], {test})."
        )
    how = "better" if gain.mean > 0 else "worse"
    low, high = sorted((abs(gain.low), abs(gain.high)))
    return (
        f"{first} is {how} than {other} on {where}: {what} by {abs(gain.mean):.4f} "
        f"[{low:.4f}, {high:.4f}] ({test})."
    )


def shown_p(p: float) -> str:
    """To two digits."""
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"
