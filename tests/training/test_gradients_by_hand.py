"""Gradients without autograd around the loop are, to the bit, those with it: which of the two finds
a member's must not depend on the members beside it, such as one with dropout."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from nas.cell import Cell
from nas.errors import CellError
from nas.nn.members import Members, SequenceMembers
from nas.nn.settings import Settings, Stacking
from nas.tasks.base import Interface
from nas.training.heads import HEADS, HeadFunctions
from nas.training.objective import losses_and_gradients, passes, training_losses
from nas.training.optimizer import StackedOptimizer
from nas.training.window_tensors import TensorWindow
from nas.zoo import ZOO
from tests.compile.test_loop import TRAITS, trait
from tests.known import FEW, compiled
from tests.tensors import seeded

STEPS, BATCH, MEMBERS, WIDTH = 6, 3, 2, 8
TOKENS = Interface(5, 5)
"""Fewer symbols than rows, whose table the loop reads itself."""
MANY_TOKENS = Interface(40, 4)
NUMBERS = Interface(2, 3, "gaussian", tokens=False)
NOTHING = "nothing is learned"
BITS = Interface(3, 2, "bernoulli", tokens=False)


def windows(interface: Interface, places: Tensor | None) -> list[TensorWindow]:
    """Two windows, of which the second goes on with the states of the first."""
    random, made = seeded(), []
    for fresh in (True, False):
        shape = (STEPS, BATCH)
        if interface.tokens:
            inputs = torch.randint(interface.inputs, shape, generator=random)
        else:
            inputs = torch.randn(*shape, interface.inputs, generator=random)
        n_scored = STEPS * BATCH if places is None else len(places)
        targets = torch.randn(n_scored, interface.outputs, generator=random)
        if interface.head == "categorical":
            targets = torch.randint(interface.outputs, (n_scored,), generator=random)
        elif interface.head == "bernoulli":
            targets = (targets > 0).float()
        made.append(TensorWindow(inputs, targets, places, fresh, {}))
    return made


def found(
    model: Members, head: HeadFunctions, given: list[TensorWindow], *, by_hand: bool
) -> list[Tensor]:
    """Losses, final states and gradients of each window, and the norms of the latter."""
    optimizer = StackedOptimizer(list(model.parameters()), [Settings()] * MEMBERS)
    state, results = None, list[Tensor]()
    for step, window in enumerate(given):
        about = (model, window, None if window.fresh else state, head)
        if by_hand:
            losses, state = losses_and_gradients(*about, optimizer.place)
        else:
            losses, state = training_losses(*about, step)
            losses.sum().backward()
            state = [[tensor.detach() for tensor in layer] for layer in state]
        norms = optimizer.take_gradients()
        results += [losses.detach(), norms, optimizer.gradients.clone()]
        results += [tensor.clone() for layer in state for tensor in layer]
        optimizer.gradients.zero_()
    return results


def model_of(
    cell: Cell,
    interface: Interface,
    num_layers: int,
    dropout: float = 0.0,
    stacking: Stacking = "plain",
) -> SequenceMembers:
    dropouts = [0.0] * (MEMBERS - 1) + [dropout]
    return SequenceMembers(cell, interface, WIDTH, num_layers, dropouts, stacking=stacking)


def compare(
    model: SequenceMembers, places: Tensor | None = None, head: HeadFunctions | None = None
) -> None:
    """With both ways the same, of a model that can be gone through by hand."""
    head = head or HEADS[model.interface.head]
    assert passes(model)
    given = windows(model.interface, places)
    mine = found(model, head, given, by_hand=True)
    theirs = found(model, head, given, by_hand=False)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert theirs[1].all(), "there must be gradients"


@pytest.mark.parametrize("name", compiled(ZOO, FEW))
def test_every_known_cell(name: str) -> None:
    cell = ZOO[name]
    if cell.verticals:
        assert not passes(model_of(cell, TOKENS, 1))
        return
    compare(model_of(cell, TOKENS, 2))
    if name in FEW:
        compare(model_of(cell, NUMBERS, 2))
        compare(model_of(cell, MANY_TOKENS, 1), torch.tensor([0, 4, 5, 11, 17]))
        compare(model_of(cell, BITS, 1))


@pytest.mark.parametrize("name", TRAITS)
def test_a_cell_with_a_rare_trait(name: str) -> None:
    model = model_of(trait(TRAITS[name]), TOKENS, 1)
    is_outside = name in ("y is x", "y and state are x", "y is a number")
    is_known = passes(model)
    assert is_known == (not is_outside and "vertical" not in name and name != NOTHING)
    if is_known:
        compare(model)
        compare(model_of(trait(TRAITS[name]), NUMBERS, 2))


def test_a_model_that_does_more_than_its_layers() -> None:
    assert not passes(model_of(ZOO["gru"], TOKENS, 1, dropout=0.1))
    for stacking in get_args(Stacking):
        compare(model_of(ZOO["gru"], TOKENS, 1, stacking=stacking))
        assert passes(model_of(ZOO["gru"], TOKENS, 2, stacking=stacking)) == (stacking == "plain")


def test_a_loss_of_ones_own() -> None:
    usual = HEADS["categorical"]
    own = HeadFunctions(lambda *given: usual.loss(*given), usual.right)
    compare(model_of(ZOO["gru"], TOKENS, 2), head=own)


def test_a_token_that_there_is_not_is_refused() -> None:
    model, (given, _) = model_of(ZOO["lstm"], TOKENS, 1), windows(TOKENS, None)
    given.inputs[2, 1] = TOKENS.inputs
    with pytest.raises(CellError, match=r"tokens must be at least 0 and below 5, .* got 5"):
        losses_and_gradients(model, given, None, HEADS["categorical"], lambda _: None)
