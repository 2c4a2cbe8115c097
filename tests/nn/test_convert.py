"""`from_torch` gives torch's own recurrent modules: outputs, states and all gradients."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import nas
from nas.errors import CellError
from nas.nn.rnn import RNN
from tests.tensors import LENGTHS, B, D, H, assert_close, flat, normal, seeded

MODULES: dict[str, Callable[..., nn.RNNBase]] = {
    "tanh": lambda *args, **kwargs: nn.RNN(*args, nonlinearity="tanh", **kwargs),
    "relu": lambda *args, **kwargs: nn.RNN(*args, nonlinearity="relu", **kwargs),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}
GATES = {"tanh": "y", "relu": "y", "lstm": "ifgo", "gru": "rzn"}


def pair(kind: str, *args: Any, **kwargs: Any) -> tuple[nn.RNNBase, RNN]:
    """torch's module and ours with the same weights."""
    theirs = MODULES[kind](*args, **kwargs, dtype=torch.float64)
    for k, parameter in enumerate(theirs.parameters()):
        nn.init.normal_(parameter, std=0.5, generator=seeded(k))
    return theirs, RNN.from_torch(theirs)


def states_of(kind: str, *shape: int) -> Any:
    h, c = normal(*shape, seed=1).requires_grad_(), normal(*shape, seed=2).requires_grad_()
    return (h, c) if kind == "lstm" else h


def torch_blocks(kind: str, gradients: dict[str, Tensor], suffix: str, bias: bool) -> list[Tensor]:
    """torch's gradients of one layer in the order of our parameters of that layer."""
    names = GATES[kind]
    blocks = []
    w_ih, w_hh = (gradients[f"weight_{k}_{suffix}"].chunk(len(names)) for k in ("ih", "hh"))
    if bias:
        b_ih, b_hh = (gradients[f"bias_{k}_{suffix}"].chunk(len(names)) for k in ("ih", "hh"))
    for k, gate in enumerate(names):
        if kind == "relu":  # linear(x) + linear(h, bias=None)
            blocks += [w_ih[k], *([b_ih[k]] if bias else []), w_hh[k]]
        elif kind == "gru" and gate == "n":  # linear(x) + r * linear(h)
            blocks += [w_ih[k], *([b_ih[k]] if bias else [])]
            blocks += [w_hh[k], *([b_hh[k]] if bias else [])]
        else:
            blocks += [torch.cat([w_ih[k], w_hh[k]], -1), *([b_ih[k]] if bias else [])]
    return blocks


