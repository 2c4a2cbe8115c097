"""Intervals, the rank test, Holm's correction and verdicts, on samples whose truth is known."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from nas.report.statistics.intervals import (
    LEVEL,
    Difference,
    Interval,
    differences,
    holm,
    interval,
    rank_test,
    smallest_p,
    verdict,
)

N_SIMULATIONS = 1000
SIMULATED = pytest.mark.parametrize(
    "n_simulations", [N_SIMULATIONS // 4, pytest.param(N_SIMULATIONS, marks=pytest.mark.process)]
)
TOLERATED = 0.02
"""Of the coverage, which 4,000 samples measure to 0.0035."""

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
SHAPES: dict[str, Draw] = {
    "normal": lambda g, size: g.standard_normal(size),
    "triangular": lambda g, size: g.random(size) - g.random(size),
    "laplace": lambda g, size: g.laplace(size=size),
    "student 5": lambda g, size: g.standard_t(5, size),
    "student 3": lambda g, size: g.standard_t(3, size),
    "gumbel": lambda g, size: g.gumbel(size=size) - np.euler_gamma,
    "gamma": lambda g, size: g.gamma(2, size=size) - 2,
    "exponential": lambda g, size: g.exponential(size=size) - 1,
    "outliers": lambda g, size: g.standard_normal(size) * np.where(g.random(size) < 0.1, 5, 1),
}
"""Samples whose mean is 0."""


def coverage(shape: str, n: int, n_samples: int, effect: float = 0.3) -> float:
    """How often the interval holds the mean."""
    generator = np.random.default_rng([n, *shape.encode()])
    samples = effect + SHAPES[shape](generator, (n_samples, n))
    found = [interval(list(sample)) for sample in samples]
    return float(np.mean([one is not None and one.low <= effect <= one.high for one in found]))


@SIMULATED
@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_of_ten_seeds_hold_the_mean(shape: str, n_simulations: int) -> None:
    assert coverage(shape, 10, 4 * n_simulations) == pytest.approx(0.95, abs=TOLERATED)


@SIMULATED
@pytest.mark.parametrize("n", [5, 7, 20])
@pytest.mark.parametrize("shape", ["normal", "student 3", "gamma"])
def test_intervals_of_fewer_and_more_seeds(shape: str, n: int, n_simulations: int) -> None:
    assert coverage(shape, n, 4 * n_simulations) == pytest.approx(0.95, abs=TOLERATED)


def test_the_interval_moves_and_grows_with_its_values() -> None:
    values = np.random.default_rng(2).gamma(2, size=10)
    one, other = interval(list(values)), interval(list(5 - 3 * values))
    assert one is not None
    assert other is not None
    assert one.low < values.mean() < one.high
    assert one.high - values.mean() > values.mean() - one.low, "the long tail is above"
    assert other.mean == pytest.approx(5 - 3 * one.mean)
    # Mirrored values have mirrored intervals, but for the quantiles' place among resamples.
    assert other.low == pytest.approx(5 - 3 * one.high)
    assert other.high == pytest.approx(5 - 3 * one.low)


def test_intervals_without_spread() -> None:
    assert interval([1.5]) is None
    assert interval([]) is None
    assert interval([0.25] * 6) == Interval(0.25, 0.25, 0.25)
    assert interval([0.0] * 6) == Interval(0.0, 0.0, 0.0)
    # A third of the resamples of this one are all zeros: Student's t stays.
    found = interval([0.0] * 9 + [1.0])
    expected = stats.t.interval(0.95, 9, 0.1, stats.sem([0.0] * 9 + [1.0]))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize("n", [3, 6, 10, 25])
def test_the_rank_test_is_scipys(n: int) -> None:
    generator = np.random.default_rng(n)
    for _ in range(20):
        values = generator.normal(0.5, 1, n)
        assert rank_test(list(values)) == pytest.approx(stats.wilcoxon(values).pvalue)


@pytest.mark.parametrize("n", [4, 8, 11])
def test_the_rank_test_with_ties_and_zeros_is_scipys_over_all_signs(n: int) -> None:
    generator = np.random.default_rng(n)
    for _ in range(10):
        values = generator.integers(-2, 5, n).astype(float)
        left = values[values != 0]
        over_all_signs = stats.PermutationMethod(n_resamples=1 << n)
        expected = stats.wilcoxon(left, method=over_all_signs).pvalue
        assert rank_test(list(values)) == pytest.approx(expected)


def test_the_rank_test_of_nothing() -> None:
    assert rank_test([]) == rank_test([0.0, 0.0, 0.0]) == 1.0
    assert rank_test([1.0] * 6) == rank_test([-1.0, -2, -3, -4, -5, -6]) == smallest_p(6) == 1 / 32


def test_holm_by_hand() -> None:
    """Holm 1979: 0.01 * 4, then the largest so far and 0.02 * 3, and so on."""
    p_values = {"a": 0.03, "b": 0.01, "c": 0.02, "d": 0.9}
    assert holm(p_values) == pytest.approx({"a": 0.06, "b": 0.04, "c": 0.06, "d": 0.9})
    assert list(holm(p_values)) == list(p_values)
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.04}) == {"a": 0.04}
    assert holm({}) == {}


def test_holm_is_the_step_down_procedure() -> None:
    """Reject the smallest while p <= level / (those left), stop at the first that is not."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        p_values = {str(k): float(p) for k, p in enumerate(generator.beta(0.3, 3, size=7))}
        rejected = set()
        for place, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
            if p_values[name] > LEVEL / (len(p_values) - place):
                break
            rejected.add(name)
        assert {name for name, p in holm(p_values).items() if p <= LEVEL} == rejected


