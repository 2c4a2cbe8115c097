"""Equations of papers on networks without gates and on kin of the LSTM; see `papers.py`."""

import numpy as np

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step

tanh = np.tanh


def jordan(p: Parameters, x: Array, y: Array) -> State:
    return (sigmoid(p("y", tanh(p("h", x, y)))),)


def leaky_rnn(p: Parameters, x: Array, h: Array) -> State:
    a = 0.3
    return ((1 - a) * h + a * tanh(p("y", x, h)),)


def indrnn(p: Parameters, x: Array, h: Array) -> State:
    return (np.maximum(p("y", x) + p.vector("y_2") * h, 0),)


def mrnn(p: Parameters, x: Array, h: Array) -> State:
    """Equation 7 of the paper: f = diag(W_fx x) W_fh h, h = tanh(W_hf f + W_hx x)."""
    f = np.diag(p("f", x)) @ p("f_2", h)
    return (tanh(p("y", x, f)),)


def mi_rnn(p: Parameters, x: Array, h: Array) -> State:
    wx, uh = p("a", x), p("b", h)
    alpha, beta1, beta2, b = (p.vector(name) for name in ("y", "y_2", "y_3", "y_4"))
    return (tanh(alpha * wx * uh + beta1 * uh + beta2 * wx + b),)


def scrn(p: Parameters, x: Array, h: Array, s: Array) -> State:
    alpha = 0.95
    s_new = (1 - alpha) * p("s_new", x) + alpha * s
    h_new = sigmoid(p("h_new", s_new, x, h))
    return p("y", h_new, s_new), h_new, s_new


def fastrnn(p: Parameters, x: Array, h: Array) -> State:
    alpha, beta = sigmoid(p.vector("y")), sigmoid(p.vector("y_2"))
    return (alpha * tanh(p("n", x, h)) + beta * h,)


def lstm_1997(p: Parameters, x: Array, h: Array, c: Array) -> State:
    """Equations 3 to 5 and A.1: f in (0, 1), g in (-2, 2), h in (-1, 1)."""

    def squashed(a: Array, low: float, high: float) -> Array:
        return (high - low) / (1 + np.exp(-a)) + low

    c_new = c + squashed(p("i", x, h), 0, 1) * squashed(p("g", x, h), -2, 2)
    return squashed(p("o", x, h), 0, 1) * squashed(c_new, -1, 1), c_new


def lstm_projected(p: Parameters, x: Array, h: Array, c: Array) -> State:
    i, f, o = (sigmoid(p(gate, x, h)) for gate in "ifo")
    c_new = f * c + i * tanh(p("g", x, h))
    return p("y", o * tanh(c_new)), c_new


def normal(a: Array, gain: Array) -> Array:
    mean = sum(a) / len(a)
    variance = sum((a - mean) ** 2) / len(a)
    return gain * (a - mean) / np.sqrt(variance + 1e-5)


def lstm_layer_norm(p: Parameters, x: Array, h: Array, c: Array) -> State:
    def gate(name: str) -> Array:
        of_x = normal(p(name, x), p.vector(f"{name}_2"))
        of_h = normal(p(f"{name}_3", h), p.vector(f"{name}_4"))
        return of_x + of_h + p.vector(f"{name}_5")

    c_new = sigmoid(gate("f")) * c + sigmoid(gate("i")) * tanh(gate("g"))
    return sigmoid(gate("o")) * tanh(normal(c_new, p.vector("y")) + p.vector("y_2")), c_new


def mlstm(p: Parameters, x: Array, h: Array, c: Array) -> State:
    m = p("m", x) * p("m_2", h)
    i, f, o = (sigmoid(p(gate, x, m)) for gate in "ifo")
    c_new = f * c + i * tanh(p("g", x, m))
    return o * tanh(c_new), c_new


def gru_chung(p: Parameters, x: Array, h: Array) -> State:
    r, z = sigmoid(p("r", x, h)), sigmoid(p("z", x, h))
    return ((1 - z) * h + z * tanh(p("n", x, r * h)),)


def rhn_2(p: Parameters, x: Array, h: Array) -> State:
    """Equations 7 to 9 with c = 1 - t: the input in the first layer alone."""
    t = sigmoid(p("v1", x, h))
    s1 = tanh(p("v2", x, h)) * t + h * (1 - t)
    t = sigmoid(p("t", s1))
    return (tanh(p("n", s1)) * t + s1 * (1 - t),)


def rhn_5(p: Parameters, x: Array, h: Array) -> State:
    s: tuple[Array, ...] = (x, h)
    for gate, candidate in (("v1", "v2"), ("v3", "v4"), ("v5", "v6"), ("v7", "v8"), ("t", "n")):
        t = sigmoid(p(gate, *s))
        s = (tanh(p(candidate, *s)) * t + s[-1] * (1 - t),)
    return s


PAPERS: dict[str, Step] = {
    "jordan": jordan,
    "leaky_rnn": leaky_rnn,
    "indrnn": indrnn,
    "mrnn": mrnn,
    "mi_rnn": mi_rnn,
    "scrn": scrn,
    "fastrnn": fastrnn,
    "lstm_1997": lstm_1997,
    "lstm_projected": lstm_projected,
    "lstm_layer_norm": lstm_layer_norm,
    "mlstm": mlstm,
    "gru_chung": gru_chung,
    "rhn_2": rhn_2,
    "rhn_5": rhn_5,
}

PARTS: dict[str, Parts] = {
    "jordan": (1, 2, 2, 0),
    "leaky_rnn": (1, 1, 1, 0),
    "indrnn": (1, 0, 1, 1),
    "mrnn": (2, 2, 1, 0),
    "mi_rnn": (1, 1, 0, 4),
    "scrn": (2, 4, 2, 0),
    "fastrnn": lambda i, h: (i * h + h * h + 2, h),
    "lstm_1997": (3, 3, 3, 0),
    "lstm_projected": (4, 5, 4, 0),
    "lstm_layer_norm": (4, 4, 0, 14),
    "mlstm": (5, 5, 6, 0),
    "gru_chung": (3, 3, 3, 0),
    "rhn_2": (2, 4, 4, 0),
    "rhn_5": (2, 10, 10, 0),
}

INITIAL: dict[str, dict[str, list[float | None]]] = {
    "mi_rnn": {"init": [1.0, 1.0, 1.0, 0.0]},
    "fastrnn": {"init": [-3.0, 3.0]},
    "lstm_layer_norm": {"init": [*[1.0, 1.0, 0.0] * 4, 1.0, 0.0]},
    "rhn_2": {"bias": [-2.0, 0.0, 0.0, -2.0]},
    "rhn_5": {"bias": [-2.0, 0.0, -2.0, 0.0, -2.0, 0.0, -2.0, 0.0, 0.0, -2.0]},
}
