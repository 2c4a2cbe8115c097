"""What a setting gives does not depend, by a single bit, on the settings it is trained with."""

import dataclasses
import math
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

import nas.training.module
import nas.training.run_groups
from nas.nn.settings import Settings
from nas.tasks import Task
from nas.training.module import Training
from nas.training.train import Member, train, train_members
from nas.training.window_tensors import TensorWindow
from nas.zoo import ZOO
from tests.training.evaluations import evaluation
from tests.training.plain import ADAMW, ENDLESS, LSTM, MOMENTUM, SEED, SETTINGS, XML

TASK = dataclasses.replace(XML, epochs=3)


def many(count: int) -> list[Settings]:
    """Settings that differ in everything, and of which some diverge."""
    found = []
    for k in range(count):
        one = (SETTINGS, MOMENTUM, ADAMW)[k // 4 % 3]
        found.append(
            dataclasses.replace(
                one,
                n_params=(1500, 900)[k // 10],
                num_layers=(2, 1)[k % 5 == 4],
                init_scale=(1.0, 0.3, 2.0)[k % 3],
                learning_rate=one.learning_rate * (1.0 + k / 7) * (1e38 if k % 7 == 3 else 1),
                clip_norm=(2.0, 0.5)[k % 2],
                dropout=(0.0, 0.3, 0.5)[k % 3],
            )
        )
    return found


def trained(task: Task, settings: Sequence[Settings], cell: str = "lstm") -> list[Member]:
    return train_members(evaluation(ZOO[cell], task, settings, SEED))


def in_turn(task: Task, settings: Sequence[Settings], cell: str = "lstm") -> list[Member]:
    return [trained(task, [one], cell)[0] for one in settings]


@pytest.mark.parametrize("count", [1, 3, 20])
def test_settings_together_give_what_each_gives_alone(count: int) -> None:
    """Widths, depths, optimizers, dropout; the weights sent back included."""
    together = trained(TASK, many(count))
    assert together == in_turn(TASK, many(count))
    if count == 20:
        outcomes = [member.outcome for member in together]
        assert {outcome.status for outcome in outcomes} == {"ok", "diverged"}
        assert len({(o.hidden_size, o.n_params) for o in outcomes}) == 4, "as many kinds of model"
        assert len({o.curve[0].train_loss for o in outcomes if o.curve}) > 12


def test_the_eager_backend_gives_each_what_it_gives_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_BACKEND", "eager")
    assert trained(TASK, many(5), "gru") == in_turn(TASK, many(5), "gru")


def test_the_state_carried_over_is_each_members_own() -> None:
    settings = [dataclasses.replace(SETTINGS, init_scale=scale) for scale in (0.3, 1.0, 2.8)]
    assert trained(ENDLESS, settings) == in_turn(ENDLESS, settings)


def test_the_same_settings_again_give_the_same() -> None:
    assert trained(TASK, many(3)) == trained(TASK, many(3))


def poison(monkeypatch: pytest.MonkeyPatch, at: dict[Settings, int]) -> None:
    """Spoil the weights of runs of some settings before they take a step."""
    original = Training._update

    def poisoned(self: Training, window: TensorWindow) -> None:
        for place, run in enumerate(self.runs):
            if at.get(run.settings) == run.steps:
                with torch.no_grad():
                    self.model.head_bias[place] = math.nan
        original(self, window)

    monkeypatch.setattr(Training, "_update", poisoned)


def test_members_that_diverge_midway_leave_the_others_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = [dataclasses.replace(DROPPED, learning_rate=rate / 10) for rate in range(1, 7)]
    undisturbed = trained(TASK, settings)
    poison(monkeypatch, {settings[0]: 5, settings[3]: 5, settings[4]: 6})
    together = trained(TASK, settings)
    assert together == in_turn(TASK, settings)
    assert [m.outcome.status == "diverged" for m in together] == [1, 0, 0, 1, 1, 0]
    assert [m.outcome.cost.steps for m in together] == [6, 12, 12, 6, 7, 12]
    for place in (1, 2, 5):
        assert together[place] == undisturbed[place]
    for place in (0, 3, 4):  # one epoch of 4 steps was finished
        assert together[place].outcome.curve == undisturbed[place].outcome.curve[:1]


DROPPED = dataclasses.replace(SETTINGS, dropout=0.3)


def test_members_that_stop_early_leave_the_others_alone() -> None:
    """One without a rate to speak of stops after 8 epochs; the others go on."""
    task = dataclasses.replace(XML, epochs=14, batches_per_epoch=2, validation_batches=1)
    rates = (2.0**-100, 0.5, 2.0**-90, 1.0)
    settings = [dataclasses.replace(DROPPED, learning_rate=rate) for rate in rates]
    together = trained(task, settings)
    assert together == in_turn(task, settings)
    epochs = [len(member.outcome.curve) for member in together]
    assert epochs[0] == epochs[2] == 8
    assert max(epochs) > 8


def test_a_member_that_reaches_the_goal_is_done() -> None:
    task = dataclasses.replace(XML, epochs=6, batches_per_epoch=8)
    rates = [dataclasses.replace(SETTINGS, learning_rate=rate) for rate in (0.001, 0.1, 0.5, 1.0)]
    curves = [member.outcome.curve for member in trained(task, rates)]
    goal = sorted(max(e.accuracy for e in curve) for curve in curves)[2]
    task = dataclasses.replace(task, stop_at=goal)
    together = trained(task, rates)
    assert together == in_turn(task, rates)
    reached = [(m.outcome.best or 0.0) >= goal for m in together]
    assert any(reached)
    assert not all(reached)


def test_outcomes_come_in_the_order_of_the_settings() -> None:
    settings = many(12)
    forward, backward = trained(TASK, settings), trained(TASK, settings[::-1])
    assert forward == backward[::-1]


def test_a_setting_may_occur_twice() -> None:
    first, second = trained(TASK, [SETTINGS, SETTINGS])
    assert first == second


def test_stacks_are_no_larger_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [dataclasses.replace(SETTINGS, learning_rate=rate / 10) for rate in range(1, 8)]
    sizes: list[int] = []
    original = nas.training.run_groups.fit

    def watched(training: Training, *rest: object) -> None:
        sizes.append(len(training.runs))
        original(training, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(nas.training.run_groups, "fit", watched)
    whole = trained(TASK, settings)
    work = nas.training.run_groups.Work(LSTM, TASK, SEED)
    width, n_params = whole[0].outcome.hidden_size, whole[0].outcome.n_params
    one = nas.training.run_groups.Run(SETTINGS, 0, width, n_params, 0.0)
    member = nas.training.run_groups._member_bytes(work, one)
    for limit, expected in ((3 * member, [3, 3, 1]), (member // 2, [1] * 7)):
        sizes.clear()
        monkeypatch.setattr(nas.training.device_memory, "STACK_BYTES", limit)
        assert trained(TASK, settings) == whole
        assert sizes == expected


def test_time_is_shared_between_those_that_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that shows how often it was read."""
    reads = iter(range(10**6))
    clock = SimpleNamespace(perf_counter=lambda: float(next(reads)))
    monkeypatch.setattr(nas.training.module, "time", clock)
    fine = [dataclasses.replace(SETTINGS, learning_rate=rate) for rate in (0.1, 0.2)]
    broken = dataclasses.replace(SETTINGS, learning_rate=1e38)
    trained_ = trained(TASK, [*fine, broken])
    wall = [member.outcome.cost.wall_s for member in trained_]
    # Read at the start, at the divergence, after each of 3 epochs, and at the end.
    assert wall == pytest.approx([1 / 3 + 4 / 2, 1 / 3 + 4 / 2, 1 / 3])


@pytest.mark.parametrize("device", ["cuda"])
def test_on_another_device_members_learn_as_on_the_cpu(device: str) -> None:
    """Sums are made in another order there, so the first epochs agree, not the bits."""
    if not torch.cuda.is_available():
        pytest.skip(f"this machine has no {device}")
    settings = [Settings(n_params=5000, learning_rate=rate) for rate in (0.1, 0.2, 0.3)]
    here = train(LSTM, TASK, settings, SEED)
    there = train(LSTM, TASK, settings, SEED, device=device)
    for one, other in zip(here, there, strict=True):
        assert other.curve[0].loss == pytest.approx(one.curve[0].loss, rel=1e-3)


def test_a_stack_stays_where_it_is_between_two_parts_of_its_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lightning moves a module to the CPU after each `fit`: on a GPU its parameters would no longer
    be those that the optimizer changes."""
    moved: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "cpu", lambda self: moved.append(self) or self)
    settings = [Settings(n_params=5000, learning_rate=rate) for rate in (0.1, 0.2)]
    train(LSTM, TASK, settings, SEED, halving=2)
    assert not moved


def test_a_device_is_asked_for_by_name() -> None:
    settings = [Settings(n_params=5000)]
    one, other = (train(LSTM, TASK, settings, SEED, **on) for on in ({}, {"device": "cpu"}))
    assert one[0].curve == other[0].curve
    with pytest.raises(RuntimeError, match="device"):
        train(LSTM, TASK, settings, SEED, device="nowhere")


def test_the_time_in_which_loops_are_compiled_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(_: object) -> bool:
        time.sleep(0.3)
        return False

    monkeypatch.setattr(nas.training.module, "passes", slowly)
    (one,) = trained(dataclasses.replace(XML, epochs=1, batches_per_epoch=1), [SETTINGS])
    assert one.outcome.cost.wall_s >= 0.3
