"""Copy memory: windows read back, and the loss without memory against its closed form."""

from functools import partial

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks.base import Window
from nas.tasks.copy_memory import CopyMemory
from nas.testing import check_task

small = partial(CopyMemory, batches_per_epoch=100)

TASKS = [small(), small(delay=1), small(n_symbols=4, alphabet=6, delay=9)]


def strings(windows: list[Window]) -> set[tuple[int, ...]]:
    """What is recalled, which no two splits may share."""
    n = int(windows[0].marks["recall"][:, 0].sum())
    return {tuple(stream[:n].tolist()) for window in windows for stream in window.inputs.T}


@pytest.mark.parametrize("task", TASKS)
def test_symbols_come_back_after_blanks(task: CopyMemory) -> None:
    n, delay, blank, delimiter = task.n_symbols, task.delay, task.alphabet, task.alphabet + 1
    for window in task.windows("train", seed=0):
        assert window.fresh
        assert window.scored.all()
        for inputs, targets, recall in zip(
            window.inputs.T.tolist(),
            window.targets.T.tolist(),
            window.marks["recall"].T.tolist(),
            strict=True,
        ):
            symbols = inputs[:n]
            assert max(symbols) < task.alphabet
            assert inputs == symbols + [blank] * (delay - 1) + [delimiter] * (n + 1)
            assert targets == [blank] * (delay + n) + symbols
            assert recall == [False] * (delay + n) + [True] * n


@pytest.mark.parametrize("task", TASKS)
def test_without_memory_the_loss_is_that_of_the_closed_form(task: CopyMemory) -> None:
    """n ln(alphabet) / (T + 2 n) nats for the shares of classes at each step, less what shares that
    are counted on the same N examples gain: (alphabet - 1) / 2 N a recalled symbol."""
    targets = np.concatenate([one.targets for one in task.windows("train", seed=0)], axis=1)
    steps, n_examples = targets.shape
    loss = 0.0
    for step in targets:
        shares = np.bincount(step) / n_examples
        loss -= sum(share * np.log(share) for share in shares if share > 0) / steps
    n, free = task.n_symbols, task.alphabet - 1
    scale = n / (task.delay + 2 * n)
    expected = scale * (np.log(task.alphabet) - free / 2 / n_examples)
    spread = scale * np.sqrt(free / 2 / n) / n_examples
    assert loss == pytest.approx(expected, abs=5 * spread)


def test_the_level_of_the_literature() -> None:
    """Bai et al. 2018: an LSTM stays at 0.0204 nats for T = 1000."""
    task = small(delay=1000, validation_batches=1, batch_size=2)
    (window,) = task.windows("validation", seed=0)
    uncertain = window.marks["recall"].sum() / window.scored.sum()
    assert uncertain * np.log(task.alphabet) == pytest.approx(0.0204, abs=0.00005)


def test_chance_and_the_baseline_are_those_of_the_recalled_symbols() -> None:
    windows = list(small(validation_batches=200).windows("validation", seed=0))
    recalled = np.concatenate([window.targets[window.marks["recall"]] for window in windows])
    shares = np.bincount(recalled, minlength=9) / len(recalled)
    spread = np.sqrt(1 / 8 * 7 / 8 / len(recalled))
    assert shares[:8] == pytest.approx(small().baseline(seed=0).value, abs=5 * spread)
    assert shares[8] == 0, "no blank is recalled"
    assert small().chance() == 1 / 9
    assert small().metric.mark == "recall"


@pytest.mark.parametrize("task", TASKS)
def test_conforms(task: CopyMemory) -> None:
    check_task(task, strings)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"delay": 0}, "tasks.copy_memory.delay must be at least 1, got 0"),
        ({"n_symbols": 0}, "n_symbols must be at least 1, got 0"),
        ({"alphabet": 1}, "alphabet must be at least 2, got 1"),
        ({"n_symbols": 3}, r"8 \*\* 3 gives 512 different .* need at least 1000: raise one"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(**fields).check()