def assert_same(kind: str, theirs: nn.RNNBase, ours: RNN, x: Any, state: Any) -> None:
    """Outputs, final states, and all gradients of a random function of them."""
    found, expected = ours(x, state), theirs(x, state)
    assert type(found[0]) is type(expected[0])
    if isinstance(found[0], PackedSequence):
        for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            ours_field, theirs_field = getattr(found[0], field), getattr(expected[0], field)
            assert (ours_field is None) == (theirs_field is None)
            assert ours_field is None or torch.equal(ours_field, theirs_field)
    pairs = list(zip(flat(*found), flat(*expected), strict=True))
    for value, oracle in pairs:
        assert_close(value, oracle)
    weights = [normal(*value.shape, seed=k) for k, (value, _) in enumerate(pairs)]
    inputs = [v for v in flat(x, state) if v.requires_grad]
    their_parameters = dict(theirs.named_parameters())
    losses = [sum((v[k] * w).sum() for v, w in zip(pairs, weights, strict=True)) for k in (0, 1)]
    our_gradients = torch.autograd.grad(losses[0], [*inputs, *ours.parameters()])
    their_gradients = torch.autograd.grad(losses[1], [*inputs, *their_parameters.values()])
    n = len(inputs)
    gradients = dict(zip(their_parameters, their_gradients[n:], strict=True))
    directions = ("", "_reverse") if theirs.bidirectional else ("",)
    blocks = [
        block
        for layer, direction in itertools.product(range(theirs.num_layers), directions)
        for block in torch_blocks(kind, gradients, f"l{layer}{direction}", theirs.bias)
    ]
    for ours_g, theirs_g in zip(our_gradients, [*their_gradients[:n], *blocks], strict=True):
        assert_close(ours_g, theirs_g)


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given states"])
@pytest.mark.parametrize("form", ["batch", "batch_first", "sorted", "unsorted", "unbatched"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("num_layers", [1, 2, pytest.param(3, marks=pytest.mark.process)])
@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_equals_torch(backend, kind, num_layers, bidirectional, form, given):
    batch_first = form == "batch_first"
    theirs, ours = pair(
        kind, D, H, num_layers, batch_first=batch_first, bidirectional=bidirectional
    )
    ours.backend = backend
    layers = num_layers * (2 if bidirectional else 1)
    state = states_of(kind, layers, B, H) if given else None
    if form in LENGTHS:
        sequences = [normal(n, D, seed=n).requires_grad_() for n in LENGTHS[form]]
        x = pack_sequence(sequences, enforce_sorted=form == "sorted")
    elif form == "unbatched":
        x = normal(5, D).requires_grad_()
        state = states_of(kind, layers, H) if given else None
    else:
        x = normal(*((B, 5) if batch_first else (5, B)), D).requires_grad_()
    assert_same(kind, theirs, ours, x, state)


@pytest.mark.parametrize("kind", MODULES)
def test_equals_torch_without_biases(kind):
    theirs, ours = pair(kind, D, H, 2, bias=False, bidirectional=True)
    assert_same(kind, theirs, ours, normal(5, B, D).requires_grad_(), None)
    assert not [name for name in ours.state_dict() if "bias" in name]


def test_from_torch_keeps_everything_else():
    theirs = nn.GRU(D, H, 2, bias=False, batch_first=True, dropout=0.25, bidirectional=True).eval()
    ours = RNN.from_torch(theirs.double())
    assert (ours.input_size, ours.hidden_size, ours.num_layers) == (D, H, 2)
    assert (ours.bias, ours.batch_first, ours.dropout, ours.bidirectional) == (
        False,
        True,
        0.25,
        True,
    )
    assert not ours.training
    assert {p.dtype for p in ours.parameters()} == {torch.float64}


def test_from_torch_copies_weights():
    theirs, ours = pair("gru", D, H)
    before = ours(normal(2, B, D))[0]
    with torch.no_grad():
        theirs.weight_hh_l0.zero_()
    assert torch.equal(ours(normal(2, B, D))[0], before)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.LSTM(D, H, proj_size=2), "without projection, got nn.LSTM with proj_size"),
        (nn.Linear(D, H), "from_torch takes nn.RNN, nn.GRU and nn.LSTM.* got Linear"),
    ],
    ids=["projection", "other module"],
)
def test_from_torch_refuses_what_it_cannot_hold(module, message):
    with pytest.raises(CellError, match=message):
        RNN.from_torch(module)


@pytest.mark.parametrize("form", ["batch", "unsorted"])
def test_dropout_is_torchs_under_the_same_seed(form):
    theirs, ours = pair("gru", D, H, 3, dropout=0.4, bidirectional=True)
    x: Any = normal(5, B, D)
    if form == "unsorted":
        x = pack_sequence([normal(n, D, seed=n) for n in LENGTHS[form]], enforce_sorted=False)
    results = []
    for module in (ours, theirs):
        torch.manual_seed(7)
        results.append(flat(module(x))[0])
    assert_close(*results)
    assert not torch.allclose(results[0], flat(ours.eval()(x))[0])


def test_dropout_leaves_the_last_layer_and_evaluation_alone():
    x = normal(50, 20, D)
    ours = RNN("gru", D, 32, 2, dropout=0.5, dtype=torch.float64)
    assert (ours(x)[0] != 0).all()
    with pytest.warns(UserWarning, match="of which there are none"):
        alone = RNN("gru", D, 32, 1, dropout=0.5, dtype=torch.float64)
    assert (alone(x)[0] != 0).all()
    assert torch.equal(ours.eval()(x)[0], ours(x)[0])


def test_dropout_drops_at_its_rate():
    """The second layer gives back what it reads: the first layer's outputs after dropout."""
    echo = nas.cell("def echo(x, h):\n    return x + 1, h\n")
    torch.manual_seed(0)
    y, _ = RNN(echo, 8, 8, 2, dropout=0.3)(torch.ones(200, 50, 8))
    dropped = y == 1  # the first layer gives 2, dropout 0 or 2 / 0.7, the second layer adds 1
    assert dropped.double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert y[~dropped].unique().tolist() == pytest.approx([1 + 2 / 0.7])
