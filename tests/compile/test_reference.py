"""EagerCell, the oracle of every backend, against NumPy and against counts by hand."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nas
from nas.cell import Cell, loads
from nas.cell.count import check_sizes, flops, n_params
from nas.compile.reference import EagerCell, parameter_labels
from nas.errors import CellError
from tests.interpreter import Array, Weights, initial_states, run
from tests.strategies import HIDDEN_SIZE, cells, input_size
from tests.tolerances import SAME_FORMULA

EVERYTHING = loads("""
def everything(x, h, c=-inf, s: 1 = 0.5, past: input = 0, *, below):
    a = block_diagonal(h, blocks=2) + masked(h, blocks=2) + masked(h, mask="block_lower", blocks=4)
    b = linear(x, a, s, past, bias=None) + linear(h, eye=0.9) + diagonal(below) + vector(init=0.3)
    m = max(c, tanh(b * scalar(init=2)))
    d = cumsum(skew(h)) / (1 + unit(blocks=2)) - legendre(skew(h, transpose=0.5), window=7)
    k = layer_norm(b) * softmax(linear(x)) + s * sin(step()) + sin(unit()) * d
    return k + rms_norm(m), b, m, sigmoid(linear(k, width=1)), x, k - below
""")


def weights_of(module: EagerCell):
    """The module's own weights for the interpreter."""

    def provider(cell: Cell, i: int, sizes: list[int]) -> Weights:
        label = module.labels[i]
        found = {p: module._parameters.get(f"{label}_{p}") for p in ("weight", "bias")}
        return {p: tensor.detach().numpy() for p, tensor in found.items() if tensor is not None}

    return provider


def randomised(cell: Cell, size: int, *, bias: bool = True, seed: int = 0) -> EagerCell:
    module = EagerCell(cell, size, HIDDEN_SIZE, bias, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return module


def run_eagerly(module: EagerCell, xs: Array, below: Array, states: list[Array]):
    outputs, now = [], [torch.tensor(s) for s in states]
    for t, x in enumerate(xs):
        y, now, above = module.step(torch.tensor(x), now, list(torch.tensor(below[t])), t)
        outputs.append([value.detach().numpy() for value in (y, *now, *above)])
    return outputs


def assert_equals_interpreter(cell: Cell, *, bias: bool = True, seed: int = 0) -> None:
    size = input_size(cell)
    module = randomised(cell, size, bias=bias, seed=seed)
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(4, 3, size))
    below = rng.normal(size=(4, len(cell.verticals), 3, HIDDEN_SIZE))
    states = initial_states(cell, 3, size, HIDDEN_SIZE)
    expected = run(cell, list(xs), HIDDEN_SIZE, weights_of(module), below=list(map(list, below)))
    found = run_eagerly(module, xs, below, states)
    for ours, theirs in zip(found, expected.outputs, strict=True):
        for value, oracle in zip(ours, theirs, strict=True):
            assert value.shape == oracle.shape
            if expected.tame:
                np.testing.assert_allclose(value, oracle, **SAME_FORMULA)


@pytest.mark.parametrize("name", nas.zoo)
def test_a_zoo_cell_equals_the_interpreter(name):
    assert_equals_interpreter(nas.zoo[name])


@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_with_every_kind_of_node_equals_the_interpreter(bias):
    assert_equals_interpreter(EVERYTHING, bias=bias)


@given(cells(), st.booleans(), st.integers(0, 999))
def test_any_cell_equals_the_interpreter(cell, bias, seed):
    assert_equals_interpreter(cell, bias=bias, seed=seed)


