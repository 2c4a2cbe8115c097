"""Members of a stacked model are `SequenceModel`s: weights, logits, states, gradients, dropout."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nas.cell import Cell, loads
from nas.compile.backend import Backend
from nas.nn.layers import States
from nas.nn.members import MemberStates, SequenceMembers
from nas.nn.model import SequenceModel
from nas.zoo import ZOO
from tests.compile.test_reference import EVERYTHING
from tests.tensors import seeded
from tests.tolerances import OTHER_KERNEL_64

SYMBOLS, WIDTH = 11, 8
SCALES, SEEDS = (0.7, 1.4, 2.8), (5, 6, 7)
VERTICALS = loads("""
def verticals(x, h, *, a, b):
    u = tanh(linear(x) + a * h)
    return sin(u), u, a + b
""")
CELLS = {name: ZOO[name] for name in ("lstm", "gru", "mut2", "tau_gru")}
CELLS |= {"everything": EVERYTHING, "verticals": VERTICALS}


def stacked(
    cell: Cell,
    layers: int = 2,
    backend: Backend = "auto",
    dropouts: Sequence[float] = (0.0, 0.0, 0.0),
) -> SequenceMembers:
    model = SequenceMembers(cell, SYMBOLS, WIDTH, layers, dropouts, backend=backend)
    model.reset_parameters(SCALES, SEEDS)
    return model


def alone(cell: Cell, k: int, layers: int = 2, dropout: float = 0.0) -> SequenceModel:
    model = SequenceModel(cell, SYMBOLS, WIDTH, layers, dropout)
    model.reset_parameters(SCALES[k], seeded(SEEDS[k]))
    return model


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(SYMBOLS, (9, 3), generator=seeded(seed))


def as_list(states: States) -> list[Tensor]:
    return [states] if isinstance(states, Tensor) else list(states)


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", CELLS)
def test_members_are_drawn_as_models_are(name: str, layers: int) -> None:
    before = torch.get_rng_state()
    model = stacked(CELLS[name], layers)
    assert torch.equal(torch.get_rng_state(), before), "from their own generators alone"
    for k in range(3):
        expected = alone(CELLS[name], k, layers).state_dict()
        state = model.member_state(k)
        assert list(state) == list(expected)
        assert all(torch.equal(state[label], expected[label]) for label in expected)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("name", CELLS)
def test_members_give_what_models_give(name: str, backend: Backend) -> None:
    """Logits over two windows, the states between them, and the gradients of all weights."""
    cell = CELLS[name]
    model = stacked(cell, backend=backend)
    logits, state = model(tokens(), None)
    then, last = model(tokens(1), state)
    found = gradients([*members(logits), *members(then)], model)
    for k in range(3):
        one = alone(cell, k)
        expected, between = one(tokens(), None)
        further, final = one(tokens(1), between)
        assert_same(logits[k], expected)
        assert_same(then[k], further)
        assert_same_states(state, k, between)
        assert_same_states(last, k, final)
        of_one = gradients([expected, further], one)
        ours = dict(zip(names(model), found, strict=True))
        for (label, _), gradient in zip(one.named_parameters(), of_one, strict=True):
            assert_same(ours[label][k], gradient)


def names(model: SequenceMembers) -> list[str]:
    """Of the parameters, as a `SequenceModel` calls them."""
    plain = {
        "embedding": "embedding.weight",
        "head_weight": "head.weight",
        "head_bias": "head.bias",
    }
    return [plain.get(name, name) for name, _ in model.named_parameters()]


def members(logits: Tensor) -> list[Tensor]:
    return list(logits.unbind())


def gradients(logits: Sequence[Tensor], model: nn.Module) -> list[Tensor]:
    """Of a sum in which no two values of a member's window count alike."""
    parts = [(one.tanh() * torch.linspace(-1, 1, one.numel()).view(one.shape)) for one in logits]
    loss = torch.stack([part.sum() for part in parts]).sum()
    parameters = list(model.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return list(found)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, **OTHER_KERNEL_64)


def assert_same_states(ours: MemberStates, k: int, theirs: States) -> None:
    for place, state in enumerate(as_list(theirs)):
        for layer, expected in enumerate(state):
            assert_same(ours[layer][place][k], expected)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("width", [7, 32])
def test_on_the_cpu_a_member_does_not_depend_on_the_others(width: int, backend: Backend) -> None:
    """To the bit: logits, states, gradients and dropout, among 20 and after others have left."""
    dropouts = [0.3 * (k % 3) for k in range(20)]

    def built() -> SequenceMembers:
        model = SequenceMembers(ZOO["lstm"], SYMBOLS, width, 2, dropouts, backend=backend)
        model.reset_parameters([1.4] * 20, range(20))
        return model

    def results(model: SequenceMembers, state: MemberStates | None) -> list[Tensor]:
        logits, states = model(tokens(), state)
        found = gradients(members(logits), model)
        return [logits.detach(), *(s.detach() for layer in states for s in layer), *found]

    whole = built()
    state = [[0.1 * torch.randn(20, 3, width, generator=seeded(k)) for k in (0, 1)]] * 2
    first = results(whole, state)
    second = results(whole, state)
    for kept in ([0], [19], [3, 2, 17]):
        some = built()
        some.keep(kept)
        there = [[s[kept] for s in layer] for layer in state]
        for expected in (first, second):
            for ours, theirs in zip(results(some, there), expected, strict=True):
                assert torch.equal(ours, theirs[kept])


def test_members_that_are_kept_are_those_that_were_there() -> None:
    model = stacked(ZOO["gru"], dropouts=(0.1, 0.2, 0.3))
    model.keep([2, 0])
    assert (model.members, model.dropouts) == (2, [0.3, 0.1])
    for place, k in enumerate((2, 0)):
        expected = alone(ZOO["gru"], k).state_dict()
        state = model.member_state(place)
        assert all(torch.equal(state[label], expected[label]) for label in expected)


def test_dropout_is_torchs_with_a_generator_a_member() -> None:
    """The same masks, in the same order, as a model with torch's own dropout draws them."""
    model = stacked(ZOO["gru"], dropouts=(0.0, 0.5, 0.2))
    for _ in range(2):  # two windows: the generators go on
        model(tokens(), None)
    logits, _ = model(tokens(), None)
    for k, dropout in enumerate(model.dropouts):
        one = alone(ZOO["gru"], k, dropout=dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEEDS[k])
            for _ in range(2):
                one(tokens(), None)
            expected, _ = one(tokens(), None)
        torch.testing.assert_close(logits[k], expected, rtol=1e-5, atol=1e-5)
    model.eval()
    still = [alone(ZOO["gru"], k).eval()(tokens(), None)[0] for k in range(3)]
    torch.testing.assert_close(model(tokens(), None)[0], torch.stack(still), rtol=1e-5, atol=1e-5)
