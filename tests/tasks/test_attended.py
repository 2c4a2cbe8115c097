"""Tasks whose examples are a source and what is written for it: windows read back."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks import Arithmetic, ArithmeticAttention, CopyAttention
from nas.tasks.arithmetic import SYMBOLS
from nas.tasks.base import Attention, Interface, Split, Task, Window
from nas.testing import check_task

copying = partial(CopyAttention, batches_per_epoch=10, validation_batches=5)
calculating = partial(ArithmeticAttention, batches_per_epoch=10, validation_batches=5)
TASKS: list[Task] = [
    copying(),
    copying(min_symbols=4, max_symbols=4, alphabet=6, attention="general"),
    copying(attention="none"),
    calculating(),
    calculating(max_digits=2, max_distractors=0, sign_probability=0.0, attention="general"),
    calculating(attention="none", operators="+"),
]


def examples(task: Task, window: Window) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """Of each stream its source, the inputs from the divider on, and the scored targets."""
    divider = SYMBOLS.index("=") if isinstance(task, Arithmetic) else task.interface.inputs - 2
    padding = task.interface.inputs - 1
    streams = zip(window.inputs.T.tolist(), window.targets.T, window.scored.T, strict=True)
    for inputs, targets, scored in streams:
        place = inputs.index(divider)
        source, text = inputs[:place], inputs[place:]
        n_written = int(scored.sum())
        assert scored.tolist() == [place <= t < place + n_written for t in range(len(inputs))]
        begin = sum(one == padding for one in source)
        assert source[:begin] == [padding] * begin, "at the start"
        assert text[n_written:] == [padding] * (len(text) - n_written), "at the end"
        yield source[begin:], text[:n_written], targets[scored].tolist()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_each_target_is_the_next_input_and_the_last_is_an_end(task: Task, split: Split) -> None:
    end = SYMBOLS.index(".") if isinstance(task, Arithmetic) else task.interface.outputs - 1
    for window in task.windows(split, seed=0):
        assert window.fresh
        for source, inputs, targets in examples(task, window):
            assert source
            assert inputs[1:] == targets[:-1]
            assert targets[-1] == end
            assert end not in targets[:-1]


@pytest.mark.parametrize("task", TASKS[:3])
def test_what_is_read_is_written_and_lengths_are_equally_frequent(task: CopyAttention) -> None:
    lengths = []
    for window in task.windows("train", seed=0):
        for source, _, targets in examples(task, window):
            assert source == targets[:-1]
            assert max(source) < task.alphabet
            lengths.append(len(source))
    counts = np.bincount(lengths)[task.min_symbols :]
    assert len(counts) == task.max_symbols - task.min_symbols + 1
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("task", TASKS[3:])
def test_values_are_right(task: ArithmeticAttention) -> None:
    for window in task.windows("train", seed=0):
        for source, _, targets in examples(task, window):
            expression = "".join(SYMBOLS[i] for i in source if not SYMBOLS[i].isalpha())
            assert eval(expression) == int("".join(SYMBOLS[i] for i in targets[:-1]))


def test_no_expression_is_in_another_split_of_arithmetic() -> None:
    """The split is that of the expression without its letters, in both tasks."""
    plain = Arithmetic(max_digits=1, max_distractors=0, sign_probability=0.0, n_params=(1000,))
    task = calculating(max_digits=1, max_distractors=0, sign_probability=0.0)
    found: dict[Split, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for split, here in found.items():
        for window in task.windows(split, seed=0):
            here |= {"".join(SYMBOLS[i] for i in source) for source, _, _ in examples(task, window)}
    for window in plain.windows("validation", seed=1):
        for stream in window.inputs.T.tolist():
            text = "".join(SYMBOLS[i] for i in stream)
            shown = {piece.split("=")[0] for piece in text.split(".")[1:-1]}
            assert not shown & (found["train"] | found["test"])


@pytest.mark.parametrize("task", TASKS)
def test_conforms(task: Task) -> None:
    check_task(task)


def carried(window: Window) -> Window:
    return replace(window, fresh=False)


def without_source(window: Window) -> Window:
    inputs = window.inputs.copy()
    inputs[:20, 3] = 10
    return replace(window, inputs=inputs)


def shifted(window: Window) -> Window:
    inputs = window.inputs.copy()
    inputs[:, 3] = np.roll(inputs[:, 3], 1)
    return replace(window, inputs=inputs)


def interrupted(window: Window) -> Window:
    inputs = window.inputs.copy()
    inputs[18] = 10
    return replace(window, inputs=inputs)


def scored_early(window: Window) -> Window:
    return replace(window, scored=np.ones_like(window.scored))


class Wrong(CopyAttention):
    spoil: ClassVar[Callable[[Window], Window]]

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        for number, window in enumerate(super().windows(split, seed, epoch)):
            yield type(self).spoil(window) if number else window


@pytest.mark.parametrize("spoil", [carried, without_source, shifted, interrupted, scored_early])
def test_windows_of_another_kind_do_not_conform(spoil: Callable[[Window], Window]) -> None:
    kind = type("Wrong", (Wrong,), {"spoil": staticmethod(spoil)})
    task = kind(batches_per_epoch=5, validation_batches=5)
    with pytest.raises(AssertionError, match="with attention, windows must be fresh"):
        check_task(task)


@pytest.mark.parametrize("task", TASKS[:3])
def test_the_baseline_of_copying_is_the_most_frequent_class(task: CopyAttention) -> None:
    targets = np.concatenate([w.targets[w.scored] for w in task.windows("train", seed=0)])
    shares = np.bincount(targets, minlength=task.alphabet + 1) / len(targets)
    mean = (task.min_symbols + task.max_symbols) / 2
    ends = 1 / (mean + 1)
    assert shares[-1] == pytest.approx(ends, abs=0.002)
    spread = np.sqrt(1 / task.alphabet / len(targets))
    assert shares[:-1] == pytest.approx((1 - ends) / task.alphabet, abs=5 * spread)
    expected = max(ends, (1 - ends) / task.alphabet)
    assert task.baseline(seed=0).value == pytest.approx(expected)
    assert task.chance() == 1 / (task.alphabet + 1)


def test_interfaces() -> None:
    assert copying().interface == Interface(11, 9, attention=Attention("additive", 9, 10))
    assert copying(attention="general").interface.attention == Attention("general", 9, 10)
    assert copying(attention="none").interface == Interface(11, 9)
    equals = SYMBOLS.index("=")
    assert calculating().interface == Interface(41, 40, attention=Attention("additive", equals, 40))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (copying(alphabet=1), r"tasks.copy_attention.alphabet must be in \[2, 256\], got 1"),
        (copying(alphabet=257), r"alphabet must be in \[2, 256\], got 257"),
        (copying(min_symbols=0), r"min_symbols must be at least 1, got 0"),
        (copying(max_symbols=4), r"max_symbols must be at least min_symbols, got 4 and 5"),
        (copying(min_symbols=3), r"8 \*\* 3 gives 512 different .* at least 1000: raise one"),
        (copying(attention="much"), r"copy_attention.attention must be one of additive, general, "),
        (calculating(attention="much"), r"arithmetic_attention.attention must be .* got \"much\""),
        (calculating(max_digits=0), r"tasks.arithmetic_attention.max_digits must be in \[1, 18\]"),
    ],
)
def test_fields_out_of_range_are_errors(task: Task, message: str) -> None:
    with pytest.raises(UserError, match=message):
        task.check()
