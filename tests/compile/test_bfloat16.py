"""With float32 products set to "medium", factors are rounded to bfloat16 and sums are not."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from nas.cell import loads
from nas.compile import native
from nas.compile.ahead import compile_ahead
from nas.nn.rnn import RNN
from nas.zoo import ZOO
from tests.tensors import normal
from tests.tolerances import BFLOAT16_FACTORS, BFLOAT16_SUMS

LINEAR = loads("def linear_cell(x, h):\n    return linear(x, h, h)\n")
NARROW = loads(
    "def narrow(x, h, s: 1):\n    return tanh(linear(x, h, s)), tanh(linear(h, width=1))\n"
)


@pytest.fixture(autouse=True)
def medium() -> Iterator[None]:
    if not native.has_bfloat16():
        pytest.skip("this processor has no products of bfloat16")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


def rounded(value: Tensor) -> Tensor:
    return value.bfloat16().double()


@pytest.mark.parametrize("hidden", [2, 7, 16, 33, 150])
@pytest.mark.parametrize("batch", [1, 20, 47])
def test_products_are_those_of_rounded_factors(hidden: int, batch: int) -> None:
    """One step of a linear cell: every product with nothing between."""
    size = hidden + 5
    rnn = RNN(LINEAR, size, hidden, backend="c")
    x, h = normal(1, batch, size, seed=1).float(), normal(1, batch, hidden, seed=2).float()
    x.requires_grad_(), h.requires_grad_()
    y, _ = rnn(x, h)
    g = normal(*y.shape, seed=3).float()
    y.backward(g)
    weight, bias = (p for _, p in sorted(rnn.named_parameters(), reverse=True))
    of_x, first, second = weight.split([size, hidden, hidden], 1)
    # Of a value that is read twice, the second matrix is added to the rounded first.
    of_h = rounded((rounded(first) + second).float())
    exact = rounded(x) @ rounded(of_x).T + rounded(h) @ of_h.T + bias
    torch.testing.assert_close(y.double(), exact, **BFLOAT16_SUMS)
    assert x.grad is not None
    assert h.grad is not None
    assert weight.grad is not None
    assert bias.grad is not None
    torch.testing.assert_close(x.grad.double(), rounded(g) @ rounded(of_x), **BFLOAT16_SUMS)
    torch.testing.assert_close(h.grad.double(), rounded(g) @ of_h, **BFLOAT16_SUMS)
    values = torch.cat([rounded(x), rounded(h), rounded(h)], -1)[0]
    torch.testing.assert_close(weight.grad.double(), rounded(g)[0].T @ values, **BFLOAT16_SUMS)
    torch.testing.assert_close(bias.grad, g.sum((0, 1)))  # not a product


@pytest.mark.parametrize("name", ["lstm", "gru", "mut1", "lstm_peephole"])
def test_cells_are_near_those_of_float32(name: str) -> None:
    rnn, x = RNN(ZOO[name], 40, 40, backend="c"), normal(9, 20, 40).float()
    results = []
    for precision in ("medium", "highest"):
        torch.set_float32_matmul_precision(precision)
        rnn.zero_grad()
        y, _ = rnn(x)
        y.square().sum().backward()
        results.append([y.detach(), *[p.grad.clone() for p in rnn.parameters()]])
    for ours, exact in zip(*results, strict=True):
        error = (ours - exact).abs().max() / exact.abs().max()
        assert 0 < error < BFLOAT16_FACTORS


def test_what_is_not_a_number_or_infinite_stays_so() -> None:
    rnn = RNN(LINEAR, 3, 4, backend="c")
    x = torch.ones(3, 3)
    x[0, 0], x[1, 1] = float("nan"), float("inf")
    y, _ = rnn(x.unsqueeze(0))
    assert y[0, 0].isnan().all()
    assert not y[0, 1].isfinite().any()
    assert y[0, 2].isfinite().all()


def test_values_of_one_feature_stay_in_float32() -> None:
    rnn, x = RNN(NARROW, 6, 6, backend="c"), normal(4, 3, 6).float()
    medium, _ = rnn(x)
    torch.set_float32_matmul_precision("highest")
    assert torch.equal(rnn(x)[0], medium)


def test_float64_is_not_rounded() -> None:
    rnn, x = RNN("lstm", 6, 6, backend="c", dtype=torch.float64), normal(4, 3, 6)
    medium, _ = rnn(x)
    torch.set_float32_matmul_precision("highest")
    assert torch.equal(rnn(x)[0], medium)


def test_precision_is_highest_unless_it_is_set() -> None:
    torch.set_float32_matmul_precision("highest")
    rnn, x = RNN("lstm", 40, 40, backend="c"), normal(9, 20, 40).float()
    for backend in ("c", "eager"):
        rnn.backend = backend
        y, _ = rnn(x)
        if backend == "c":
            ours = y
    torch.testing.assert_close(ours, y)


def test_both_precisions_are_compiled_ahead(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path))
    layer = (ZOO["lstm"], 5, 6, torch.float32)
    assert compile_ahead([layer]) == 1
    torch.set_float32_matmul_precision("highest")
    assert compile_ahead([layer]) == 1
    assert compile_ahead([layer]) == 0
