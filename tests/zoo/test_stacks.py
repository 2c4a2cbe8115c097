"""Stacks whose layers exchange more than their output, against the papers' equations by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import nas
from nas.compile.backend import Backend
from nas.nn.rnn import RNN
from tests.interpreter import Array
from tests.tensors import seeded
from tests.tolerances import EXACT_ALGEBRA, SAME_FORMULA
from tests.zoo import papers_hierarchical
from tests.zoo.papers import Parameters

T, B, D, H, LAYERS = 5, 2, 3, 4, 3
STACKS = ("depth_gated_lstm", "grid_lstm")


def stack(name: str, backend: Backend) -> RNN:
    rnn = RNN(nas.zoo[name], D, H, LAYERS, dtype=torch.float64, backend=backend)
    generator = seeded(1)
    for parameter in rnn.parameters():
        nn.init.normal_(parameter, std=0.6, generator=generator)
    return rnn


def by_hand(name: str, rnn: RNN, x: Array) -> tuple[Array, list[Array]]:
    """One sequence (time, D): outputs of the last layer, and of each layer its last states.

    Layers run inside each step here, where `RNN` runs a layer over all steps first.
    """
    paper, n_states = papers_hierarchical.PAPERS[name], len(rnn.cell.states)
    states = [[np.zeros(H) for _ in range(n_states)] for _ in range(LAYERS)]
    outputs = []
    for step in x:
        value, below = step, np.zeros(H)
        for k, layer in enumerate(rnn.layers):
            given = list(paper(Parameters(layer), value, *states[k], below))
            given = given if len(given) > n_states + 1 else [given[0], *given]
            value, states[k], below = given[0], given[1 : 1 + n_states], given[-1]
        outputs.append(value)
    return np.array(outputs), [np.array(of_layer) for of_layer in states]


@pytest.mark.parametrize("backend", ["eager", "c"])
@pytest.mark.parametrize("name", STACKS)
def test_a_stack_computes_the_equations_of_its_paper(name: str, backend: Backend) -> None:
    rnn = stack(name, backend)
    x = torch.randn(T, B, D, generator=seeded(2), dtype=torch.float64)
    y, finals = rnn(x)
    for b in range(B):
        outputs, states = by_hand(name, rnn, x[:, b].numpy())
        np.testing.assert_allclose(y[:, b].detach(), outputs, **SAME_FORMULA)
        for k, of_layer in enumerate(states):
            found = [final[k, b].detach().numpy() for final in finals]
            np.testing.assert_allclose(found, of_layer, **SAME_FORMULA)


@pytest.mark.parametrize("name", STACKS)
def test_gradients_flow_through_the_layers_alike_on_both_backends(name: str) -> None:
    found = []
    for backend in ("eager", "c"):
        rnn = stack(name, backend)
        x = torch.randn(T, B, D, generator=seeded(2), dtype=torch.float64).requires_grad_()
        y, _ = rnn(x)
        loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum()
        found.append(torch.autograd.grad(loss, [x, *rnn.parameters()]))
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, **EXACT_ALGEBRA)
    assert found[0][0].abs().min() > 0, "of x, which all layers lead back to"


@pytest.mark.parametrize("name", STACKS)
def test_layers_exchange_more_than_their_output(name: str) -> None:
    """A first layer that sees a memory below is another function."""
    rnn = stack(name, "eager")
    x, states = torch.randn(B, D, dtype=torch.float64), [torch.zeros(B, H).double()] * 2
    layer = rnn.layers[0]
    alone, *_ = layer.step(x, states, [torch.zeros(B, H).double()], 0)
    above, *_ = layer.step(x, states, [torch.ones(B, H).double()], 0)
    assert not torch.allclose(alone, above)


CLOCKS = {0: (0, 1, 2, 3), 1: (0,), 2: (0, 1), 3: (0,), 4: (0, 1, 2), 8: (0, 1, 2, 3)}
"""Groups that tick at a step."""


@pytest.mark.parametrize("backend", ["eager", "c"])
def test_groups_of_a_clockwork_network_tick_by_the_index_of_the_step(backend: Backend) -> None:
    rnn = RNN("clockwork_rnn", D, 8, dtype=torch.float64, backend=backend)
    x = torch.randn(9, B, D, generator=seeded(2), dtype=torch.float64)
    y = torch.cat([torch.zeros(1, B, 8).double(), rnn(x)[0].detach()])
    for step, groups in CLOCKS.items():
        moved = (y[step + 1] != y[step]).view(B, 4, 2).any(0).any(-1)
        assert tuple(moved.nonzero().flatten().tolist()) == groups


def test_which_cells_know_more_than_x_and_states() -> None:
    nodes = {name: [n.op for n in nas.zoo[name].nodes] for name in nas.zoo}
    assert {name for name, ops in nodes.items() if "vertical" in ops} == set(STACKS)
    assert {name for name, ops in nodes.items() if "step" in ops} == {
        "clockwork_rnn",
        "phased_lstm",
    }
