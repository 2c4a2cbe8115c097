"""Equations of papers on units that are fast over time; see `papers.py`."""

import numpy as np

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step

tanh = np.tanh


def sru(p: Parameters, x: Array, c: Array) -> State:
    f, r = sigmoid(p("f", x)), sigmoid(p("r", x))
    c_new = f * c + (1 - f) * p("c_new", x)
    return r * tanh(c_new) + (1 - r) * x, c_new


def sru_v2(p: Parameters, x: Array, c: Array) -> State:
    f = sigmoid(p("f", x) + p.vector("f_2") * c)
    r = sigmoid(p("r", x) + p.vector("r_2") * c)
    c_new = f * c + (1 - f) * p("c_new", x)
    return r * c_new + (1 - r) * x, c_new


def qrnn_f(p: Parameters, x: Array, h: Array, x_old: Array) -> State:
    z, f = tanh(p("z", x, x_old)), sigmoid(p("f", x, x_old))
    return f * h + (1 - f) * z, x


def qrnn_fo(p: Parameters, x: Array, c: Array, x_old: Array) -> State:
    z, f, o = tanh(p("z", x, x_old)), sigmoid(p("f", x, x_old)), sigmoid(p("o", x, x_old))
    c_new = f * c + (1 - f) * z
    return o * c_new, c_new, x


def qrnn_ifo(p: Parameters, x: Array, c: Array, x_old: Array) -> State:
    z = tanh(p("z", x, x_old))
    i, f, o = (sigmoid(p(gate, x, x_old)) for gate in "ifo")
    c_new = f * c + i * z
    return o * c_new, c_new, x


def trnn(p: Parameters, x: Array, h: Array) -> State:
    f = sigmoid(p("f", x))
    return (f * h + (1 - f) * p("z", x),)


def tgru(p: Parameters, x: Array, h: Array, x_old: Array) -> State:
    z, f, o = p("z", x, x_old), sigmoid(p("f", x, x_old)), tanh(p("o", x, x_old))
    return f * h + z * o, x


def tlstm(p: Parameters, x: Array, c: Array, x_old: Array) -> State:
    z, f, o = p("z", x, x_old), sigmoid(p("f", x, x_old)), tanh(p("o", x, x_old))
    c_new = f * c + (1 - f) * z
    return c_new * o, c_new, x


PAPERS: dict[str, Step] = {
    "sru": sru,
    "sru_v2": sru_v2,
    "qrnn_f": qrnn_f,
    "qrnn_fo": qrnn_fo,
    "qrnn_ifo": qrnn_ifo,
    "trnn": trnn,
    "tgru": tgru,
    "tlstm": tlstm,
}

PARTS: dict[str, Parts] = {
    "sru": (3, 0, 2, 0),
    "sru_v2": (3, 0, 2, 2),
    "qrnn_f": (4, 0, 2, 0),
    "qrnn_fo": (6, 0, 3, 0),
    "qrnn_ifo": (8, 0, 4, 0),
    "trnn": (2, 0, 2, 0),
    "tgru": (6, 0, 3, 0),
    "tlstm": (6, 0, 3, 0),
}

EQUAL_WIDTHS = {"sru", "sru_v2"}
