"""The output layer's loss and gradients, in C and in torch, against torch's losses and autograd."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas.compile.backend import usual
from nas.errors import UserError
from nas.tasks.base import Window
from nas.training.heads import HEADS, HeadFunctions, functions_of
from nas.training.losses import losses, measure
from nas.training.losses_at_once import (
    differentiated_at_once,
    losses_of,
    rights_of,
    scores_at_once,
)
from nas.training.losses_in_c import ORDER, runs_in_c
from nas.training.window_tensors import TensorWindow, Totals, to_tensors
from tests.tensors import seeded
from tests.tolerances import SAME_FORMULA

STEPS, BATCH = 5, 3
LONG = 140  # more rows than `outer` of gemm.c takes at a time


@pytest.fixture(autouse=True, params=["c", "eager"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_BACKEND", request.param)


@contextmanager
def one_more_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    yield
    torch.set_num_threads(before)


def window(symbols: int, share: float, seed: int = 0) -> Window:
    """A window of which a share of the positions is scored."""
    random = np.random.default_rng(seed)
    inputs, targets = random.integers(symbols, size=(2, STEPS, BATCH))
    scored, marked = random.random((2, STEPS, BATCH)) < np.array([[[share]], [[0.5]]])
    return Window(inputs, targets, scored, True, {"some": marked})


def drawn(members: int, width: int, symbols: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    generator = seeded()
    shapes = [(STEPS * BATCH, width), (symbols, width), (symbols,)]
    return tuple(
        torch.randn((members, *shape), generator=generator, dtype=dtype).requires_grad_()
        for shape in shapes
    )


def plain(values: tuple[Tensor, ...], k: int, given: Window) -> tuple[Tensor, Tensor]:
    """Member k's summed loss, and what is right, by torch."""
    y, weight, bias = (value[k] for value in values)
    scored = torch.from_numpy(given.scored.reshape(-1))
    logits = F.linear(y, weight, bias)[scored]
    targets = torch.from_numpy(given.targets.reshape(-1))[scored]
    return F.cross_entropy(logits, targets, reduction="sum") / BATCH, logits.argmax(-1) == targets


@pytest.mark.parametrize("share", [1.0, 0.4, 0.0], ids=["all", "some", "none"])
def test_losses_and_gradients_are_torchs(share: float) -> None:
    given, values = window(7, share), drawn(3, 4, 7, torch.float64)
    tensors = to_tensors(given)
    assert (tensors.places is None) == (share == 1)
    ours = losses(*values, tensors)
    theirs = torch.stack([plain(values, k, given)[0] for k in range(3)])
    torch.testing.assert_close(ours, theirs, **SAME_FORMULA)
    for weights in ([1.0, 1.0, 1.0], [0.3, -2.0, 1.0]):
        sums = [(found * torch.tensor(weights)).sum() for found in (ours, theirs)]
        both = [torch.autograd.grad(one, values, retain_graph=True) for one in sums]
        for mine, their in zip(*both, strict=True):
            torch.testing.assert_close(mine, their, **SAME_FORMULA)


def test_a_loss_is_right_where_the_share_of_the_target_is_none() -> None:
    """Logits hundreds of nats apart: exp gives 0 in single precision, the loss is finite."""
    given, values = window(7, 1.0), drawn(2, 4, 7, torch.float32)
    with torch.no_grad():
        values[1][1] *= 300
    tensors = to_tensors(given)
    ours, measured = losses(*values, tensors), measure(*values, tensors)[0]
    theirs = torch.stack([plain(values, k, given)[0] for k in range(2)])
    assert theirs[1] > 500
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert torch.equal(measured, ours)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_what_is_measured_is_what_was_lost_and_what_was_right(share: float) -> None:
    given, values = window(3, share), drawn(3, 4, 3, torch.float64)
    found, right = measure(*values, to_tensors(given))
    for k in range(3):
        loss, hits = plain(values, k, given)
        torch.testing.assert_close(found[k], loss.detach(), **SAME_FORMULA)
        assert torch.equal(right[k], hits)
    assert 0 < right.sum() < right.numel(), "the comparison must see both"


def test_of_equal_logits_the_first_symbol_is_the_guess() -> None:
    values = [torch.zeros_like(value) for value in drawn(1, 4, 3, torch.float64)]
    given = window(3, 1.0)
    _, right = measure(*values, to_tensors(given))
    assert torch.equal(right[0], torch.from_numpy(given.targets.reshape(-1) == 0))


