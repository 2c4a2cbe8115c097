"""Selective copying: windows read back, where symbols lie, and levels against closed forms."""

from functools import partial

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks.base import Window
from nas.tasks.selective_copying import SelectiveCopying
from nas.testing import check_task

small = partial(SelectiveCopying, batches_per_epoch=100)

TASKS = [
    small(),
    small(n_symbols=4, alphabet=6, length=4),
    small(n_symbols=16, alphabet=3, length=64, batch_size=3),
]


def strings(windows: list[Window]) -> set[tuple[int, ...]]:
    """What is copied, which no two splits may share."""
    return {
        tuple(targets[scored].tolist())
        for window in windows
        for targets, scored in zip(window.targets.T, window.scored.T, strict=True)
    }


@pytest.mark.parametrize("task", TASKS)
def test_what_is_no_blank_is_given_back_in_order(task: SelectiveCopying) -> None:
    n, blank, copy = task.n_symbols, task.alphabet, task.alphabet + 1
    for window in task.windows("train", seed=0):
        assert window.fresh
        for stream in range(task.batch_size):
            inputs = window.inputs[:, stream].tolist()
            found = [token for token in inputs[: task.length] if token != blank]
            assert len(found) == n
            assert max(found) < task.alphabet
            assert inputs[task.length :] == [copy] * n
            assert window.targets[window.scored[:, stream], stream].tolist() == found
            assert window.scored[:, stream].tolist() == [False] * task.length + [True] * n


def test_any_places_hold_the_symbols_with_equal_probability() -> None:
    """All 15 pairs of places of 6 alike, so the last symbol is often followed by blanks."""
    task = small(n_symbols=2, alphabet=40, length=6)
    task.check()
    counts = np.zeros((6, 6))
    for window in task.windows("train", seed=0):
        for stream in window.inputs[:6].T:
            first, second = np.flatnonzero(stream != task.alphabet)
            counts[first, second] += 1
    seen = counts[np.triu_indices(6, k=1)]
    expected = 2000 / 15
    # A chi-squared value of 15 pairs has 14 +- sqrt(28).
    assert ((seen - expected) ** 2 / expected).sum() < 14 + 5 * np.sqrt(28)


def test_places_follow_the_seed_and_not_the_global_generator() -> None:
    np.random.seed(0)
    before = [window.inputs for window in small().windows("train", seed=0)]
    np.random.seed(1)
    after = [window.inputs for window in small().windows("train", seed=0)]
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("task", [small(), small(8, 3)])
def test_the_baseline_and_chance_are_those_of_counts(task: SelectiveCopying) -> None:
    n, right, seen, total = task.n_symbols, 0, np.zeros(task.alphabet), 0
    for window in task.windows("train", seed=0):
        for inputs, targets in zip(window.inputs.T, window.targets.T, strict=True):
            last = [token for token in inputs.tolist() if token < task.alphabet][-1]
            right += int((targets[-n:] == last).sum())
            seen += np.bincount(targets[-n:], minlength=task.alphabet)
            total += n
    assert right / total == pytest.approx(task.baseline(0).value, abs=5 * np.sqrt(0.25 / total))
    assert seen / total == pytest.approx(task.chance(), abs=5 * np.sqrt(task.chance() / total))


@pytest.mark.parametrize("task", TASKS)
def test_conforms(task: SelectiveCopying) -> None:
    check_task(task, strings)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 4}, "length must be at least n_symbols = 5, .* got 4"),
        ({"n_symbols": 0}, "n_symbols must be at least 1, got 0"),
        ({"alphabet": 0}, "alphabet must be at least 2, got 0"),
        ({"alphabet": 3}, r"3 \*\* 5 gives 243 different .* need at least 1000: raise one"),
        ({"window": 0}, "window must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(**fields).check()