@pytest.mark.parametrize("name", ["lstm_peephole", "gru", "mut3"])
def test_a_step_has_the_gradient_of_finite_differences(name):
    cell = nas.zoo[name]
    module = EagerCell(cell, 2, 2, dtype=torch.float64)
    x, *states = torch.tensor(np.random.default_rng(0).normal(size=(1 + len(cell.states), 3, 2)))
    values = [v.requires_grad_() for v in (x, *states)]

    def step(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y, new, _ = module.step(given[0], given[1:], [], 0)
        return (y, *new)

    assert torch.autograd.gradcheck(step, values)


# What is counted.


def n_masked_out(cell: Cell, size: int) -> int:
    """Entries of masked matrices that are never used, counted on the masks drawn as matrices."""
    total = 0
    for i in cell.live:
        n = cell.nodes[i]
        if n.op == "masked":
            width = {"input": size, "hidden": HIDDEN_SIZE}.get(cell.widths[i], cell.widths[i])
            blocks = int(n.number("blocks"))
            mask = np.kron(np.triu(np.ones((blocks, blocks))), np.ones((width // blocks,) * 2))
            total += int((mask == 0).sum())
    return total


@given(cells(), st.booleans())
def test_n_params_counts_the_parameters_that_matter(cell, bias):
    size = input_size(cell)
    module = EagerCell(cell, size, HIDDEN_SIZE, bias)
    actual = sum(p.numel() for p in module.parameters()) - n_masked_out(cell, size)
    assert cell.n_params(size, HIDDEN_SIZE, bias=bias) == actual


def test_masked_entries_have_no_effect_and_no_gradient():
    cell = loads("def f(x, h):\n    return masked(h, blocks=2)\n")
    module = EagerCell(cell, 3, 4)
    h = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    module.step(torch.zeros(1, 3), [h], [], 0)[0].sum().backward()
    gradient = module.get_parameter("y_weight").grad
    assert (gradient[2:, :2] == 0).all()
    assert (gradient[:, 2:] != 0).all()


@pytest.mark.parametrize(("i", "h"), [(3, 5), (7, 7), (1, 1)])
def test_flops_of_the_lstm_and_the_gru_by_hand(i, h):
    sigmoid = tanh = 10
    lstm = 4 * 2 * h * (i + h) + (3 * sigmoid + 2 * tanh) * h + (3 + 1) * h
    gru = 3 * 2 * h * (i + h) + (2 * sigmoid + tanh) * h + (3 + 1 + 1) * h
    assert flops(nas.zoo["lstm"], i, h) == lstm
    assert nas.zoo["gru"].flops(i, h) == gru


def test_flops_of_structured_maps_by_hand():
    cell = loads("def f(x, h):\n    return diagonal(h) + block_diagonal(h) + masked(h, blocks=2)\n")
    assert flops(cell, 3, 8) == 8 + 2 * 4 * 2 * 2 + 2 * 3 * 4 * 4 + 2 * 8


WRONG_SIZES = {
    "no input": ("gru", 0, 4, "input_size must be a positive whole number, got 0"),
    "half a feature": ("gru", 3, 4.0, "hidden_size must be a positive whole number, got 4.0"),
    "x meets h": ("mut1", 3, 4, "mut1 joins its input elementwise.* got 3 and 4: put a torch.nn.L"),
    "blocks": (
        loads("def f(x, h):\n    return block_diagonal(h)\n"),
        3,
        6,
        "block_diagonal needs a width divisible by its 4 blocks, got 6; choose another",
    ),
}


@pytest.mark.parametrize(("cell", "i", "h", "message"), WRONG_SIZES.values(), ids=WRONG_SIZES)
def test_sizes_that_a_cell_cannot_have_are_named(cell, i, h, message):
    cell = nas.cell(cell)
    for refuse in (check_sizes, n_params, flops, EagerCell):
        with pytest.raises(CellError, match=message):
            refuse(cell, i, h)


def test_a_line_that_nothing_reads_has_no_parameters_and_no_say_in_sizes():
    cell = loads("def f(x, h):\n    dead = linear(x + h)\n    return tanh(linear(x, h))\n")
    module = EagerCell(cell, 3, 4)
    assert list(module.state_dict()) == ["y_weight", "y_bias"]
    assert cell.n_params(3, 4) == 4 * 7 + 4


# How parameters start and what they are called.


def test_initial_values():
    bound = 1.4 / math.sqrt(400)
    module = EagerCell(
        loads(
            "def f(x, h):\n"
            "    a = linear(x, bias=2) + linear(h, eye=0.9, bias=None)\n"
            "    b = diagonal(h, init=0.25) + diagonal(h) + vector(init=-1) + scalar(init=3)\n"
            "    return a + b\n"
        ),
        3,
        400,
    )
    module.reset_parameters(1.4, torch.Generator().manual_seed(0))
    values = dict(module.named_parameters())
    assert (values["a_bias"] == 2).all()
    assert (values["b_weight"] == 0.25).all()
    assert (values["b_3_weight"] == -1).all()
    assert (values["b_4_weight"] == 3).all()
    eye = values["a_2_weight"] - 0.9 * torch.eye(400)
    for drawn in (values["a_weight"], eye, values["b_2_weight"]):
        assert drawn.abs().max() <= bound + 1e-6
        assert drawn.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_the_same_generator_gives_the_same_weights():
    one, other = (EagerCell(nas.zoo["lstm"], 3, 4) for _ in range(2))
    for module in (one, other):
        module.reset_parameters(0.7, torch.Generator().manual_seed(5))
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_names_of_parameters_are_those_of_the_lines():
    assert list(EagerCell(nas.zoo["lstm_peephole"], 3, 4).state_dict()) == [
        *("i_weight", "i_bias", "i_2_weight"),
        *("f_weight", "f_bias", "f_2_weight"),
        *("g_weight", "g_bias"),
        *("o_weight", "o_bias", "o_2_weight"),
    ]


def test_names_of_parameters_do_not_collide():
    lines = "r = linear(h) + linear(x)\n    r_2 = linear(r, width=3)\n    return linear(r_2)"
    cell = loads(f"def f(x, h):\n    {lines}\n")
    assert list(parameter_labels(cell).values()) == ["r", "r_3", "r_2", "y"]
    assert_equals_interpreter(cell)


@given(cells())
def test_every_parameter_has_a_name_of_its_own(cell):
    labels = list(parameter_labels(cell).values())
    assert len(set(labels)) == len(labels)


def test_a_step_may_differ_between_sequences():
    module = EagerCell(loads("def f(x, h):\n    return h + step()\n"), 2, 3)
    steps = torch.tensor([[0], [7]])
    y, _, _ = module.step(torch.zeros(2, 2), [torch.zeros(2, 3)], [], steps)
    assert y.tolist() == [[0.0] * 3, [7.0] * 3]


def test_renaming_lines_renames_parameters_and_nothing_else():
    text = re.sub(r"\b([rzn])\b", r"\1_gate", str(nas.zoo["gru"]))
    one, other = randomised(nas.zoo["gru"], 3), randomised(loads(text), 3)
    x, h = torch.ones(2, 3, dtype=torch.float64), torch.ones(2, HIDDEN_SIZE, dtype=torch.float64)
    assert torch.equal(one.step(x, [h], [], 0)[0], other.step(x, [h], [], 0)[0])
    assert list(other.state_dict())[:2] == ["r_gate_weight", "r_gate_bias"]
