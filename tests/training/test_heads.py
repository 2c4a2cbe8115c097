"""Heads other than that of symbols, and features as inputs, against torch and autograd."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.nn.budget import count_params, solve_width
from nas.nn.members import SequenceMembers
from nas.nn.model import SequenceModel
from nas.nn.settings import Settings
from nas.tasks.base import (
    ERROR,
    LOSS,
    Baseline,
    Head,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    interface_of,
)
from nas.training.heads import HEADS
from nas.training.losses import losses, measure
from nas.training.train import train, train_members, weight_seed
from nas.training.window_tensors import to_tensors
from nas.zoo import ZOO
from tests.tensors import seeded
from tests.tolerances import SAME_FORMULA
from tests.training.evaluations import evaluation

STEPS, BATCH, WIDTH, OUTPUTS = 5, 3, 4, 6
LSTM = ZOO["lstm"]
SEED = 3


def window(head: Head, share: float) -> Window:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(STEPS, BATCH, 2)).astype(np.float32)
    targets = random.normal(size=(STEPS, BATCH, OUTPUTS)).astype(np.float32)
    if head == "bernoulli":
        targets = (targets > 0.3).astype(np.float32)
    if head == "categorical":
        targets = random.integers(OUTPUTS, size=(STEPS, BATCH))
    return Window(inputs, targets, random.random((STEPS, BATCH)) < share, True)


def drawn(members: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    generator = seeded()
    shapes = [(STEPS * BATCH, WIDTH), (OUTPUTS, WIDTH), (OUTPUTS,)]
    return tuple(
        torch.randn((members, *shape), generator=generator, dtype=dtype).requires_grad_()
        for shape in shapes
    )


def torchs(head: Head, scores: Tensor, targets: Tensor) -> Tensor:
    """The loss of each position, by torch."""
    if head == "categorical":
        return F.cross_entropy(scores, targets, reduction="none")
    targets = targets.to(scores)
    if head == "gaussian":
        return F.mse_loss(scores, targets, reduction="none").mean(1)
    return -torch.distributions.Bernoulli(logits=scores).log_prob(targets).sum(1)


@pytest.mark.parametrize("share", [1.0, 0.4, 0.0], ids=["all", "some", "none"])
@pytest.mark.parametrize("head", HEADS)
def test_losses_and_gradients_are_torchs(head: Head, share: float) -> None:
    given, values = to_tensors(window(head, share)), drawn(3, torch.float64)
    ours = losses(*values, given, head)
    rows = torch.arange(STEPS * BATCH) if given.places is None else given.places
    theirs = torch.stack(
        [
            torchs(head, F.linear(y[rows], weight, bias), given.targets).sum() / BATCH
            for y, weight, bias in zip(*values, strict=True)
        ]
    )
    torch.testing.assert_close(ours, theirs, **SAME_FORMULA)
    torch.testing.assert_close(measure(*values, given, head)[0], theirs, **SAME_FORMULA)
    both = [
        torch.autograd.grad((found * torch.tensor([0.3, -2.0, 1.0])).sum(), values)
        for found in (ours, theirs)
    ]
    for mine, their in zip(*both, strict=True):
        torch.testing.assert_close(mine, their, **SAME_FORMULA)


def test_bits_are_right_where_all_are() -> None:
    scores = torch.tensor([[2.0, -1.0], [2.0, 1.0], [-0.1, -3.0]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert HEADS["bernoulli"].right(scores, targets).tolist() == [True, False, True]
    assert not HEADS["gaussian"].right(targets, targets).any()


@pytest.mark.parametrize("head", HEADS)
def test_a_member_does_not_depend_on_the_others(head: Head) -> None:
    given, values = to_tensors(window(head, 0.7)), drawn(7, torch.float32)
    together = losses(*values, given, head)
    whole = torch.autograd.grad(together.sum(), values)
    for k in range(7):
        one = [value.detach()[k : k + 1].clone().requires_grad_() for value in values]
        loss = losses(*one, given, head)  # type: ignore[arg-type]
        assert torch.equal(loss[0], together[k])
        for mine, all_of_them in zip(torch.autograd.grad(loss.sum(), one), whole, strict=True):
            assert torch.equal(mine[0], all_of_them[k])


@dataclass(frozen=True)
class Sums(Task):
    """The running sum of a feature, or whether it is positive, at every step or at the last."""

    name: ClassVar[str] = "sums"
    forced: ClassVar[bool] = False

    head: Head = "gaussian"
    last: bool = False

    @property
    def metric(self) -> Metric:
        return ERROR if self.head == "gaussian" else LOSS

    @property
    def interface(self) -> Interface:
        return Interface(3, 2, self.head, tokens=False)

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        count = self.batches_per_epoch if split == "train" else self.validation_batches
        random = np.random.default_rng([len(split), seed, epoch])
        for number in range(count):
            # What is held out may end in a smaller batch.
            batch = self.batch_size - (split != "train" and number == count - 1)
            inputs = random.normal(size=(self.window, batch, 3)).astype(np.float32)
            sums = np.cumsum(inputs[..., :2], 0) / 2
            scored = np.ones((self.window, batch), np.bool_)
            scored[:-1] &= not self.last
            targets = {
                "gaussian": sums.astype(np.float32),
                "bernoulli": (sums > 0).astype(np.float32),
                "categorical": (sums[..., 0] > 0).astype(np.int64),
            }[self.head]
            yield Window(inputs, targets, scored, True)

    def chance(self, split: Split = "validation") -> float:
        return 1.0

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return Baseline("none", 1.0)


SMALL = {"epochs": 2, "batches_per_epoch": 4, "validation_batches": 3, "batch_size": 4, "window": 6}
SETTINGS = Settings(500, num_layers=2, learning_rate=0.1, clip_norm=2.0)
KINDS = [Sums(head, last, **SMALL) for head in HEADS for last in (False, True)]


def by_hand(task: Sums, width: int) -> list[tuple[float, float]]:
    """Losses of each epoch in training and validation, of nn.Linear, nn.LSTM and nn.Linear."""
    model = SequenceModel(LSTM, task.interface, width, SETTINGS.num_layers, 0.0)
    generator = torch.Generator().manual_seed(weight_seed(LSTM.key, SETTINGS, SEED))
    model.reset_parameters(SETTINGS.init_scale, generator)
    lstm = nn.LSTM(width, width, SETTINGS.num_layers)
    with torch.no_grad():
        for k, layer in enumerate(model.rnn.layers):
            both = torch.cat([layer.get_parameter(f"{gate}_weight") for gate in "ifgo"])
            w_ih, w_hh = both.split(width, 1)
            getattr(lstm, f"weight_ih_l{k}").copy_(w_ih)
            getattr(lstm, f"weight_hh_l{k}").copy_(w_hh)
            bias = torch.cat([layer.get_parameter(f"{gate}_bias") for gate in "ifgo"])
            getattr(lstm, f"bias_ih_l{k}").copy_(bias)
            getattr(lstm, f"bias_hh_l{k}").zero_().requires_grad_(False)
    modules = (model.embedding, lstm, model.head)
    weights = [p for m in modules for p in m.parameters() if p.requires_grad]

    def found(one: Window) -> Tensor:
        scored = torch.from_numpy(one.scored)
        scores = model.head(lstm(model.embedding(torch.from_numpy(one.inputs)))[0])[scored]
        return torchs(task.head, scores, torch.from_numpy(one.targets)[scored])

    epochs = []
    for number in range(task.epochs):
        trained = []
        for one in task.windows("train", SEED, number):
            lost = found(one)
            trained += lost.tolist()
            gradients = torch.autograd.grad(lost.sum() / one.inputs.shape[1], weights)
            norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
            scale = min(1.0, SETTINGS.clip_norm / (float(norm) + 1e-6))
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight -= SETTINGS.learning_rate * scale * gradient
        with torch.no_grad():
            held_out = [
                loss for w in task.windows("validation", SEED) for loss in found(w).tolist()
            ]
        epochs.append((float(np.mean(trained)), float(np.mean(held_out))))
    return epochs


@pytest.mark.parametrize("task", KINDS, ids=lambda task: f"{task.head}-{task.last}")
def test_training_is_that_of_plain_torch(task: Sums) -> None:
    (outcome,) = train(LSTM, task, [SETTINGS], SEED, on_test=True)
    expected = by_hand(task, outcome.hidden_size)
    assert len(outcome.curve) == task.epochs
    for epoch, (train_loss, loss) in zip(outcome.curve, expected, strict=True):
        assert epoch.train_loss == pytest.approx(train_loss, rel=1e-4)
        assert epoch.loss == pytest.approx(loss, rel=1e-4)
    assert outcome.best == min(epoch.loss for epoch in outcome.curve)
    assert outcome.test is not None
    assert outcome.cost.tokens == 2 * 4 * 6 * 4


@pytest.mark.parametrize("task", KINDS[::2], ids=lambda task: task.head)
def test_settings_together_give_what_each_gives_alone(task: Sums) -> None:
    settings = [
        dataclasses.replace(SETTINGS, learning_rate=rate, dropout=dropout, num_layers=layers)
        for rate, dropout, layers in ((0.1, 0.0, 1), (0.3, 0.5, 1), (1e38, 0.0, 1), (0.2, 0.3, 1))
    ]
    together = train_members(evaluation(LSTM, task, settings, SEED))
    assert together == [train_members(evaluation(LSTM, task, [one], SEED))[0] for one in settings]
    assert len({member.outcome.best for member in together}) == 4


def test_a_cell_learns_to_sum() -> None:
    """Less than half of what is lost without memory: at step t the t - 1 numbers before, each of
    variance 1/4, are unknown then."""
    task = Sums("gaussian", epochs=6, batches_per_epoch=40, batch_size=20, window=10)
    (outcome,) = train(LSTM, task, [Settings(3000, learning_rate=0.2)], SEED)
    without_memory = sum((step - 1) / 4 for step in range(1, 11)) / 10
    assert outcome.best is not None
    assert outcome.best < without_memory / 2


@pytest.mark.parametrize("head", HEADS)
def test_the_width_fills_the_budget(head: Head) -> None:
    ends = Interface(7, 88, head, tokens=False)
    width = solve_width(LSTM, ends, Settings(20_000))
    model = SequenceModel(LSTM, ends, width, 1, 0.0)
    learned = sum(p.numel() for p in model.parameters())
    assert learned == count_params(LSTM, ends, width, 1) <= 20_000
    assert count_params(LSTM, ends, width + 1, 1) > 20_000


def test_a_member_alone_is_a_sequence_model() -> None:
    """The stacked model's scores are those of its members' own weights."""
    ends = Interface(3, 2, "gaussian", tokens=False)
    stacked = SequenceMembers(LSTM, ends, 5, 2, [0.0] * 3)
    x = torch.randn(7, 4, 3, generator=seeded())
    together, _ = stacked(x, None)
    for k in range(3):
        alone = SequenceModel(LSTM, ends, 5, 2, 0.0)
        alone.load_state_dict(stacked.member_state(k))
        torch.testing.assert_close(alone(x, None)[0], together[k], rtol=1e-5, atol=1e-6)


def test_an_interface_of_a_vocabulary_predicts_the_next_symbol() -> None:
    assert interface_of(7) == Interface(7, 7, "categorical", tokens=True)
    assert interface_of(7).predicts_next
    assert not Interface(7, 6).predicts_next
    assert not Interface(7, 7, tokens=False).predicts_next


def test_the_metric_may_be_of_marked_positions() -> None:
    @dataclass(frozen=True)
    class Late(Sums):
        name: ClassVar[str] = "late"

        @property
        def metric(self) -> Metric:
            return Metric("accuracy", "share", higher_is_better=True, mark="late")

        def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
            for one in super().windows(split, seed, epoch):
                mark = np.zeros_like(one.scored)
                mark[-2:] = True
                yield dataclasses.replace(one, marks={"late": mark})

    task = Late("categorical", **SMALL)
    (outcome,) = train(LSTM, task, [SETTINGS], SEED, on_test=True)
    assert outcome.best == max(epoch.marks["late"] for epoch in outcome.curve)
    assert outcome.test == outcome.test_marks["late"]
    assert any(epoch.marks["late"] != epoch.accuracy for epoch in outcome.curve)
