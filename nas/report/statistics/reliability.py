"""How well a measurement ranks: agreement of independent measurements of the same cells.

Kendall's tau-b says how the two order the cells: 1 the same, 0 no better than chance; a pair of
cells is ordered alike with the chance (1 + tau) / 2. It is given over all cells and over the better
half, among which a search must choose. The half is chosen by the first measurement, as a search
would: the second has no part in the choice, so that tau over it is 0 where all is noise, and at
most 0.05 above that over the half that is truly better. (By the mean of both it would be -0.33
where all is noise: of two cells with one mean, the one that is first here is last there.)

The 95 % interval is the percentile bootstrap over cells, with the half chosen anew in each
resample; a cell that is drawn twice is no pair with itself.
`tests/report/statistics/test_reliability.py` measures how often it holds the truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.report.statistics.intervals import COVERAGE, Interval

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
    pairs = list(zip(first, second, strict=True))
    return agreement_of_runs(pairs, higher_is_better=higher_is_better, seed=seed)


def agreement_of_runs(
    runs: Sequence[Sequence[float]], *, higher_is_better: bool, seed: int = 0
) -> Agreement | None:
    """Return the agreement of one run of each cell with another; `runs` are those of each cell, as
    many of each, [cells, runs]. None for fewer than two cells or runs.

    Run k of all cells is compared with run k + 1, the last with the first, and tau is the mean of
    these; the standard deviation is that between the runs of a cell, pooled over cells.
    """
    values = np.array(runs, dtype=np.float64)
    if len(values) < 2 or values.shape[1] < 2:
        return None
    n, n_runs = values.shape
    deviation = float(np.sqrt(values.var(axis=1, ddof=1).mean()))
    counts = np.random.default_rng(seed).multinomial(n, [1 / n] * n, RESAMPLES)
    everyone, halves = [], []
    for k in range(n_runs if n_runs > 2 else 1):
        a, b = values[:, k], values[:, (k + 1) % n_runs]
        order = np.argsort(-a if higher_is_better else a, kind="stable")
        a, b, drawn = a[order], b[order], counts[:, order]
        everyone.append(_tau_and_resamples(a, b, drawn))
        halves.append(_tau_and_resamples(a, b, _better_half(drawn), -(-n // 2)))
    return Agreement(n, deviation, _interval(everyone), _interval(halves))


def _better_half(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each cell is in the better half of each resample, [resamples, cells]; the cells are
    in order, the best first."""
    half = -(-counts.shape[1] // 2)
    upto = np.minimum(np.cumsum(counts, axis=1), half)
    times: NDArray[np.int64] = np.diff(upto, axis=1, prepend=0)
    return times


def _tau_and_resamples(
    a: Array, b: Array, counts: NDArray[np.int64], n: int | None = None
) -> tuple[float, Array] | None:
    """Return tau of the first n cells, all if None, and that of each resample."""
    from scipy.stats import kendalltau

    first = slice(n)
    if len(a[first]) < FEWEST:
        return None
    tau = float(kendalltau(a[first], b[first]).statistic)
    return None if np.isnan(tau) else (tau, _taus(a, b, counts))


def _interval(found: Sequence[tuple[float, Array] | None]) -> Interval | None:
    """Return the mean tau of all pairs of runs, with its interval; None if one has none."""
    known = [pair for pair in found if pair is not None]
    if len(known) < len(found):
        return None
    taus = np.mean([resamples for _, resamples in known], axis=0)
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(taus[np.isfinite(taus)], [tail, 100 - tail])
    return Interval(float(np.mean([tau for tau, _ in known])), float(low), float(high))


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
