"""The agreement of two measurements, against SciPy and against samples whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nas.report.statistics.reliability import FEWEST, agreement, places
from nas.report.statistics.reliability import _better_half as better_half
from nas.report.statistics.reliability import _taus as taus

Pairs = NDArray[np.float64]


def pairs(n: int, correlation: float, seed: int) -> Pairs:
    """Two measurements of n cells, [n, 2]: the truth has this share of the variance, which is 1."""
    random = np.random.default_rng(seed)
    truth, noise = random.normal(size=(n, 1)), random.normal(size=(n, 2))
    measured: Pairs = np.sqrt(correlation) * truth + np.sqrt(1 - correlation) * noise
    return measured


@pytest.mark.parametrize("digits", [9, 0], ids=["no ties", "ties"])
def test_tau_is_scipys_over_all_and_over_the_half_that_is_first(digits: int) -> None:
    x = pairs(40, 0.6, 1).round(digits)
    for sign in (1, -1):
        found = agreement(sign * x[:, 0], sign * x[:, 1], higher_is_better=sign > 0)
        assert found is not None
        assert found.tau is not None
        assert found.better is not None
        assert found.tau.mean == pytest.approx(kendalltau(x[:, 0], x[:, 1]).statistic)
        best = x[np.argsort(-x[:, 0], kind="stable")][:20]
        assert found.better.mean == pytest.approx(kendalltau(best[:, 0], best[:, 1]).statistic)
        assert found.tau.low < found.tau.mean < found.tau.high


@pytest.mark.parametrize("digits", [9, 0], ids=["no ties", "ties"])
def test_each_resample_is_scipys_tau_of_the_cells_drawn(digits: int) -> None:
    a, b = pairs(15, 0.5, 2).round(digits).T
    counts = np.random.default_rng(3).multinomial(15, [1 / 15] * 15, 30)
    drawn = [np.repeat(np.arange(15), times) for times in counts]
    expected = [kendalltau(a[cells], b[cells]).statistic for cells in drawn]
    assert taus(a, b, counts) == pytest.approx(expected)
    halves = [np.repeat(np.arange(15), times) for times in better_half(counts)]
    for cells, half in zip(drawn, halves, strict=True):
        assert half.tolist() == cells[:8].tolist(), "the cells are in order, the best first"


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_the_interval_holds_the_true_tau(correlation: float) -> None:
    """Of normal values tau is 2/pi times the arcsine of the correlation (Kendall & Gibbons)."""
    truth, n, held = 2 / np.pi * np.arcsin(correlation), 100, 0
    for seed in range(n):
        first, second = pairs(20, correlation, seed).T
        found = agreement(first, second, higher_is_better=True, seed=seed)
        assert found is not None
        assert found.tau is not None
        held += found.tau.low <= truth <= found.tau.high
    assert 0.91 <= held / n <= 0.99


def test_over_the_better_half_noise_alone_has_no_agreement() -> None:
    first, second = pairs(1000, 0.0, 5).T
    found = agreement(first, second, higher_is_better=True)
    assert found is not None
    assert found.better is not None
    assert found.better.mean == pytest.approx(0, abs=0.08)
    by_mean = np.argsort(-(first + second))[:500]
    assert kendalltau(first[by_mean], second[by_mean]).statistic < -0.25, "why it is not by both"


def test_the_deviation_is_that_of_the_noise() -> None:
    first, second = 3 + 0.02 * pairs(1000, 0.75, 6).T  # its noise is half of 0.02
    found = agreement(first, second, higher_is_better=True)
    assert found is not None
    assert found.deviation == pytest.approx(0.01, rel=0.06)
    apart = np.abs(np.diff(0.01 * np.random.default_rng(7).normal(size=(20000, 2)), axis=1))
    assert found.noise is not None
    assert (apart > found.noise).mean() == pytest.approx(0.05, abs=0.01), "5 % by noise alone"


def test_few_cells_have_a_deviation_and_no_tau() -> None:
    assert agreement([1.0], [2.0], higher_is_better=True) is None
    few = agreement([1.0, 2.0], [1.0, 2.4], higher_is_better=True)
    assert few is not None
    assert few.deviation == pytest.approx(0.2)
    assert few.tau is few.better is few.noise is None
    x = pairs(2 * FEWEST - 2, 0.9, 8)
    some = agreement(x[:, 0], x[:, 1], higher_is_better=True)
    assert some is not None
    assert some.tau is not None
    assert some.better is None
    equal = agreement([1.0] * 20, x[:1, 0].tolist() * 20, higher_is_better=True)
    assert equal is not None
    assert equal.tau is None


def test_places_hold_the_places_of_the_true_scores() -> None:
    """Of repeated noisy scores of the same cells, nearly all intervals hold the true place."""
    random = np.random.default_rng(9)
    truth = np.linspace(1.1, 0.7, 12)
    held, far = [], 0
    for seed in range(100):
        scores = truth + random.normal(0, 0.05, 12)
        found = places({str(i): s for i, s in enumerate(scores)}, 0.05, seed)
        held += [low <= i + 1 <= high for i, (low, high) in enumerate(found.values())]
        far += found["0"][1] >= 11
    assert 0.93 <= np.mean(held) <= 1
    assert far == 0, "the best is not said to be perhaps the last but one"


def test_places_without_noise_are_single_and_with_much_noise_all() -> None:
    scores = {"a": 0.5, "b": 0.9, "c": 0.7}
    assert places(scores, 1e-9) == {"a": (3, 3), "b": (1, 1), "c": (2, 2)}
    assert places(scores, 100.0) == {name: (1, 3) for name in scores}
