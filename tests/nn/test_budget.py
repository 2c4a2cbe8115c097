"""Equal budgets: the width is the largest that fits, and what is counted is what is learned."""

import pytest

from nas.cell import Cell
from nas.cell.reader import loads
from nas.errors import UserError
from nas.nn.budget import count_params, solve_width
from nas.nn.model import SequenceModel
from nas.nn.settings import Settings
from nas.zoo import ZOO

SYMBOLS = 30
CELLS = ("rnn", "lstm", "lstm_peephole", "lstm_fgr", "gru", "gru_v1", "mut1", "mingru")
BLOCKS = loads(
    """\
def blocks(x, h):
    y = tanh(linear(x) + block_diagonal(h, blocks=4))
    return y
"""
)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("budget", [1_000, 25_000, 250_000])
@pytest.mark.parametrize("name", CELLS)
def test_the_width_is_the_largest_within_the_budget(name: str, budget: int, layers: int) -> None:
    cell = ZOO[name]
    width = solve_width(cell, SYMBOLS, Settings(budget, layers))
    assert count_params(cell, SYMBOLS, width, layers) <= budget
    assert count_params(cell, SYMBOLS, width + 1, layers) > budget


@pytest.mark.parametrize("budget", [1_000, 25_000, 250_000])
def test_blocks_divide_the_width(budget: int) -> None:
    width = solve_width(BLOCKS, SYMBOLS, Settings(budget))
    assert width % 4 == 0
    assert count_params(BLOCKS, SYMBOLS, width, 1) <= budget
    assert count_params(BLOCKS, SYMBOLS, width + 4, 1) > budget


def n_masked_out(cell: Cell, width: int) -> int:
    """Entries of a layer's block-triangular matrices that stay 0: (n - 1) / 2 n of them."""
    blocks = [int(n.number("blocks")) for n in cell.nodes if n.op == "masked"]
    return sum(width * width * (n - 1) // (2 * n) for n in blocks)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", [*ZOO, "blocks"])
def test_what_is_counted_is_what_the_model_learns(name: str, layers: int) -> None:
    cell = BLOCKS if name == "blocks" else ZOO[name]
    for width in (4, 12):
        model = SequenceModel(cell, SYMBOLS, width, layers, dropout=0.0)
        learned = sum(parameter.numel() for parameter in model.parameters())
        learned -= layers * n_masked_out(cell, width)
        assert count_params(cell, SYMBOLS, width, layers) == learned


def test_the_gru_of_the_paper_has_the_width_that_its_formula_gives() -> None:
    # V H + 3 H (2 H + 1) + (H + 1) V <= 25,000 with V = 27: H (6 H + 57) <= 24,973, so H = 59.
    assert solve_width(ZOO["gru"], 27, Settings(25_000)) == 59


def test_a_budget_that_is_too_small_is_refused() -> None:
    least = count_params(ZOO["lstm"], SYMBOLS, 1, 2)
    assert solve_width(ZOO["lstm"], SYMBOLS, Settings(least, 2)) == 1
    rule = rf"n_params must be at least {least} for cell lstm, 2 layers .*, got {least - 1}: raise"
    with pytest.raises(UserError, match=rule):
        solve_width(ZOO["lstm"], SYMBOLS, Settings(least - 1, 2))
