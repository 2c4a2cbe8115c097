"""`nas/zoo/state_space.py`: equations by hand; complex states are complex numbers here."""

import numpy as np
import pytest
from scipy.signal import cont2discrete

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step, tanh


def silu(a: Array) -> Array:
    return a * sigmoid(a)


def minlstm(p: Parameters, x: Array, h: Array) -> State:
    f, i, a = sigmoid(p("f", x)), sigmoid(p("i", x)), p("v1", x)
    candidate = np.where(a >= 0, a + 0.5, sigmoid(a))
    return ((f * h + i * candidate) / (f + i),)


def gilr_lstm(p: Parameters, x: Array, s: Array, c: Array) -> State:
    g = sigmoid(p("g", x))
    s_new = g * s + (1 - g) * tanh(p("s_new", x))
    f, i, o = (sigmoid(p(gate, x, s_new)) for gate in "fio")
    c_new = f * c + i * tanh(p("c_new", x, s_new))
    return o * c_new, s_new, c_new


def para_gru(p: Parameters, x: Array, h: Array) -> State:
    z, r = (sigmoid(p(g, x) + p.vector(f"{g}_2") * h) for g in "zr")
    return ((1 - z) * h + z * tanh(p("y", x) + p.vector("y_2") * h * r),)


def para_lstm(p: Parameters, x: Array, h: Array, c: Array) -> State:
    f = sigmoid(p("f", x) + p.vector("f_2") * h + p.vector("f_3") * c)
    c_new = f * c + (1 - f) * tanh(p("c_new", x) + p.vector("c_new_2") * h)
    o = sigmoid(p("o", x) + p.vector("o_2") * h + p.vector("o_3") * c_new)
    return o * tanh(c_new), c_new


def heads_times(p: Parameters, name: str, h: Array) -> Array:
    """Each head's own matrix times its part."""
    blocks = p.vector(name)
    parts = np.split(h, len(blocks))
    return np.concatenate([block @ part for block, part in zip(blocks, parts, strict=True)])


def slstm(p: Parameters, x: Array, h: Array, c: Array, n: Array, m: Array) -> State:
    i, f, z, o = (p(g, x) + heads_times(p, f"{g}_2", h) for g in ("i", "log_f", "z", "o"))
    log_f = np.log(sigmoid(f))
    m_new = np.maximum(log_f + m, i)
    i_gate, f_gate = np.exp(i - m_new), np.exp(log_f + m - m_new)
    c_new, n_new = f_gate * c + i_gate * tanh(z), f_gate * n + i_gate
    return sigmoid(o) * c_new / n_new, c_new, n_new, m_new


def lru(p: Parameters, x: Array, re: Array, im: Array) -> State:
    unit = np.arange(len(re))
    turn = np.exp(p.vector("angle")) + unit
    lam = np.exp(-np.exp(p.vector("size")) + 1j * turn)
    b_x = p("new_re", x) + 1j * p("new_im", x)
    s = lam * (re + 1j * im) + np.exp(p.vector("gamma")) * b_x
    return p("y", s.real, s.imag, x), s.real, s.imag


def s5(p: Parameters, x: Array, re: Array, im: Array) -> State:
    frequency = p.vector("frequency") + np.pi * np.arange(len(re))
    lam = -np.exp(p.vector("rate")) + 1j * frequency
    grown = np.exp(lam * np.exp(p.vector("dt")))
    b_x = p("of_x", x) + 1j * p("also_x", x)
    s = grown * (re + 1j * im) + (grown - 1) / lam * b_x
    return 2 * p("y", s.real, s.imag) + p("y_2", x), s.real, s.imag


def s4d(p: Parameters, x: Array, *states: Array) -> State:
    dt, y, new = np.exp(p.vector("dt")), p.vector("y") * x, []
    for k, names in enumerate(
        (("rate_0", "frequency_0", "of_0"), ("rate_1", "frequency_1", "of_1"))
    ):
        rate, frequency, c = names
        lam = -np.exp(p.vector(rate)) + 1j * p.vector(frequency)
        grown = np.exp(dt * lam)
        s = grown * (states[2 * k] + 1j * states[2 * k + 1]) + (grown - 1) / lam * x
        y = y + 2 * ((p.vector(c) + 1j * p.vector(f"{c}_2")) * s).real
        new += [s.real, s.imag]
    return y, *new


def rg_lru(p: Parameters, x: Array, h: Array) -> State:
    r, i = (sigmoid(heads_times(p, g, x) + p.vector(f"{g}_2")) for g in "ri")
    log_a = -8 * np.log1p(np.exp(p.vector("a"))) * r
    return (np.exp(log_a) * h + np.sqrt(1 - np.exp(2 * log_a)) * (i * x),)


def hgrn(p: Parameters, x: Array, h: Array) -> State:
    bound = sigmoid(p.vector("bound"))
    f = bound + (1 - bound) * sigmoid(p("f", x))
    return (f * h + (1 - f) * silu(p("y", x)),)