@pytest.mark.parametrize("width", [1, 7, 32, 33])
@pytest.mark.parametrize("symbols", [5, 30, 103])
def test_a_member_does_not_depend_on_the_others(width: int, symbols: int) -> None:
    """To the bit, wherever a member's values begin in memory."""
    values = drawn(20, width, symbols, torch.float32)
    for share in (1.0, 0.4):
        tensors = to_tensors(window(symbols, share))
        together = losses(*values, tensors)
        whole = torch.autograd.grad(together.sum(), values)
        measured = measure(*values, tensors)
        for k in range(20):
            one = [value.detach()[k : k + 1].clone().requires_grad_() for value in values]
            loss = losses(*one, tensors)  # type: ignore[arg-type]
            assert torch.equal(loss[0], together[k])
            for mine, all_of_them in zip(torch.autograd.grad(loss.sum(), one), whole, strict=True):
                assert torch.equal(mine[0], all_of_them[k])
            for mine, all_of_them in zip(measure(*one, tensors), measured, strict=True):  # type: ignore[arg-type]
                assert torch.equal(mine[0], all_of_them[k])


def test_what_is_not_finite_stays_with_its_member() -> None:
    values = [value.detach().clone() for value in drawn(3, 4, 7, torch.float64)]
    values[0][1, 2] = math.inf
    values[1][2, 0] = math.nan
    leaves = [value.requires_grad_() for value in values]
    found = losses(*leaves, to_tensors(window(7, 1.0)))  # type: ignore[arg-type]
    assert found.isfinite().tolist() == [True, False, False]
    for gradient in torch.autograd.grad(found.sum(), leaves):
        assert gradient[0].isfinite().all()


def test_totals_are_means_over_all_scored_positions() -> None:
    windows = [window(3, share, seed) for seed, share in enumerate((1.0, 0.4, 0.7))]
    values, totals = drawn(2, 4, 3, torch.float64), Totals(3)
    totals.keep([2, 0])
    parts: list[list[tuple[float, Tensor, TensorWindow]]] = [[], []]
    for given in windows:
        tensors = to_tensors(given)
        found, right = measure(*values, tensors)
        totals.add(found, tensors, right)
        for k in range(2):
            parts[k].append((float(found[k]), right[k], tensors))
    count = sum(int(given.scored.sum()) for given in windows)
    marked = sum(int((given.scored & given.marks["some"]).sum()) for given in windows)
    for k in range(2):
        assert totals.losses[k] == pytest.approx(
            BATCH * sum(loss for loss, _, _ in parts[k]) / count
        )
        hits = sum(int(right.sum()) for _, right, _ in parts[k])
        assert totals.accuracies[k] == pytest.approx(hits / count)
        inside = sum(int(right[t.marks["some"]].sum()) for _, right, t in parts[k])
        assert totals.marks[k] == {"some": pytest.approx(inside / marked)}


HEADED = {
    "categorical": (torch.randint(6, (15,), generator=seeded()), 6),
    "bernoulli": (torch.randint(2, (15, 3), generator=seeded()).float(), 3),
    "gaussian": (torch.randn(15, 3, generator=seeded()), 3),
}


@pytest.mark.parametrize("is_own", [False, True], ids=["head", "own"])
@pytest.mark.parametrize("places", [None, torch.tensor([0, 4, 5, 11])], ids=["all", "some"])
@pytest.mark.parametrize("name", HEADED)
def test_all_members_at_once_lose_what_they_lose_in_turn(
    name: Any, places: Tensor | None, is_own: bool
) -> None:
    """The form for GPUs, run on the CPU."""
    targets, outputs = HEADED[name]
    targets = targets if places is None else targets[places]
    given = TensorWindow(torch.zeros(STEPS, BATCH), targets, places, True, {})
    head = functions_of(name)
    if is_own:
        head = HeadFunctions(lambda *a: functions_of(name).loss(*a), head.right)
    values = drawn(3, 4, outputs, torch.float64)
    expected = losses(*values, given, head)
    of = torch.autograd.grad(expected.sum(), values)
    with torch.no_grad():
        found, gradients = differentiated_at_once(*values, given, head)
        torch.testing.assert_close(found, expected.detach(), **SAME_FORMULA)
        for one, other in zip(gradients, of, strict=True):
            torch.testing.assert_close(one, other, **SAME_FORMULA)
        measured, right = measure(*values, given, head)
        scores = scores_at_once(*values, given)
        assert torch.equal(rights_of(scores, given, head), right)
        at_once = losses_of(scores, given, head)[0] / given.n_streams
        torch.testing.assert_close(at_once, measured, **SAME_FORMULA)


def of_head(name: Any, outputs: int, places: Tensor | None) -> TensorWindow:
    n_rows = STEPS * BATCH * LONG
    targets = {
        "categorical": torch.randint(outputs, (n_rows,), generator=seeded()),
        "bernoulli": torch.randint(2, (n_rows, outputs), generator=seeded()),
        "gaussian": torch.randn(n_rows, outputs, generator=seeded()),
    }[name]
    if places is not None:
        targets = targets[places]
    return TensorWindow(torch.zeros(STEPS * LONG, BATCH), targets, places, True, {})


