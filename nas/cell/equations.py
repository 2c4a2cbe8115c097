"""The functions that cells are written with inside `trace`; `nas/cell/ops.py` has their meaning."""

from collections.abc import Callable

from nas.cell.graph import Width
from nas.cell.ops import OPS
from nas.cell.trace import Value, record


def linear(
    *args: Value | float, bias: float | None = 0.0, eye: float = 0.0, width: Width = "hidden"
) -> Value:
    """A learned matrix for each argument, summed, plus one bias that starts at `bias` (None: none).

    With one argument, `eye` is added to the diagonal of its matrix at the start: `Linear(a, x)` of
    Jozefowicz et al. 2015, or the identity of an IRNN. Every call has parameters of its own.
    """
    return record("linear", *args, bias=bias, eye=eye, width=width)


def diagonal(a: Value, *, init: float | None = None) -> Value:
    """A learned vector times `a`, random at the start unless `init` is given (a peephole)."""
    return record("diagonal", a, init=init)


def block_diagonal(a: Value, *, blocks: int = 4) -> Value:
    """A learned square matrix of `blocks` independent blocks times `a`, without bias (heads)."""
    return record("block_diagonal", a, blocks=blocks)


def masked(a: Value, *, mask: str = "block_upper", blocks: int = 4) -> Value:
    """A learned block-triangular matrix times `a`, without bias (Clockwork RNN)."""
    return record("masked", a, mask=mask, blocks=blocks)


def skew(a: Value, *, transpose: float = -1.0) -> Value:
    """(W + transpose * W^T) times `a` for a learned square W, without bias; -1: antisymmetric."""
    return record("skew", a, transpose=transpose)


def legendre(a: Value, *, window: float = 100.0) -> Value:
    """The memory `a` of a Legendre memory unit, over `window` steps, after a step without input."""
    return record("legendre", a, window=window)


def vector(init: float = 0.0, *, width: Width = "hidden") -> Value:
    """A learned vector that starts at `init`."""
    return record("vector", init=init, width=width)


def scalar(init: float = 0.0) -> Value:
    """A learned number that starts at `init`."""
    return record("scalar", init=init)


def step() -> Value:
    """The index of the step, from 0."""
    return record("step")


def unit(*, blocks: int | None = None, width: Width = "hidden") -> Value:
    """The index of each feature of a row, from 0; with `blocks` equal blocks, that of its block."""
    return record("unit", blocks=blocks, width=width)


def maximum(a: Value | float, b: Value | float) -> Value:
    """The larger of the two; written `max` in text."""
    return record("max", a, b)


def minimum(a: Value | float, b: Value | float) -> Value:
    """The smaller of the two; written `min` in text."""
    return record("min", a, b)


def blend(a: Value | float, b: Value | float, c: Value | float) -> Value:
    """a * b + (1 - a) * c."""
    return record("blend", a, b, c)


def leaky_relu(a: Value, *, slope: float = 0.01) -> Value:
    """a where it is positive, else `slope` * a."""
    return record("leaky_relu", a, slope=slope)


def hard_sigmoid(a: Value, *, slope: float = 1 / 6) -> Value:
    """`slope` * a + 1/2, cut to [0, 1]."""
    return record("hard_sigmoid", a, slope=slope)


def layer_norm(a: Value, *, eps: float = 1e-5) -> Value:
    """The row of features with mean 0 and variance 1, without gain and bias."""
    return record("layer_norm", a, eps=eps)


def rms_norm(a: Value, *, eps: float = 1e-5) -> Value:
    """The row of features over the root of its mean square, without gain."""
    return record("rms_norm", a, eps=eps)


def _of_one_value(op: str) -> Callable[[Value], Value]:
    """The function for an op of one argument and no attributes."""

    def function(a: Value) -> Value:
        return record(op, a)

    function.__name__ = function.__qualname__ = op
    function.__doc__ = f"{OPS[op].meaning[0].upper()}{OPS[op].meaning[1:]}."
    return function


tanh = _of_one_value("tanh")
sigmoid = _of_one_value("sigmoid")
relu = _of_one_value("relu")
softplus = _of_one_value("softplus")
exp = _of_one_value("exp")
log = _of_one_value("log")
absolute = _of_one_value("abs")
sqrt = _of_one_value("sqrt")
square = _of_one_value("square")
floor = _of_one_value("floor")
sin = _of_one_value("sin")
cos = _of_one_value("cos")
silu = _of_one_value("silu")
gelu = _of_one_value("gelu")
softmax = _of_one_value("softmax")
cumsum = _of_one_value("cumsum")
