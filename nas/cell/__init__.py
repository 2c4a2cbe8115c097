"""Cells as data: trace one from a Python function, or read and print its text.

The functions below are the vocabulary of equations; `OPS` says what each means. Linear maps:
`linear(a, b, …, bias=0.0, eye=0.0, width=hidden)`, `diagonal(a)`, `block_diagonal(a, blocks=4)`,
`masked(a, mask="block_upper", blocks=4)`, `skew(a, transpose=-1.0)`; learned leaves:
`vector(init=0.0)`, `scalar(init=0.0)`.
"""

from nas.cell.arrange import arrange
from nas.cell.canon import canonical_form, key
from nas.cell.cell import Cell, renamed
from nas.cell.equations import (
    absolute,
    blend,
    block_diagonal,
    cos,
    cumsum,
    diagonal,
    exp,
    floor,
    gelu,
    hard_sigmoid,
    layer_norm,
    leaky_relu,
    legendre,
    linear,
    log,
    masked,
    maximum,
    minimum,
    relu,
    rms_norm,
    scalar,
    sigmoid,
    silu,
    sin,
    skew,
    softmax,
    softplus,
    sqrt,
    square,
    step,
    tanh,
    unit,
    vector,
)
from nas.cell.graph import Node, State, node
from nas.cell.json import from_json, to_json
from nas.cell.ops import OPS
from nas.cell.reader import loads
from nas.cell.text import dumps
from nas.cell.trace import Value, trace
from nas.cell.verify import verify

__all__ = [
    "OPS",
    "Cell",
    "Node",
    "State",
    "Value",
    "absolute",
    "arrange",
    "blend",
    "block_diagonal",
    "canonical_form",
    "cos",
    "cumsum",
    "diagonal",
    "dumps",
    "exp",
    "floor",
    "from_json",
    "gelu",
    "hard_sigmoid",
    "key",
    "layer_norm",
    "leaky_relu",
    "legendre",
    "linear",
    "loads",
    "log",
    "masked",
    "maximum",
    "minimum",
    "node",
    "relu",
    "renamed",
    "rms_norm",
    "scalar",
    "sigmoid",
    "silu",
    "sin",
    "skew",
    "softmax",
    "softplus",
    "sqrt",
    "square",
    "step",
    "tanh",
    "to_json",
    "trace",
    "unit",
    "vector",
    "verify",
]
