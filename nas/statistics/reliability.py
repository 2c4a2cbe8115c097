"""How well a measurement ranks: agreement of two independent measurements of the same cells.

Kendall's tau-b says how the two order the cells: 1 the same, 0 no better than chance; a pair of
cells is ordered alike with the chance (1 + tau) / 2. It is given over all cells and over the better
half, among which a search must choose. The half is chosen by the first measurement, as a search
would: the second has no part in the choice, so that tau over it is 0 where all is noise, and at
most 0.05 above that over the half that is truly better. (By the mean of both it would be -0.33
where all is noise: of two cells with one mean, the one that is first here is last there.)

The 95 % interval is the percentile bootstrap over cells, with the half chosen anew in each
resample; a cell that is drawn twice is no pair with itself. `tests/statistics/test_reliability.py`
measures how often it holds the truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.statistics.intervals import COVERAGE, Interval

Array = NDArray[np.float64]
RESAMPLES = 1000
FEWEST = 8
"""Cells below which no agreement is told: its interval would be as wide as all that is possible."""
FEWEST_PAIRS = 5
"""Cells below which their noise is not told: half of all estimates from four would be off by a
quarter or more."""
APART = 1.96 * 2**0.5
"""A difference of two measurements, in standard deviations of one, that noise alone exceeds in 5 %
of cases."""


@dataclass(frozen=True)
class Agreement:
    """The agreement of a first and a second measurement of the same cells."""

    n: int
    """The number of cells."""
    deviation: float
    """The standard deviation of one measurement of one cell, in the unit of the measurement."""
    tau: Interval | None = None
    """Over all cells; None for fewer than `FEWEST`, or where all are equal."""
    better: Interval | None = None
    """Over the better half, with as many cells at least."""

    @property
    def noise(self) -> float | None:
        """The difference of two cells below which it is noise; None for too few to tell."""
        return APART * self.deviation if self.n >= FEWEST_PAIRS else None


def agreement(
    first: Sequence[float], second: Sequence[float], *, higher_is_better: bool, seed: int = 0
) -> Agreement | None:
    """Return the agreement of two measurements of each cell; None for fewer than two cells.

    The standard deviation is sqrt(mean((a - b)^2) / 2) (Dahlberg 1940): what moves all cells alike
    from one measurement to the other, such as other data, counts as noise, too.
    """
    a, b = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    if len(a) < 2:
        return None
    deviation = float(np.sqrt(np.mean((a - b) ** 2) / 2))
    order = np.argsort(-a if higher_is_better else a, kind="stable")
    a, b = a[order], b[order]
    counts = np.random.default_rng(seed).multinomial(len(a), [1 / len(a)] * len(a), RESAMPLES)
    half = -(-len(a) // 2)
    everyone = _interval(a, b, counts)
    first_half = _interval(a[:half], b[:half], _better_half(counts), pool=(a, b))
    return Agreement(len(a), deviation, everyone, first_half)


def _better_half(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each cell is in the better half of each resample, [resamples, cells]; the cells are
    in order, the best first."""
    half = -(-counts.shape[1] // 2)
    upto = np.minimum(np.cumsum(counts, axis=1), half)
    times: NDArray[np.int64] = np.diff(upto, axis=1, prepend=0)
    return times


def _interval(
    a: Array, b: Array, counts: NDArray[np.int64], pool: tuple[Array, Array] | None = None
) -> Interval | None:
    """Return tau of some cells, with its interval from resamples of these or of a larger pool."""
    from scipy.stats import kendalltau

    tau = float(kendalltau(a, b).statistic) if len(a) >= FEWEST else np.nan
    if np.isnan(tau):
        return None
    taus = _taus(*(pool or (a, b)), counts)
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(taus[np.isfinite(taus)], [tail, 100 - tail])
    return Interval(tau, float(low), float(high))


def _taus(a: Array, b: Array, counts: NDArray[np.int64]) -> Array:
    """Return Kendall's tau-b of each resample: scipy's, for all of them at once.

    It is a ratio of sums over pairs of cells, each as often as both are drawn: the concordant less
    the discordant, over the root of the pairs that differ in `a` times those that differ in `b`.
    """
    signs = [np.sign(values[:, None] - values[None, :]) for values in (a, b)]
    weights = counts.astype(np.float64)

    def total(of_pairs: Array) -> Array:
        summed: Array = np.einsum("ri,ri->r", weights @ of_pairs, weights)
        return summed

    over = total(signs[0] * signs[1])
    under = np.sqrt(total(np.abs(signs[0])) * total(np.abs(signs[1])))
    with np.errstate(invalid="ignore", divide="ignore"):
        taus: Array = over / under
    return taus


def places(
    scores: Mapping[str, float], deviation: float, seed: int = 0
) -> dict[str, tuple[int, int]]:
    """Return the 95 % interval of each cell's place, 1 the best, given the noise of a score.

    It is that of the places in 1,000 sets of scores, each moved by a normal number with this
    standard deviation.
    """
    values = np.array(list(scores.values()))
    noise = np.random.default_rng(seed).normal(0.0, deviation, (RESAMPLES, len(values)))
    ranked = np.argsort(np.argsort(-(values + noise), axis=1), axis=1) + 1
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(ranked, [tail, 100 - tail], axis=0, method="nearest")
    ends = zip(low.tolist(), high.tolist(), strict=True)
    return {key: (int(a), int(b)) for key, (a, b) in zip(scores, ends, strict=True)}
