"""The functions that cells are written with inside `trace`; `nas/cell/ops.py` has their meaning."""

from nas.cell.graph import Width
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


def cumsum(a: Value) -> Value:
    """The sum of each feature and of all before it."""
    return record("cumsum", a)


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


def tanh(a: Value) -> Value:
    return record("tanh", a)


def sigmoid(a: Value) -> Value:
    return record("sigmoid", a)


def relu(a: Value) -> Value:
    return record("relu", a)


def leaky_relu(a: Value, *, slope: float = 0.01) -> Value:
    return record("leaky_relu", a, slope=slope)


def hard_sigmoid(a: Value, *, slope: float = 1 / 6) -> Value:
    return record("hard_sigmoid", a, slope=slope)


def softplus(a: Value) -> Value:
    return record("softplus", a)


def exp(a: Value) -> Value:
    return record("exp", a)


def log(a: Value) -> Value:
    return record("log", a)


def absolute(a: Value) -> Value:
    """The absolute value; written `abs` in text."""
    return record("abs", a)


def sqrt(a: Value) -> Value:
    return record("sqrt", a)


def square(a: Value) -> Value:
    return record("square", a)


def floor(a: Value) -> Value:
    """The largest whole number up to `a`; its gradient is 0."""
    return record("floor", a)


def sin(a: Value) -> Value:
    return record("sin", a)


def cos(a: Value) -> Value:
    return record("cos", a)


def silu(a: Value) -> Value:
    return record("silu", a)


def gelu(a: Value) -> Value:
    return record("gelu", a)


def layer_norm(a: Value, *, eps: float = 1e-5) -> Value:
    return record("layer_norm", a, eps=eps)


def rms_norm(a: Value, *, eps: float = 1e-5) -> Value:
    return record("rms_norm", a, eps=eps)


def softmax(a: Value) -> Value:
    return record("softmax", a)