@pytest.mark.parametrize("outputs", [1, 7, 16, 33])
@pytest.mark.parametrize("places", [None, torch.arange(0, 700, 3)], ids=["all", "some"])
@pytest.mark.parametrize("name", HEADED)
def test_a_head_is_torchs_at_every_width(name: Any, places: Tensor | None, outputs: int) -> None:
    """Vectors of C hold 8 or 16 values, the last ones in part."""
    assert set(HEADED) == set(ORDER) == set(HEADS), "a head is missing in C or here"
    given = of_head(name, outputs, places)
    for width, dtype in ((1, torch.float64), (16, torch.float32), (37, torch.float64)):
        values = tuple(
            torch.randn(2, *shape, generator=seeded(), dtype=dtype, requires_grad=True)
            for shape in ((STEPS * BATCH * LONG, width), (outputs, width), (outputs,))
        )
        ours = losses(*values, given, name)
        y, weight, bias = (value.detach().double().requires_grad_() for value in values)
        scores = torch.einsum("mrw,mow->mro", y, weight) + bias.unsqueeze(1)
        scores = scores if places is None else scores[:, places]
        sums = []
        for one in scores:
            if name == "categorical":
                sums.append(F.cross_entropy(one, given.targets, reduction="sum"))
            elif name == "bernoulli":
                numbers = given.targets.double()
                sums.append(F.binary_cross_entropy_with_logits(one, numbers, reduction="sum"))
            else:
                sums.append(F.mse_loss(one, given.targets.double(), reduction="sum") / outputs)
        theirs = torch.stack(sums) / BATCH
        close = SAME_FORMULA if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(ours.double(), theirs, **close)
        assert torch.equal(measure(*values, given, name)[0], ours)
        gradients = torch.autograd.grad(theirs.sum(), (y, weight, bias))
        for mine, their in zip(torch.autograd.grad(ours.sum(), values), gradients, strict=True):
            torch.testing.assert_close(mine.double(), their, **close)


WRONG = {
    "a class below 0": (
        "categorical",
        torch.full((15,), -1),
        None,
        "targets .* 7, .* got -1",
    ),
    "a class too many": ("categorical", torch.full((15,), 7), None, "targets .* 7, .* got 7"),
    "too many": ("categorical", torch.zeros(20).long(), None, r"shape \(15,\), got \(20,\)"),
    "numbers": (
        "categorical",
        torch.full((15,), 0.7),
        None,
        "whole numbers, got .*float32",
    ),
    "narrow bits": ("bernoulli", torch.zeros(15, 1), None, r"shape \(15, 7\), got \(15, 1\)"),
    "flat numbers": ("gaussian", torch.zeros(15), None, r"shape \(15, 7\), got \(15,\)"),
    "a row too many": ("categorical", torch.zeros(2).long(), [0, 15], "places .* 15, .* got 15"),
    "a row below 0": ("categorical", torch.zeros(2).long(), [0, -1], "places .* 15, .* got -1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_c_must_not_follow_is_refused(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own operations have errors of theirs."""
    monkeypatch.setenv("NAS_BACKEND", "c")
    head, targets, rows, said = WRONG[what]
    places = None if rows is None else torch.tensor(rows)
    given = TensorWindow(torch.zeros(STEPS, BATCH), targets, places, True, {})
    values = drawn(2, 4, 7, torch.float32)
    for compute in (losses, measure):
        with pytest.raises(UserError, match=said):
            compute(*values, given, head)  # type: ignore[arg-type]


def test_places_may_be_numbers_of_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """In C; torch's index_copy_ refuses them."""
    monkeypatch.setenv("NAS_BACKEND", "c")
    values = drawn(2, 4, 7, torch.float32)
    given = to_tensors(window(7, 0.4))
    assert given.places is not None
    narrow = replace(given, places=given.places.int())
    assert torch.equal(losses(*values, narrow), losses(*values, given))


def test_where_all_rows_are_named_they_are_what_they_are_without() -> None:
    given, values = to_tensors(window(7, 1.0)), drawn(2, 4, 7, torch.float32)
    named = replace(given, places=torch.arange(STEPS * BATCH))
    both = [losses(*values, one) for one in (given, named)]
    assert torch.equal(*both)
    for mine, other in zip(*(torch.autograd.grad(one.sum(), values) for one in both), strict=True):
        assert torch.equal(mine, other)


def test_a_large_layer_is_left_to_torchs_threads() -> None:
    given = TensorWindow(torch.zeros(50, 4), torch.zeros(200), None, True, {})
    some = replace(given, targets=torch.zeros(20), places=torch.arange(20))
    in_c = usual() == "c"
    for members in (1, 20):  # which of the two computes a member must not depend on the others
        y, weight = torch.zeros(members, 200, 100), torch.zeros(members, 101, 100)
        with one_more_thread():
            assert not runs_in_c(y, weight, given)
            assert runs_in_c(y, weight[:, :100], given) == in_c
            assert runs_in_c(y, weight, some) == in_c, "few positions are scored"
        assert runs_in_c(y, weight, given) == in_c
