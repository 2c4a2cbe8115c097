"""The parts of an ONNX graph: constants, and the operators for each op of a cell.

To export a new op, write a line in `OPERATORS` or `COMPOSED`.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nas.cell.cell import Cell
from nas.cell.graph import Node

if TYPE_CHECKING:  # an optional package
    from onnx import NodeProto, TensorProto

OPERATORS: dict[str, tuple[str, dict[str, str]]] = {
    "add": ("Add", {}),
    "sub": ("Sub", {}),
    "mul": ("Mul", {}),
    "div": ("Div", {}),
    "max": ("Max", {}),
    "min": ("Min", {}),
    "neg": ("Neg", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"slope": "alpha"}),
    "hard_sigmoid": ("HardSigmoid", {"slope": "alpha"}),
    "softplus": ("Softplus", {}),
    "exp": ("Exp", {}),
    "log": ("Log", {}),
    "abs": ("Abs", {}),
    "sqrt": ("Sqrt", {}),
    "floor": ("Floor", {}),
    "sin": ("Sin", {}),
    "cos": ("Cos", {}),
    "softmax": ("Softmax", {}),
}
"""The operator of an op that has one, and its names of the op's attributes."""


class Graph:
    """Operators and constants of a graph under construction; values are float32."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.count = 0

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Add an operator with one result, and return the result's name."""
        from onnx import helper

        self.count += 1
        out = out or f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def constant(self, name: str, value: Tensor | NDArray[Any], *, exact: bool = False) -> str:
        """Add a tensor and return its name; its numbers are float32, or float64 if `exact`."""
        from onnx import numpy_helper

        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        if array.dtype.kind == "f" and not exact:
            array = array.astype(np.float32)
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number_{value!r}", np.array([value]))

    def whole(self, *values: int) -> str:
        return self.constant(f"whole_{'_'.join(map(str, values))}", np.array(values, np.int64))


def _blend(g: Graph, _: Node, a: str, b: str, c: str) -> str:
    rest = g.op("Mul", g.op("Sub", g.number(1.0), a), c)
    return g.op("Add", g.op("Mul", a, b), rest)


def _gelu(g: Graph, _: Node, a: str) -> str:
    twice = g.op("Add", g.op("Erf", g.op("Mul", a, g.number(math.sqrt(0.5)))), g.number(1.0))
    return g.op("Mul", g.op("Mul", a, g.number(0.5)), twice)


def _layer_norm(g: Graph, n: Node, a: str) -> str:
    return _rms_norm(g, n, g.op("Sub", a, g.op("ReduceMean", a, g.whole(-1))))


def _rms_norm(g: Graph, n: Node, a: str) -> str:
    mean = g.op("ReduceMean", g.op("Mul", a, a), g.whole(-1))
    return g.op("Div", a, g.op("Sqrt", g.op("Add", mean, g.number(n.number("eps")))))


COMPOSED: dict[str, Callable[..., str]] = {
    "blend": _blend,
    "square": lambda g, n, a: g.op("Mul", a, a),
    "silu": lambda g, n, a: g.op("Mul", a, g.op("Sigmoid", a)),
    "gelu": _gelu,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
}
"""Functions that add the operators of an op that has none of its own."""
