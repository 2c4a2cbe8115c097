"""Equations of papers on small gated units; see `papers.py`."""

import numpy as np

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step

tanh = np.tanh


def intersection(p: Parameters, x: Array, h: Array) -> State:
    y_in, h_in = np.maximum(p("y_in", x, h), 0), tanh(p("h_in", x, h))
    g_y, g_h = sigmoid(p("g_y", x, h)), sigmoid(p("g_h", x, h))
    return g_y * x + (1 - g_y) * y_in, g_h * h + (1 - g_h) * h_in


def ran(p: Parameters, x: Array, h: Array, c: Array) -> State:
    i, f = sigmoid(p("i", x, h)), sigmoid(p("f", x, h))
    c_new = i * p("c_new", x) + f * c
    return tanh(c_new), c_new


def atr(p: Parameters, x: Array, h: Array) -> State:
    of_x, of_h = p("p", x), p("q", h)
    return (sigmoid(of_x + of_h) * of_x + sigmoid(of_x - of_h) * h,)


def cfn(p: Parameters, x: Array, h: Array) -> State:
    theta, eta = sigmoid(p("f", x, h)), sigmoid(p("i", x, h))
    return (theta * tanh(h) + eta * tanh(p("y", x)),)


def brc(p: Parameters, x: Array, h: Array) -> State:
    a = 1 + tanh(p("a", x) + p.vector("a_2") * h)
    c = sigmoid(p("c", x) + p.vector("c_2") * h)
    return (c * h + (1 - c) * tanh(p("y", x) + a * h),)


def nbrc(p: Parameters, x: Array, h: Array) -> State:
    a, c = 1 + tanh(p("a", x, h)), sigmoid(p("c", x, h))
    return (c * h + (1 - c) * tanh(p("y", x) + a * h),)


def star(p: Parameters, x: Array, h: Array) -> State:
    z, k = tanh(p("z", x)), sigmoid(p("k", x, h))
    return (tanh((1 - k) * h + k * z),)


def lightru(p: Parameters, x: Array, h: Array) -> State:
    f = sigmoid(p("f", x, h))
    return ((1 - f) * h + f * tanh(p("n", x)),)


def sgrn(p: Parameters, x: Array, h: Array) -> State:
    of_x = p("p", x)
    f = sigmoid(of_x + p("f", h))
    return (tanh((1 - f) * of_x + f * h),)


def hard_sigmoid(a: Array) -> Array:
    return np.minimum(np.maximum(a + 3, 0), 6) / 6


def sgu(p: Parameters, x: Array, h: Array) -> State:
    z_g = tanh(p("g_2", p("g", x) * h))
    z_out = np.log1p(np.exp(z_g * h))
    z = hard_sigmoid(p("z", x, h))
    return ((1 - z) * h + z * z_out,)


def dsgu(p: Parameters, x: Array, h: Array) -> State:
    z_g = tanh(p("g_2", p("g", x) * h))
    z_out = sigmoid(p("y", z_g * h))
    z = hard_sigmoid(p("z", x, h))
    return ((1 - z) * h + z * z_out,)


def ligru(p: Parameters, x: Array, h: Array) -> State:
    z = sigmoid(p("z", x, h))
    return (z * h + (1 - z) * np.maximum(p("n", x, h), 0),)


def gated(p: Parameters, h: Array, shared: Array) -> State:
    """What FastGRNN makes of W x + U h."""
    zeta, nu = sigmoid(p.vector("y")), sigmoid(p.vector("y_2"))
    z, n = sigmoid(shared + p.vector("z")), tanh(shared + p.vector("n"))
    return ((zeta * (1 - z) + nu) * n + z * h,)


def fastgrnn(p: Parameters, x: Array, h: Array) -> State:
    return gated(p, h, p("p", x, h))


def fastgrnn_low_rank(p: Parameters, x: Array, h: Array) -> State:
    return gated(p, h, p("p", p("w", x), p("u", h)))


PAPERS: dict[str, Step] = {
    "intersection": intersection,
    "ran": ran,
    "atr": atr,
    "cfn": cfn,
    "brc": brc,
    "nbrc": nbrc,
    "star": star,
    "lightru": lightru,
    "sgrn": sgrn,
    "sgu": sgu,
    "dsgu": dsgu,
    "ligru": ligru,
    "fastgrnn": fastgrnn,
    "fastgrnn_low_rank": fastgrnn_low_rank,
}

PARTS: dict[str, Parts] = {
    "intersection": (4, 4, 4, 0),
    "ran": (3, 2, 2, 0),
    "atr": (1, 1, 2, 0),
    "cfn": (3, 2, 3, 0),
    "brc": (3, 0, 3, 2),
    "nbrc": (3, 2, 3, 0),
    "star": (2, 1, 2, 0),
    "lightru": (2, 1, 2, 0),
    "sgrn": (1, 1, 2, 0),
    "sgu": (2, 2, 3, 0),
    "dsgu": (2, 3, 3, 0),
    "ligru": (2, 2, 2, 0),
    "fastgrnn": lambda i, h: (i * h + h * h + 2 * h + 2, 0),
    "fastgrnn_low_rank": lambda i, h: (8 * (i + h) + 8 * (h + h) + 2 * h + 2, 0),
}

INITIAL: dict[str, dict[str, list[float | None]]] = {
    "fastgrnn": {"init": [1.0, 1.0, 1.0, -4.0]},
    "fastgrnn_low_rank": {"init": [1.0, 1.0, 1.0, -4.0]},
}

EQUAL_WIDTHS = {"intersection"}
