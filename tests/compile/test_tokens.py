"""Token input: a table of each symbol's products gives what embedding each token gives."""

import pytest
import torch
from torch import nn

import nas
from nas.errors import CellError
from nas.export.sizes import fits
from nas.nn.rnn import RNN
from nas.zoo import ZOO
from tests.known import FEW, compiled
from tests.tolerances import OTHER_KERNEL_64

H, VOCABULARY = 6, 5
CLOCK = "def clock(x, h):\n    return tanh(linear(x, h)) * cos(step())\n"
STACKED = (
    "def stacked(x, h, *, c):\n    up = tanh(linear(x, h) + diagonal(c))\n    return sin(up), up\n"
)
CELLS = {**ZOO, "clock": nas.cell(CLOCK), "stacked": nas.cell(STACKED)}


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("name", compiled(CELLS, FEW))
def test_tokens_equal_their_embeddings(name: str, backend: str) -> None:
    cell = CELLS[name]
    torch.manual_seed(0)
    width = 8  # of four blocks
    both = fits(cell, (width, width), 2, 2)
    rnn = RNN(cell, width, width, 2, bidirectional=both, dtype=torch.float64, backend=backend)
    table = torch.randn(VOCABULARY, width, dtype=torch.float64, requires_grad=True)
    tokens = torch.randint(0, VOCABULARY, (4, 3))
    expected, _ = rnn(nn.functional.embedding(tokens, table))
    given, _ = rnn.forward_tokens(tokens, table)
    torch.testing.assert_close(given, expected, **OTHER_KERNEL_64)
    weights = torch.randn_like(expected)
    leaves = [table, *rnn.parameters()]
    wanted = torch.autograd.grad((expected * weights).sum(), leaves)
    got = torch.autograd.grad((given * weights).sum(), leaves)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **OTHER_KERNEL_64)


def test_batch_first_and_states() -> None:
    torch.manual_seed(0)
    rnn = RNN(ZOO["lstm"], H, H, batch_first=True, dtype=torch.float64)
    table = torch.randn(VOCABULARY, H, dtype=torch.float64)
    tokens = torch.randint(0, VOCABULARY, (3, 7))
    state = (torch.randn(1, 3, H).double(), torch.randn(1, 3, H).double())
    expected, finals = rnn(nn.functional.embedding(tokens, table), state)
    given, given_finals = rnn.forward_tokens(tokens, table, state)
    torch.testing.assert_close(given, expected, **OTHER_KERNEL_64)
    for one, other in zip(given_finals, finals, strict=True):
        torch.testing.assert_close(one, other, **OTHER_KERNEL_64)


def test_wrong_shapes_are_refused() -> None:
    rnn = RNN(ZOO["gru"], H, H)
    with pytest.raises(CellError, match=r"takes tokens \(time, batch\) and a table"):
        rnn.forward_tokens(torch.zeros(3, dtype=torch.int64), torch.zeros(VOCABULARY, H))
    with pytest.raises(CellError, match="has input_size 6, got input with 7 features"):
        rnn.forward_tokens(torch.zeros(3, 2, dtype=torch.int64), torch.zeros(VOCABULARY, 7))
