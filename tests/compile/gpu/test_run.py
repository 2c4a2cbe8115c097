"""The kernels in Triton's interpreter against the eager reference in float64: outputs and all
gradients. In the interpreter a product of three tf32 factors is one of float32."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import nas
from nas.cell import OPS, loads
from nas.compile.gpu import run
from nas.compile.gpu.kernels import Kernels, kernels
from nas.compile.rows import Rows
from nas.errors import CellError
from nas.zoo import ZOO
from tests.compile.gpu.kernels import DENSE, PACKED, Problem, distance
from tests.compile.test_reference import EVERYTHING
from tests.known import QUICK
from tests.tolerances import BFLOAT16_FACTORS, OTHER_KERNEL_32

# Columns beyond a row hold what no one reads: 0 / 0, of which NumPy warns.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ELEMENTWISE = loads("""
def elementwise(x, a, b, c: hidden = 1, n: 1 = 0.5):
    s = a + b * c - a / (2 + square(b)) + max(a, b) * min(b, n) - blend(sigmoid(a), b, c)
    t = tanh(a) + relu(b) + leaky_relu(c) + hard_sigmoid(a) + softplus(b) + silu(c) + gelu(a)
    u = exp(-b) + log(1 + square(a)) + abs(c) + sqrt(2 + square(b)) + floor(3 * a) + sin(b) + cos(c)
    v = layer_norm(a) * rms_norm(b) + softmax(c) + max(n, 0.25) * linear(a, x, a)
    return s + t, u, v * n, linear(n, b, width=1) * n
""")
"""Every operation on a state; some arguments are columns and numbers, one is read twice."""

BLOCKS = loads("""
def blocks(x, h, n: 1 = 0):
    z = sigmoid(linear(h, x, n))
    return blend(z, tanh(linear(z * h, x)), h) + layer_norm(h), linear(softmax(h + n), width=1)
""")


@pytest.mark.parametrize("reverse", [False, True])
def test_a_gru_is_its_reference(reverse: bool) -> None:
    Problem(ZOO["gru"], 3, 5, PACKED if reverse else DENSE, reverse=reverse).check()


def test_every_operation_is_its_reference() -> None:
    assert {n.op for cell in (ELEMENTWISE, EVERYTHING) for n in cell.nodes} == set(OPS)
    Problem(ELEMENTWISE, 3, 5).check()
    Problem(EVERYTHING, 8, 8, PACKED, members=1).check()


def test_values_of_several_blocks_are_their_reference() -> None:
    """70 columns are a block of 64 and one of 32, of which 26 columns lie beyond the row."""
    Problem(BLOCKS, 3, 70, (2, 2), members=1).check()


def test_tokens_are_their_embeddings() -> None:
    """The vocabulary is smaller than the batch, so that products are made for each symbol."""
    Problem(ZOO["lstm"], 3, 5, PACKED, symbols=4).check()


def test_a_batch_of_more_than_one_program() -> None:
    """17 sequences are two programs, which sum the gradients of learned vectors apart."""
    Problem(ZOO["lstm_peephole"], 2, 3, (17, 16), members=2).check()


@pytest.mark.process
@pytest.mark.parametrize("place", range(len(QUICK)))
def test_known_cells_are_their_references(place: int) -> None:
    """Batches, directions and numbers of members meet in turn."""
    counts, members = (PACKED, DENSE)[place % 2], 1 + (place % 4 == 0)
    Problem(ZOO[QUICK[place]], 8, 8, counts, members, reverse=place % 3 == 2).check()


def test_products_follow_torchs_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter cannot multiply bfloat16, so that factors go back to float32 after rounding;
    it computes tf32 as float32."""
    problem = Problem(ZOO["gru"], 3, 5)
    exact = problem.results(run.run_layer, torch.float32)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert 'input_precision="tf32")' in kernels(ZOO["gru"], 3, 5, "tf32").text
    as_exact = problem.results(run.run_layer, torch.float32)
    assert all(torch.equal(as_exact[name], exact[name]) for name in exact)

    def rounding(*given: Any) -> Kernels:
        made = kernels(*given)
        text = made.text.replace(".to(tl.bfloat16)", ".to(tl.bfloat16).to(tl.float32)")
        assert text != made.text
        return replace(made, text=text)

    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    monkeypatch.setattr(run, "kernels", rounding)
    rounded = problem.results(run.run_layer, torch.float32)
    for name, expected in exact.items():
        assert 0 < distance(rounded[name], expected.double()) < BFLOAT16_FACTORS, name


def test_gradients_of_gradients_are_refused() -> None:
    layer, rows = Problem(ZOO["rnn"], 2, 3, members=1).layer(torch.float32), Rows.equal(1, 2)
    x, state = torch.zeros(1, 2, 2, requires_grad=True), torch.zeros(1, 2, 3)
    y, _, _ = run.run_layer(layer, x, rows, [state], [], False)
    with pytest.raises(CellError, match=r'create_graph=True\): take backend="eager"'):
        torch.autograd.grad(y.sum(), x, create_graph=True)
    with torch.no_grad():
        assert torch.equal(run.run_layer(layer, x, rows, [state], [], False)[0], y)


def test_a_module_runs_on_the_kernels() -> None:
    """Two layers in both directions; results of layers are parts of wider rows in memory."""
    torch.manual_seed(0)
    module = nas.RNN("gru", 3, 5, num_layers=2, bidirectional=True, backend="triton")
    x = torch.randn(4, 2, 3)
    y, final = module(x)
    other = nas.RNN("gru", 3, 5, num_layers=2, bidirectional=True, backend="eager")
    other.load_state_dict(module.state_dict())
    expected, other_final = other(x)
    torch.testing.assert_close(y, expected, **OTHER_KERNEL_32)
    torch.testing.assert_close(final, other_final, **OTHER_KERNEL_32)