def hgrn_complex(p: Parameters, x: Array, re: Array, im: Array) -> State:
    bound = sigmoid(p.vector("bound"))
    f = bound + (1 - bound) * sigmoid(p("f", x))
    turn = np.exp(1j * (p.vector("angle") + np.arange(len(re))))
    c = silu(p("new_re", x)) + 1j * silu(p("new_im", x))
    s = f * turn * (re + 1j * im) + (1 - f) * c
    gates = [silu(p(name, x)) for name in ("gate_re", "gate_im")]
    return p("y", gates[0] * s.real, gates[1] * s.imag), s.real, s.imag


def mamba(p: Parameters, x: Array, *states: Array) -> State:
    dt = np.log1p(np.exp(p("dt", x) + p.vector("dt_2")))
    y, new = p.vector("y") * x, []
    for n, h in enumerate(states, start=1):
        a = -np.exp(p.vector(f"new_{n}"))
        new.append(np.exp(dt * a) * h + dt * p(f"b_{n}", x) * x)
        y = y + p(f"c_{n}", x) * new[-1]
    return y, *new


def rwkv_4(p: Parameters, x: Array, old: Array, top: Array, bottom: Array, m: Array) -> State:
    """Without the stabiliser: sums are their exponents' m and what is left of them."""
    mixed = {g: p.vector(g) * x + (1 - p.vector(g)) * old for g in "rkv"}
    r, k, v = (p(f"{g}_2", mixed[g]) for g in "rkv")
    a, b = np.exp(m) * top, np.exp(m) * bottom
    bonus = np.exp(p.vector("now") + k)
    y = p("y", sigmoid(r) * (a + bonus * v) / (b + bonus))
    decay = np.exp(-np.exp(p.vector("faded")))
    a, b = decay * a + np.exp(k) * v, decay * b + np.exp(k)
    m_new = np.maximum(m - np.exp(p.vector("faded")), k)
    return y, x, a * np.exp(-m_new), b * np.exp(-m_new), m_new


def lmu(p: Parameters, x: Array, h: Array, m: Array) -> State:
    """Equations 2 to 6, discretised by scipy over a window of 100 steps."""
    order = len(m)
    a = np.zeros((order, order))
    b = np.zeros((order, 1))
    for i in range(order):
        b[i] = (2 * i + 1) * (-1) ** i
        for j in range(order):
            a[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
    a, b, *_ = cont2discrete((a / 100, b / 100, a, b), 1.0, "zoh")
    m_new = a @ m + b[:, 0] * p("u", x, h, m)
    return tanh(p("y", x, h, m_new)), m_new


PAPERS: dict[str, Step] = {
    "minlstm": minlstm,
    "gilr_lstm": gilr_lstm,
    "para_gru": para_gru,
    "para_lstm": para_lstm,
    "slstm": slstm,
    "lru": lru,
    "s5": s5,
    "s4d": s4d,
    "rg_lru": rg_lru,
    "hgrn": hgrn,
    "hgrn_complex": hgrn_complex,
    "mamba": mamba,
    "rwkv_4": rwkv_4,
    "lmu": lmu,
}

PARTS: dict[str, Parts] = {
    "minlstm": (3, 0, 3, 0),
    "gilr_lstm": (6, 4, 6, 0),
    "para_gru": (3, 0, 3, 3),
    "para_lstm": (3, 0, 3, 5),
    "slstm": lambda i, h: (4 * h * i + 4 * 4 * (h // 4) ** 2, 4 * h),
    "lru": (3, 2, 0, 3),
    "s5": (3, 2, 0, 3),
    "s4d": (0, 0, 0, 1 + 2 * 4 + 1),
    "rg_lru": lambda i, h: (2 * 4 * (h // 4) ** 2 + 3 * h, 0),
    "hgrn": (2, 0, 2, 1),
    "hgrn_complex": (5, 2, 6, 2),
    "mamba": lambda i, h: (9 * i + 6 * h, 0),
    "rwkv_4": lambda i, h: (3 * (h * i + i) + 2 * h + h * h, 0),
    "lmu": lambda i, h: (i + 2 * h + h * (i + 2 * h), 0),
}

EQUAL_WIDTHS = ("s4d", "rg_lru", "mamba")

LOG_2, LOG_3, LOG_4 = (float(np.log(n)) for n in (2, 3, 4))
RING = {"size": float(np.log(-np.log(0.9))), "gamma": float(np.log(np.sqrt(1 - 0.9**2)))}
INITIAL: dict[str, dict[str, list[float | None]]] = {
    "slstm": {"initial": [0, 0, 0, -np.inf]},
    "lru": {"init": [pytest.approx(RING["size"]), 0, pytest.approx(RING["gamma"])]},
    "s5": {"init": [-LOG_2, 0, -4.6]},
    "s4d": {"init": [-4.6, -LOG_2, -LOG_2, 0, np.pi, None, None, None, None, 1]},
    "rg_lru": {"init": [0, 0, -5]},
    "hgrn": {"init": [-2]},
    "hgrn_complex": {"init": [-2, 0]},
    "mamba": {"init": [-4.6, 0, LOG_2, LOG_3, LOG_4, 1]},
    "rwkv_4": {"init": [0.5, 0.5, 0.5, -1.2, -1], "initial": [0, 0, 0, -np.inf]},
}