def shared_noise(
    generator: np.random.Generator, effects: list[float], n: int
) -> dict[str, list[float]]:
    """What cells are better by, each on the same seeds as one reference."""
    reference = generator.standard_normal(n)
    drawn = {str(k): effect + generator.standard_normal(n) for k, effect in enumerate(effects)}
    return {name: list(values - reference) for name, values in drawn.items()}


@SIMULATED
@pytest.mark.parametrize(
    ("n_cells", "n"),
    [
        (1, 10),
        (5, 10),
        pytest.param(12, 10, marks=pytest.mark.process),
        pytest.param(12, 20, marks=pytest.mark.process),
    ],
)
def test_false_alarms_among_equal_cells(n_cells: int, n: int, n_simulations: int) -> None:
    """In at most 5 % of comparisons anything is claimed; of 1,000, more than 66 have 1 %."""
    generator = np.random.default_rng([n_cells, n])
    alarms = 0
    for _ in range(n_simulations):
        found = differences(shared_noise(generator, [0.0] * n_cells, n), "gru")
        alarms += any(one.is_claimed for one in found.values())
    assert alarms <= stats.binom.ppf(0.99, n_simulations, LEVEL)


@SIMULATED
def test_true_differences_are_claimed_and_hide_no_false_ones(n_simulations: int) -> None:
    generator = np.random.default_rng(3)
    n_seen, alarms = 0, 0
    for _ in range(n_simulations):
        found = differences(shared_noise(generator, [4.0, -4.0, 0.0, 0.0, 0.0], 10), "gru")
        n_seen += found["0"].is_claimed + found["1"].is_claimed
        alarms += any(found[name].is_claimed for name in "234")
        if found["0"].is_claimed and found["0"].gain:
            assert found["0"].gain.mean > 0
    assert n_seen > 0.95 * 2 * n_simulations
    assert alarms <= stats.binom.ppf(0.99, n_simulations, LEVEL)


def test_no_claim_from_few_seeds() -> None:
    found = differences({"a": [1.0, 1.1, 0.9, 1.2]}, "gru")["a"]
    assert found.gain is not None
    assert found.gain.excludes_zero
    assert not found.is_claimed
    told = verdict(found, "text", "loss")
    assert told == "a and gru on text: no claim from fewer than 5 seeds (n = 4 seeds)."
    assert "n = 1 seed)" in verdict(differences({"a": [1.0]}, "gru")["a"], "text", "loss")


def test_verdicts() -> None:
    gain = Interval(0.0123, 0.01, 0.02)
    one = Difference("mut1", "gru", 10, gain, 0.002, 0.004)
    assert verdict(one, "xml", "accuracy") == (
        "mut1 is better than gru on xml: accuracy by 0.0123 [0.0100, 0.0200] (n = 10 seeds, "
        "corrected p = 0.004)."
    )
    worse = Difference("mut1", "gru", 10, Interval(-0.3, -0.5, -0.1), 0.002, 0.004)
    certain = dataclasses.replace(one, corrected=1e-7)
    assert verdict(certain, "xml", "accuracy").endswith("(n = 10 seeds, corrected p < 0.0001).")
    equal = differences({"mut1": [0.0] * 6}, "gru")["mut1"]
    assert verdict(equal, "xml", "accuracy") == (
        "mut1 and gru on xml: a tie, accuracy is the same (n = 6 seeds, corrected p = 1)."
    )
    assert "mut1 is worse than gru on xml: loss by 0.3000 [0.1000, 0.5000]" in verdict(
        worse, "xml", "loss"
    )
    # Each alone is not enough.
    for doubtful in (
        Difference("mut1", "gru", 10, gain, 0.03, 0.06),
        Difference("mut1", "gru", 10, Interval(0.01, -0.001, 0.02), 0.002, 0.004),
    ):
        told = verdict(doubtful, "xml", "accuracy")
        assert "no evidence of a difference" in told
        assert "n = 10 seeds" in told
