"""The operations that a cell is made of: the meaning, the cost and the derivative of each.

To add one, write
- a row here,
- its torch function in `FUNCTIONS` of `nas/compile/reference.py`,
- its name in `nas/cell/equations.py` and `nas/cell/__init__.py`, for cells written in Python,
- its forms for export: `CALLS` in `nas/export/expressions.py`, `OPERATORS` or `COMPOSED` in
  `nas/export/operators.py`,
- its meaning in NumPy in `MEANING` of `tests/interpreter.py`, a row of README.md's table.
`FOLDED` in `algebra.py` (functions of a constant that the key computes) and `CHEAP` in
`nas/compile/emit/values.py` (what a backward pass computes again) are optional.

Values and derivatives are formulas in one small language for every consumer (C, GPUs, interpreter):
`g` is the gradient that arrives, `y` the result, `a b c` are the arguments, and attributes stand by
their names. It has + - * /, > < ==, `where`, `sign`, `max`, `min`, the functions of `prelude.c`
(`v_exp` is `exp` here; for GPUs they are Triton's or in `nas/compile/gpu/functions.py`), and over a
row `mean`, `total` and `largest`. Mind -0 and NaN: tests
compare values and derivatives with torch and autograd.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["leaf", "learned", "fixed", "elementwise", "row"]
AttrValue = float | int | str | None


@dataclass(frozen=True)
class Op:
    """One row of the table."""

    kind: Kind
    arity: int | None
    """Number of arguments; None is one or more."""
    meaning: str
    attrs: dict[str, AttrValue] = field(default_factory=dict)
    """Attributes with their defaults, in the order of the text."""
    flops: int = 0
    """Floating-point operations for an element of the result; matrix products are counted apart."""
    value: str = ""
    """The result as a formula; empty for inputs, learned and fixed maps."""
    vjp: tuple[str, ...] = ()
    """The vector-Jacobian product: for each argument the formula of its gradient."""
    commutative: bool = False


OPS: dict[str, Op] = {
    # 1. inputs of a step
    "input": Op("leaf", 0, "the input x of this step"),
    "state": Op("leaf", 0, "a state after the previous step", {"width": "hidden", "initial": 0.0}),
    "vertical": Op("leaf", 0, "a value from the layer below at this step; zeros below the first"),
    "constant": Op("leaf", 0, "a number", {"value": 0.0}),
    "step": Op("leaf", 0, "the index of this step, from 0"),
    "unit": Op(
        "leaf",
        0,
        "the index of each feature of a row, from 0; with blocks, that of its block",
        {"blocks": None, "width": "hidden"},
    ),
    # 2. learned maps and values
    "vector": Op("leaf", 0, "a learned vector", {"init": 0.0, "width": "hidden"}),
    "scalar": Op("leaf", 0, "a learned number", {"init": 0.0}),
    "linear": Op(
        "learned",
        None,
        "the sum of a matrix times each argument, plus ONE bias; eye is added to the diagonal",
        {"bias": 0.0, "eye": 0.0, "width": "hidden"},
        commutative=True,
    ),
    "diagonal": Op("learned", 1, "a learned vector times the argument (peepholes)", {"init": None}),
    "block_diagonal": Op(
        "learned", 1, "a square matrix of independent blocks (heads); no bias", {"blocks": 4}
    ),
    "masked": Op(
        "learned",
        1,
        "a square matrix whose blocks on one side of the diagonal are zero; no bias",
        {"mask": "block_upper", "blocks": 4},
    ),
    "skew": Op(
        "learned",
        1,
        "a square matrix W plus transpose times W^T (-1: antisymmetric, 1: symmetric); no bias",
        {"transpose": -1.0},
    ),
    # Matrices that are not learned.
    "cumsum": Op("fixed", 1, "the sum of each feature and of all before it"),
    "legendre": Op(
        "fixed",
        1,
        "the memory of a Legendre delay over `window` steps, after a step without input (Voelker "
        "2019, zero-order hold)",
        {"window": 100.0},
    ),
    # 3. elementwise; arguments of width 1 broadcast
    "add": Op("elementwise", 2, "a + b", flops=1, value="a + b", vjp=("g", "g"), commutative=True),
    "sub": Op("elementwise", 2, "a - b", flops=1, value="a - b", vjp=("g", "-g")),
    "mul": Op(
        "elementwise", 2, "a * b", flops=1, value="a * b", vjp=("g * b", "g * a"), commutative=True
    ),
    "div": Op("elementwise", 2, "a / b", flops=1, value="a / b", vjp=("g / b", "-g * y / b")),
    "max": Op(
        "elementwise",
        2,
        "the larger; equal arguments share the gradient",
        flops=1,
        value="max(a, b)",
        vjp=(
            "g * where(a > b, 1, where(a == b, 0.5, 0))",
            "g * where(b > a, 1, where(a == b, 0.5, 0))",
        ),
        commutative=True,
    ),
    "min": Op(
        "elementwise",
        2,
        "the smaller; equal arguments share the gradient",
        flops=1,
        value="min(a, b)",
        vjp=(
            "g * where(a < b, 1, where(a == b, 0.5, 0))",
            "g * where(b < a, 1, where(a == b, 0.5, 0))",
        ),
        commutative=True,
    ),
    "blend": Op(
        "elementwise",
        3,
        "a * b + (1 - a) * c",
        flops=4,
        value="a * b + (1 - a) * c",
        vjp=("g * (b - c)", "g * a", "g * (1 - a)"),
    ),
    "neg": Op("elementwise", 1, "-a", flops=1, value="-a", vjp=("-g",)),
    "tanh": Op(
        "elementwise", 1, "hyperbolic tangent", flops=10, value="tanh(a)", vjp=("g * (1 - y * y)",)
    ),
    "sigmoid": Op(
        "elementwise",
        1,
        "1 / (1 + exp(-a))",
        flops=10,
        value="sigmoid(a)",
        vjp=("g * y * (1 - y)",),
    ),
    "relu": Op(
        "elementwise", 1, "max(a, 0)", flops=1, value="relu(a)", vjp=("where(a > 0, g, 0)",)
    ),
    "leaky_relu": Op(
        "elementwise",
        1,
        "a where it is positive, else slope * a",
        {"slope": 0.01},
        flops=2,
        value="where(a > 0, a, slope * a)",
        vjp=("where(a > 0, g, slope * g)",),
    ),
    "hard_sigmoid": Op(
        "elementwise",
        1,
        "slope * a + 1/2, cut to [0, 1] (slope 1/6 as in torch; old Keras has 0.2)",
        {"slope": 1 / 6},
        flops=4,
        value="min(max(slope * a + 0.5, 0), 1)",
        vjp=("where(abs(slope * a) < 0.5, slope * g, 0)",),
    ),
    "softplus": Op(
        "elementwise",
        1,
        "log(1 + exp(a))",
        flops=20,
        value="softplus(a)",
        vjp=("g / (1 + exp(-a))",),
    ),
    "exp": Op("elementwise", 1, "e to the power a", flops=8, value="exp(a)", vjp=("g * y",)),
    "log": Op("elementwise", 1, "natural logarithm", flops=8, value="log(a)", vjp=("g / a",)),
    "abs": Op("elementwise", 1, "absolute value", flops=1, value="abs(a)", vjp=("g * sign(a)",)),
    "sqrt": Op("elementwise", 1, "square root", flops=4, value="sqrt(a)", vjp=("g * 0.5 / y",)),
    "square": Op("elementwise", 1, "a * a", flops=1, value="a * a", vjp=("2 * g * a",)),
    "floor": Op(
        "elementwise",
        1,
        "the largest whole number up to a",
        flops=1,
        value="floor(a)",
        vjp=("0 * g",),
    ),
    "sin": Op("elementwise", 1, "sine", flops=10, value="sin(a)", vjp=("g * cos(a)",)),
    "cos": Op("elementwise", 1, "cosine", flops=10, value="cos(a)", vjp=("-g * sin(a)",)),
    "silu": Op(
        "elementwise",
        1,
        "a * sigmoid(a)",
        flops=11,
        value="a * sigmoid(a)",
        vjp=("g * (1 + a - y) / (1 + exp(-a))",),
    ),
    "gelu": Op(
        "elementwise",
        1,
        "a times the normal distribution function of a (Hendrycks & Gimpel 2016, exact form)",
        flops=20,
        value="0.5 * a * (1 + erf(a * 0.7071067811865476))",
        vjp=(
            "g * (0.5 * (1 + erf(a * 0.7071067811865476))"
            " + a * exp(-0.5 * a * a) * 0.3989422804014327)",
        ),
    ),
    # 4. over the row of features
    "layer_norm": Op(
        "row",
        1,
        "(a - mean) / sqrt(variance + eps), without gain and bias (Ba et al. 2016)",
        {"eps": 1e-5},
        flops=8,
        value="(a - mean(a)) / sqrt(mean(square(a - mean(a))) + eps)",
        vjp=("(g - mean(g) - y * mean(g * y)) / sqrt(mean(square(a - mean(a))) + eps)",),
    ),
    "rms_norm": Op(
        "row",
        1,
        "a / sqrt(mean(a * a) + eps), without gain (Zhang & Sennrich 2019)",
        {"eps": 1e-5},
        flops=5,
        value="a / sqrt(mean(square(a)) + eps)",
        vjp=("(g - y * mean(g * y)) / sqrt(mean(square(a)) + eps)",),
    ),
    "softmax": Op(
        "row",
        1,
        "exp(a) / total(exp(a))",
        flops=12,
        value="exp(a - largest(a)) / total(exp(a - largest(a)))",
        vjp=("y * (g - total(g * y))",),
    ),
}

ACTIVATIONS = tuple(
    name
    for name, op in OPS.items()
    if op.kind == "elementwise" and op.arity == 1 and name not in ("neg", "floor")
)
GATES = ("sigmoid", "hard_sigmoid")
"""Activations that make a value a gate."""
LEARNED = tuple(name for name, op in OPS.items() if op.kind == "learned")
FIXED = tuple(name for name, op in OPS.items() if op.kind == "fixed")
INPUTS = ("input", "state", "vertical")
MASKS = ("block_upper", "block_lower")
WIDTHS = ("input", "hidden")


def attr_rule(op: str, name: str, value: AttrValue) -> str:
    """The rule that `value` breaks as attribute `name` of `op`, or an empty string."""
    if name == "width":
        if value in WIDTHS or (type(value) is int and value > 0):
            return ""
        return "must be input, hidden or a positive whole number"
    if name == "window" and type(value) is float and value <= 0:
        return "must be positive"
    if name == "blocks" and not (op == "unit" and value is None):
        return "" if type(value) is int and value > 0 else "must be a positive whole number"
    if name == "mask":
        return "" if value in MASKS else f"must be one of {', '.join(MASKS)}"
    if value is None:
        optional = (op, name) in (("linear", "bias"), ("diagonal", "init"), ("unit", "blocks"))
        return "" if optional else "must be a number"
    if type(value) is not float or math.isnan(value):
        return "must be a number"
    if math.isinf(value) and (op, name) not in (("state", "initial"), ("constant", "value")):
        return "must be finite"
    return ""
