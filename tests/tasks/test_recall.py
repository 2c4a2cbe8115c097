"""Recall: answers looked up by a dictionary, the law of the gaps, and levels."""

from functools import partial

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks.base import Window
from nas.tasks.recall import Recall
from nas.testing import check_task

small = partial(Recall, batches_per_epoch=100)

TASKS = [
    small(),
    small(n_pairs=4, tokens=10, length=16),
    small(n_pairs=1, tokens=256, length=9, batch_size=3),
    small(n_pairs=8, length=64, power=1.0),
]


def lists(windows: list[Window]) -> set[tuple[int, ...]]:
    """The pairs, in their order, which no two splits may share."""
    n = 2 * int(windows[0].scored[:, 0].sum())
    return {tuple(stream[:n].tolist()) for window in windows for stream in window.inputs.T}


@pytest.mark.parametrize("task", TASKS)
def test_each_key_asks_once_for_the_value_that_followed_it(task: Recall) -> None:
    half, context = task.tokens // 2, 2 * task.n_pairs
    for window in task.windows("train", seed=0):
        assert window.fresh
        assert len(window.inputs) == task.length
        for stream in range(task.batch_size):
            inputs = window.inputs[:, stream].tolist()
            value_of = dict(zip(inputs[0:context:2], inputs[1:context:2], strict=True))
            assert len(value_of) == task.n_pairs, "keys differ"
            assert len(set(value_of.values())) == task.n_pairs, "values differ"
            assert all(1 <= key < half <= value < 2 * half for key, value in value_of.items())
            asked = []
            for step in range(task.length):
                is_question = step >= context and inputs[step] != 0
                assert window.scored[step, stream] == is_question
                if is_question:
                    assert (step - context) % 2 == 0
                    asked.append(inputs[step])
                    assert half + window.targets[step, stream] == value_of[inputs[step]]
            assert sorted(asked) == sorted(value_of)


def gaps(task: Recall) -> np.ndarray:
    """In units of two steps, from 0: of the first key, and of the second; (examples, 2)."""
    found = []
    for window in task.windows("train", seed=0):
        for stream in window.inputs.T:
            later = stream[2 * task.n_pairs :].tolist()
            found.append([later.index(stream[0]) // 2, later.index(stream[2]) // 2])
    return np.array(found)


@pytest.mark.parametrize("power", [0.01, 1.0, -1.0])
def test_gaps_follow_a_power_law_without_replacement(power: float) -> None:
    task = small(n_pairs=3, length=24, power=power)
    law = [(gap + 1) ** (power - 1) for gap in range(9)]
    law = [weight / sum(law) for weight in law]
    # The second gap is one of those that the first one leaves.
    second = [
        sum(law[first] * law[gap] / (1 - law[first]) for first in range(9) if first != gap)
        for gap in range(9)
    ]
    seen = gaps(task)
    for column, expected in ((seen[:, 0], law), (seen[:, 1], second)):
        counts, means = np.bincount(column, minlength=9), np.array(expected) * len(seen)
        # A chi-squared value of 9 gaps has 8 +- 4.
        assert ((counts - means) ** 2 / means).sum() < 8 + 5 * 4


def test_keys_and_values_are_uniform() -> None:
    task = small(n_pairs=2, tokens=16, length=8)
    tokens = np.concatenate([window.inputs[:4] for window in task.windows("train", seed=0)], axis=1)
    for place, first, n in ((0, 1, 7), (1, 8, 8), (2, 1, 7), (3, 8, 8)):
        counts, mean = np.bincount(tokens[place] - first, minlength=n), tokens.shape[1] / n
        spread = np.sqrt(2 * (n - 1))
        assert ((counts - mean) ** 2 / mean).sum() < n - 1 + 5 * spread


@pytest.mark.parametrize("task", TASKS)
def test_the_last_value_read_is_right_once_in_d_questions(task: Recall) -> None:
    right = total = 0
    for window in task.windows("validation", seed=0):
        last = window.inputs[2 * task.n_pairs - 1] - task.tokens // 2
        right += int((window.targets == last)[window.scored].sum())
        total += int(window.scored.sum())
    assert task.baseline(seed=0).value == right / total
    assert task.chance() == 1 / (task.tokens // 2)


@pytest.mark.parametrize("task", TASKS)
def test_conforms(task: Recall) -> None:
    check_task(task, lists)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_pairs": 0}, "n_pairs must be at least 1, got 0"),
        ({"tokens": 33}, r"must be even and at least 2 \(n_pairs \+ 1\) = 10, .* got 33"),
        ({"tokens": 8}, r"must be even and at least 2 \(n_pairs \+ 1\) = 10, .* got 8"),
        ({"length": 15}, "length must be at least 4 n_pairs = 16, .* got 15"),
        ({"power": float("nan")}, "power must be a finite number, got nan"),
        ({"n_pairs": 1, "tokens": 16}, "tokens = 16 gives 56 different .* need at least 1000"),
        ({"n_params": (0,)}, "n_params must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(**fields).check()  # type: ignore[arg-type]
