"""Numbers that tell at a cell's initialisation whether it may learn, in NumPy and milliseconds.

A cell of 16 units with fresh weights reads random inputs. How much its output still depends on an
input of some steps ago is meant to tell cells that cannot learn from others; what a forecast from
these numbers was worth, each study says. The formulas are those of the table of operations; a cell
with an operation that is no formula there has no numbers (NaN).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.cell.cell import Cell
from nas.cell.graph import Node
from nas.cell.ops import OPS

Array = NDArray[np.float64]

UNITS, BATCH, STEPS = 16, 8, 34
GAPS = (1, 3, 10, 30)
"""Steps between an input that is changed and the output that is looked at."""
CHANGE = 1e-4
"""The length of the change of an input."""
NAMES: tuple[str, ...] = (
    *(f"log sensitivity to the input {gap} steps ago" for gap in GAPS),
    "log deviation of the output between sequences",
    "log size of the output",
    "log growth of the states",
    "share of the output's deviation that is of earlier inputs",
)

FUNCTIONS: dict[str, Callable[..., Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda a: 0.5 * (1 + np.tanh(0.5 * a)),
    "relu": lambda a: np.maximum(a, 0),
    "softplus": lambda a: np.logaddexp(0, a),
    "exp": np.exp,
    "log": np.log,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "square": np.square,
    "floor": np.floor,
    "sin": np.sin,
    "cos": np.cos,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "max": np.maximum,
    "min": np.minimum,
    "where": np.where,
    "mean": lambda a: a.mean(-1, keepdims=True),
    "total": lambda a: a.sum(-1, keepdims=True),
    "largest": lambda a: a.max(-1, keepdims=True),
}
"""The functions of the formulas in `nas/cell/ops.py`."""
FORMULAS: dict[str, Callable[..., Array]] = {
    name: eval(f"lambda {', '.join([*'abc'[: op.arity], *op.attrs])}: {op.value}", dict(FUNCTIONS))
    for name, op in OPS.items()
    if op.value
}
WEIGHTED = ("linear", "diagonal", "vector")


def probe(cell: Cell) -> Array:
    """Return the numbers of `NAMES` for a cell; NaN where one cannot be said.

    They follow from the cell's text.
    """
    known = {"input", "state", "constant", "step", "scalar", *WEIGHTED, *FORMULAS}
    if any(cell.nodes[i].op not in known for i in cell.live) or any(
        isinstance(width, int) and width != 1 for width in cell.widths
    ):
        return np.full(len(NAMES), np.nan)
    run = _Run(cell)
    draws = np.random.default_rng(1)
    inputs = draws.uniform(-1, 1, (STEPS, BATCH, UNITS))
    changes = draws.normal(size=(BATCH, UNITS))
    changes *= CHANGE / np.linalg.norm(changes, axis=-1, keepdims=True)
    other = draws.uniform(-1, 1, inputs.shape)
    other[-1] = inputs[-1] = inputs[-1, :1]  # all end with the same input
    with np.errstate(all="ignore"):
        output, states = run(inputs)
        sensitivities = []
        for gap in GAPS:
            changed = inputs.copy()
            changed[-1 - gap] += changes
            sensitivities.append(_size(run(changed)[0] - output) / CHANGE)
        deviation = _size(output - output.mean(0))
        _, before = run(inputs[: STEPS // 2])
        growth = _size(np.concatenate(states, -1)) / _size(np.concatenate(before, -1))
        apart = _size(run(other)[0] - output)
        share = apart / (apart + _size(output))
        found = [*sensitivities, deviation, _size(output), growth]
        numbers = np.array([*np.log10(np.array(found) + 1e-12), share])
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _size(values: Array) -> np.float64:
    """The root of the mean square; of NumPy's type, which divides by zero without an error."""
    return np.float64(np.sqrt(np.mean(np.square(values))))


class _Run:
    """A cell with fresh weights, drawn from U[-s, s] with s = 1 / sqrt(units)."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._states = [i for i, n in enumerate(cell.nodes) if n.op == "state"]
        self._program = [(i, cell.nodes[i]) for i in sorted(cell.live) if i not in self._states]
        draws = np.random.default_rng(0)
        self._weights = {i: _drawn(cell, n, draws) for i, n in self._program if n.op in WEIGHTED}

    def __call__(self, inputs: Array) -> tuple[Array, list[Array]]:
        """The last output and the states behind it, for inputs (steps, batch, units)."""
        states = [np.full((BATCH, UNITS), state.initial) for state in self._cell.states]
        y = states[0]
        for step, x in enumerate(inputs):
            values: dict[int, Any] = dict(zip(self._states, states, strict=True))
            for i, n in self._program:
                values[i] = self._value(i, n, [values[arg] for arg in n.args], x, step)
            y, *states = (np.broadcast_to(values[o], (BATCH, UNITS)) for o in self._cell.outputs)
        return y, list(states)

    def _value(self, i: int, n: Node, args: Sequence[Any], x: Array, step: int) -> Any:
        match n.op:
            case "input":
                return x
            case "constant":
                return n.number("value")
            case "step":
                return float(step)
            case "scalar":
                return n.number("init")
            case "vector":
                return self._weights[i]
            case "diagonal":
                return args[0] * self._weights[i]
            case "linear":
                wide = [np.broadcast_to(arg, (BATCH, UNITS)) for arg in args]
                bias = 0.0 if n.attr("bias") is None else n.number("bias")
                return np.concatenate(wide, -1) @ self._weights[i] + bias
        return FORMULAS[n.op](*args, **dict(n.attrs))


def _drawn(cell: Cell, n: Node, draws: np.random.Generator) -> Array:
    bound = 1 / math.sqrt(UNITS)
    if n.op != "linear":
        initial = n.attr("init")
        drawn = draws.uniform(-bound, bound, UNITS)
        return drawn if initial is None else np.full(UNITS, float(initial))
    weight = draws.uniform(-bound, bound, (UNITS * len(n.args), UNITS))
    return weight + n.number("eye") * np.eye(UNITS * len(n.args), UNITS)
