"""Cells that are exported in tests, and stacks of them."""

from typing import Any

import torch

from nas.cell import OPS, Cell, loads
from nas.cell.mutation import mutate
from nas.cell.text import INFIX
from nas.export.sizes import fits, small_sizes
from nas.nn.rnn import RNN
from nas.zoo import ZOO

WRITTEN = {
    "everything": """\
def everything(x, h, c: input = 0.5, s: 1 = 1, *, below):
    b = vector(init=0.25)
    a = linear(x, h, below, b, 0.5, bias=2)
    k = max(layer_norm(a), 0.125) + block_diagonal(h, blocks=2) * scalar(init=0.5)
    m = blend(sigmoid(a), k, masked(h, blocks=2)) + diagonal(h, init=0.75) / (1 + step())
    e = linear(h, eye=1, bias=None) + rms_norm(softmax(k)) + hard_sigmoid(a) - (1 - exp(-1))
    return tanh(m + e), h + linear(c, bias=None), min(c, linear(x, width=input)), 0.5 * s, b
""",
    "deep": "def deep(x, h, *, below):\n    g = sigmoid(linear(x, below))\n"
    "    return tanh(linear(x, h)) * g, g\n",
    "structures": """\
def structures(x, h, c: input = 0):
    a = skew(h, transpose=-0.5) + skew(h) + cumsum(linear(x)) / (1 + unit(blocks=2))
    b = legendre(a, window=7) + legendre(h, window=12.5) + cumsum(unit() - 1)
    return tanh(a) + b / 9 + legendre(h, window=7), sin(cumsum(c) + x)
""",
    "clock": "def clock(x, h):\n    return tanh(linear(x, h)) / (1 + step())\n",
    "numbers": "def numbers(x, h, c: 1):\n    return linear(x, h), 2\n",
    "learned": "def learned(x, h: 3 = 1):\n    return linear(h), vector(init=1, width=3)\n",
}


def mutants() -> dict[str, Cell]:
    found = {}
    for seed, name in enumerate(("gru", "lstm", "mgu", "lstm_peephole", "janet", "mut1")):
        cell = ZOO[name]
        for k in range(3):
            cell = mutate(cell, 10 * seed + k).cell
        found[f"mutant_{seed}"] = cell
    return found


CELLS: dict[str, Cell] = {**ZOO, **{k: loads(v) for k, v in WRITTEN.items()}, **mutants()}


def module(cell: Cell, dtype: torch.dtype = torch.float64, **arguments: Any) -> RNN:
    torch.manual_seed(1)
    return RNN(cell, **arguments, dtype=dtype, backend="eager")


def arguments(cell: Cell, dtype: torch.dtype) -> dict[str, Any]:
    """A stack as large as the cell can have."""
    n_inputs, hidden = sizes = small_sizes(cell)
    layers = 2 if fits(cell, sizes, 2, 1) else 1
    both = fits(cell, sizes, layers, 2) or layers == 1
    return {
        "input_size": n_inputs,
        "hidden_size": hidden,
        "num_layers": layers,
        "bidirectional": both and dtype is torch.float64,
    }


COMPUTED = [name for name, op in OPS.items() if op.kind in ("elementwise", "row")]
OPERANDS = "abs(linear(x, h)) + 0.1", "linear(x)", "linear(h)"


def of_op(op: str) -> Cell:
    """A cell with the op, on arguments in its domain."""
    given = [f"({text})" for text in OPERANDS[: OPS[op].arity]]
    call = f"{op}({', '.join(given)})"
    if op in INFIX or op == "neg":
        call = f" {INFIX[op][0]} ".join(given) if op in INFIX else f"-{given[0]}"
    cell = loads(f"def f(x, h):\n    return {call}\n")
    assert any(n.op == op for n in cell.nodes)
    return cell
