"""Runs that go wrong are outcomes: divergence at its step, memory that runs out."""

import dataclasses
import gc
import math
import re
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

import nas.training.device_memory
import nas.training.run_groups
from nas.nn.members import SequenceMembers
from nas.training.module import Training
from nas.training.train import train
from nas.training.window_tensors import TensorWindow, WindowData
from tests.training.plain import LSTM, SEED, SETTINGS, XML, Plain, begun


def test_a_run_that_diverges_ends_at_that_step() -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=1e38)
    outcome, fine = train(LSTM, XML, [settings, SETTINGS], SEED)
    plain = Plain(begun(XML, settings, outcome.hidden_size), settings, XML)
    losses = [plain.update(window) for window in XML.windows("train", SEED, 0)]
    finite = [
        math.isfinite(float(loss.detach().sum()) + length)
        for loss, length in zip(losses, plain.lengths, strict=True)
    ]
    assert outcome.status == "diverged"
    assert outcome.cost.steps == 1 + finite.index(False)
    assert f"not finite at step {outcome.cost.steps}" in outcome.message
    assert (outcome.best, outcome.best_epoch, outcome.curve) == (None, None, ())
    assert fine.status == "ok"


@pytest.mark.parametrize("rate", [math.inf, 1e39, 1e300])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_rate_beyond_single_precision_diverges(rate: float, optimizer: str) -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=rate, optimizer=optimizer)  # type: ignore[arg-type]
    (outcome,) = train(LSTM, XML, [settings], SEED)
    assert (outcome.status, outcome.cost.steps) == ("diverged", 2)


def test_a_validation_loss_that_is_not_finite_is_a_divergence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Training.on_validation_epoch_start

    def poisoned(self: Training) -> None:
        with torch.no_grad():
            self.model.head_bias[0] = math.inf
        original(self)

    other = dataclasses.replace(SETTINGS, learning_rate=0.25)
    expected = train(LSTM, XML, [other], SEED)
    monkeypatch.setattr(Training, "on_validation_epoch_start", poisoned)
    (outcome,) = train(LSTM, XML, [SETTINGS], SEED)
    assert (outcome.status, outcome.cost.steps, outcome.curve) == ("diverged", 4, ())
    monkeypatch.setattr(Training, "on_validation_epoch_start", once(poisoned, original))
    assert train(LSTM, XML, [SETTINGS, other], SEED) == [outcome, *expected]


def once(
    first: Callable[[Training], None], later: Callable[[Training], None]
) -> Callable[[Training], None]:
    calls = iter([first])
    return lambda training: next(calls, later)(training)


FULL = [
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
    "CUDA out of memory. Tried to allocate 20.00 GiB",
]
FIVE = [dataclasses.replace(SETTINGS, learning_rate=rate, dropout=0.3) for rate in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("message", FULL)
def test_memory_that_runs_out_for_one_large_run_is_an_outcome(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"{message}\nsecond line")

    monkeypatch.setattr(nas.training.run_groups, "fit", fail)
    with pytest.raises(MemoryError, match=re.escape(message)):
        train(LSTM, XML, FIVE[:3], SEED)  # runs of some 100 KB
    monkeypatch.setattr(nas.training.device_memory, "STACK_BYTES", 1000)
    outcomes = train(LSTM, XML, FIVE[:3], SEED)
    assert [(o.status, o.message) for o in outcomes] == [("out of memory", message)] * 3


def test_memory_that_runs_out_in_python_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(nas.training.device_memory, "STACK_BYTES", 1000)
    monkeypatch.setattr(nas.training.run_groups, "fit", fail)
    (outcome,) = train(LSTM, XML, [SETTINGS], SEED)
    assert (outcome.status, outcome.message) == ("out of memory", "memory ran out")


@pytest.mark.parametrize("step", [1, 6])
def test_where_memory_is_too_small_for_all_some_are_trained_at_a_time(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Two fit; outcomes are those of runs that never met the limit, one that diverged included."""
    settings = [*FIVE, dataclasses.replace(SETTINGS, learning_rate=1e38)]
    expected = train(LSTM, XML, settings, SEED)
    original, sizes = Training._update, []

    def limited(self: Training, window: TensorWindow) -> None:
        sizes.append(len(self.runs))
        if len(self.runs) > 2 and self.runs[0].steps >= step:
            raise RuntimeError(FULL[0])
        original(self, window)

    monkeypatch.setattr(Training, "_update", limited)
    assert train(LSTM, XML, settings, SEED) == expected
    assert sizes[-1] <= 2


def test_halves_that_begin_anew_are_cut_at_the_same_rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    task = dataclasses.replace(XML, epochs=8)
    expected = train(LSTM, task, FIVE, SEED, halving=2)
    original, failed = Training._update, []

    def limited(self: Training, window: TensorWindow) -> None:
        if not failed and self.runs[0].steps == 9:  # after the first rung
            failed.append(len(self.runs))
            raise RuntimeError(FULL[0])
        original(self, window)

    monkeypatch.setattr(Training, "_update", limited)
    assert train(LSTM, task, FIVE, SEED, halving=2) == expected
    assert failed[0] > 1
    assert {outcome.status for outcome in expected} == {"ok", "cut"}


@pytest.mark.parametrize("limit", [1, 100])
def test_a_stack_is_freed_before_the_next_begins(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Without waiting for the garbage collector; after memory ran out, too."""
    stacks: list[weakref.ref[Any]] = []
    original, update = SequenceMembers, Training._update

    def watched(*given: Any, **options: Any) -> SequenceMembers:
        assert not [stack for stack in stacks if stack()], "at most one at a time"
        model = original(*given, **options)
        stacks.append(weakref.ref(model))
        return model

    def limited(self: Training, window: TensorWindow) -> None:
        if len(self.runs) > limit:
            made = torch.zeros(3)  # as a step makes tensors until one does not fit
            stacks.append(weakref.ref(made))
            raise RuntimeError(FULL[0])
        update(self, window)

    monkeypatch.setattr(nas.training.run_groups, "members_of", lambda _: watched)
    monkeypatch.setattr(Training, "_update", limited)
    gc.disable()
    try:
        train(LSTM, XML, [*FIVE[:3], dataclasses.replace(SETTINGS, num_layers=1)], SEED)
    finally:
        gc.enable()
    assert len(stacks) == {1: 6 + 2, 100: 2}[limit]
    assert not [stack for stack in stacks if stack()]


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(training: Training, data: WindowData, n_epochs: int) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(nas.training.run_groups, "fit", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        train(LSTM, XML, [SETTINGS], SEED)
