"""Adding: sums read back from the inputs, where marks lie, and levels against closed forms."""

from functools import partial

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks.adding import Adding
from nas.testing import check_task

small = partial(Adding, batches_per_epoch=100)


@pytest.mark.parametrize("task", [small(), small(length=2), small(length=7, batch_size=3)])
def test_the_target_is_the_sum_of_the_marked_numbers_less_its_mean(task: Adding) -> None:
    for window in task.windows("validation", seed=3):
        assert window.fresh
        assert window.inputs.shape == (task.length, task.batch_size, 2)
        assert not window.scored[:-1].any()
        assert window.scored[-1].all()
        for stream in range(task.batch_size):
            total, n_marks = 0.0, 0
            for number, mark in window.inputs[:, stream].tolist():
                assert 0 <= number < 1
                assert mark in (0.0, 1.0)
                if mark:
                    total += number
                    n_marks += 1
            assert n_marks == 2
            assert window.targets[-1, stream, 0] == np.float32(total - 1)


def test_any_two_steps_are_marked_with_equal_probability() -> None:
    task = small(length=6)
    counts = np.zeros((6, 6))
    for window in task.windows("train", seed=0):
        for marks in window.inputs[..., 1].T:
            first, second = np.flatnonzero(marks)
            counts[first, second] += 1
    seen = counts[np.triu_indices(6, k=1)]
    expected = 2000 / 15
    # A chi-squared value of 15 pairs has 14 +- sqrt(28).
    assert ((seen - expected) ** 2 / expected).sum() < 14 + 5 * np.sqrt(28)


def test_numbers_are_uniform() -> None:
    (window,) = small(batches_per_epoch=1, batch_size=400).windows("train", seed=0)
    numbers = window.inputs[..., 0].astype(np.float64)
    for power in (1, 2, 3):  # moments of a uniform number are 1 / (power + 1)
        spread = np.sqrt((1 / (2 * power + 1) - 1 / (power + 1) ** 2) / numbers.size)
        assert (numbers**power).mean() == pytest.approx(1 / (power + 1), abs=5 * spread)


def test_levels_are_those_of_the_closed_forms() -> None:
    """Of s = u + v - 1, E s^2 = 1/6 and E s^4 = 1/15; of u - 1/2, they are 1/12 and 1/80."""
    task = small(length=10, validation_batches=500)
    n = 500 * task.batch_size
    spread = np.sqrt((1 / 15 - 1 / 36) / n)
    assert task.chance() == pytest.approx(1 / 6, abs=5 * spread)
    spread = np.sqrt((1 / 80 - 1 / 144) / n)
    assert task.baseline(seed=1).value == pytest.approx(1 / 12, abs=5 * spread)


def test_the_mean_of_targets_is_zero() -> None:
    targets = [window.targets[-1] for window in small(length=10).windows("train", seed=0)]
    spread = np.sqrt(1 / 6 / 2000)
    assert np.mean(targets) == pytest.approx(0, abs=5 * spread)


@pytest.mark.parametrize("task", [small(), small(length=2), small(length=11, batch_size=5)])
def test_conforms(task: Adding) -> None:
    check_task(task)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 1}, "tasks.adding.length must be at least 2, got 1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(**fields).check()
