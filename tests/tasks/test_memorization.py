import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks.base import Window
from nas.tasks.memorization import Memorization
from nas.testing import check_task


def examples(windows: list[Window]) -> set[tuple[int, ...]]:
    n = windows[0].inputs.shape[0] // 2
    return {tuple(stream[:n].tolist()) for window in windows for stream in window.inputs.T}


@pytest.mark.parametrize("task", [Memorization(), Memorization(n_symbols=3, alphabet=11)])
def test_symbols_are_read_and_then_reproduced(task: Memorization) -> None:
    n, go = task.n_symbols, task.alphabet
    for window in task.windows("train", seed=0):
        assert window.fresh
        assert window.inputs.shape == (2 * n, task.batch_size)
        for inputs, targets in zip(
            window.inputs.T.tolist(), window.targets.T.tolist(), strict=True
        ):
            assert inputs == [*inputs[:n], go, *inputs[: n - 1]]
            assert targets == [*inputs[1:n], go, *inputs[:n]]
            assert go not in inputs[:n]
        assert not window.scored[:n].any()
        assert window.scored[n:].all()


def test_symbols_are_uniform() -> None:
    windows = list(Memorization().windows("train", seed=0))
    symbols = np.concatenate([window.inputs[:5] for window in windows], axis=1)
    counts = np.array([np.bincount(place, minlength=26) for place in symbols])
    expected = symbols.shape[1] / 26
    # Each place of the five on its own; a chi-squared value has 25 +- sqrt(50).
    assert (((counts - expected) ** 2 / expected).sum(axis=1) < 25 + 5 * np.sqrt(50)).all()


def test_window_field_is_not_used() -> None:
    short, long = (Memorization(window=window).windows("train", seed=0) for window in (3, 70))
    for one, other in zip(short, long, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)


def test_baseline_is_the_best_constant() -> None:
    windows = list(Memorization(validation_batches=500).windows("validation", seed=0))
    targets = np.concatenate([window.targets[window.scored] for window in windows])
    rates = np.bincount(targets, minlength=27) / len(targets)
    deviation = np.sqrt(1 / 26 / len(targets))
    assert rates[:26] == pytest.approx(Memorization().baseline(0).value, abs=5 * deviation)
    assert rates[26] == 0, "the go token is never scored"


@pytest.mark.parametrize(
    "task", [Memorization(), Memorization(n_symbols=3), Memorization(n_symbols=10, alphabet=2)]
)
def test_conforms(task: Memorization) -> None:
    check_task(task, examples)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_symbols": 0}, "n_symbols must be at least 1, got 0"),
        ({"alphabet": 0}, "alphabet must be at least 2, got 0"),
        ({"n_symbols": 2}, r"26 \*\* 2 gives 676 different .* need at least 1000: raise one"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"n_params": (100, 0)}, "n_params must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Memorization(**fields).check()  # type: ignore[arg-type]
