"""Equations of Salem and co-authors' units with smaller gates; see `papers.py`."""

from collections.abc import Callable

import numpy as np

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step

Gate = Callable[[Parameters, str, Array], Array]

# What a gate is in the variants 1 to 5; `two` of them share their parts between two parameters.
GATES: dict[str, Gate] = {
    "1": lambda p, name, h: sigmoid(p(name, h)),
    "2": lambda p, name, h: sigmoid(p(name, h)),
    "3": lambda p, name, h: sigmoid(p.vector(name)),
    "4": lambda p, name, h: sigmoid(p.vector(name) * h),
    "5": lambda p, name, h: sigmoid(p.vector(name) * h + p.vector(f"{name}_2")),
}


def gru(variant: str) -> Step:
    def step(p: Parameters, x: Array, h: Array) -> State:
        z, r = GATES[variant](p, "z", h), GATES[variant](p, "r", h)
        return ((1 - z) * h + z * np.tanh(p("n", x, r * h)),)

    return step


def mgu(variant: str) -> Step:
    def step(p: Parameters, x: Array, h: Array) -> State:
        f = GATES[variant](p, "f", h)
        return ((1 - f) * h + f * np.tanh(p("n", x, f * h)),)

    return step


def lstm(variant: str, *, vector: bool = False) -> Step:
    """The LSTM with such gates, and with a vector for the candidate's recurrent matrix."""

    def step(p: Parameters, x: Array, h: Array, c: Array) -> State:
        i, f, o = (GATES[variant](p, name, h) for name in "ifo")
        c_new = f * c + i * candidate(p, x, h, vector=vector)
        return o * np.tanh(c_new), c_new

    return step


def candidate(p: Parameters, x: Array, h: Array, *, vector: bool) -> Array:
    if vector:
        return np.tanh(p("c_new", x) + p.vector("c_new_2") * h)
    return np.tanh(p("c_new", x, h))


def constant_forget(variant: str) -> Step:
    """LSTM4a and LSTM5a: f = 0.96, o = 1."""

    def step(p: Parameters, x: Array, h: Array, c: Array) -> State:
        c_new = 0.96 * c + GATES[variant](p, "i", h) * candidate(p, x, h, vector=False)
        return np.tanh(c_new), c_new

    return step


def constant_gates(*, vector: bool) -> Step:
    """LSTM_6 and LSTM_C6: i = 1, f = 0.59, o = 1."""

    def step(p: Parameters, x: Array, h: Array, c: Array) -> State:
        c_new = 0.59 * c + candidate(p, x, h, vector=vector)
        return np.tanh(c_new), c_new

    return step


PAPERS: dict[str, Step] = {
    "lstm_slim1": lstm("1"),
    "lstm_slim2": lstm("2"),
    "lstm_slim3": lstm("3"),
    "lstm_slim4": lstm("4"),
    "lstm_slim4a": constant_forget("4"),
    "lstm_slim5": lstm("5"),
    "lstm_slim5a": constant_forget("5"),
    "lstm_slim6": constant_gates(vector=False),
    "lstm_slim_c6": constant_gates(vector=True),
    "lstm_slim10": lstm("4", vector=True),
    "lstm_slim11": lstm("5", vector=True),
    "gru_slim1": gru("1"),
    "gru_slim2": gru("2"),
    "gru_slim3": gru("3"),
    "mgu_slim1": mgu("1"),
    "mgu_slim2": mgu("2"),
    "mgu_slim3": mgu("3"),
}

PARTS: dict[str, Parts] = {
    "lstm_slim1": (1, 4, 4, 0),
    "lstm_slim2": (1, 4, 1, 0),
    "lstm_slim3": (1, 1, 1, 3),
    "lstm_slim4": (1, 1, 1, 3),
    "lstm_slim4a": (1, 1, 1, 1),
    "lstm_slim5": (1, 1, 1, 6),
    "lstm_slim5a": (1, 1, 1, 2),
    "lstm_slim6": (1, 1, 1, 0),
    "lstm_slim_c6": (1, 0, 1, 1),
    "lstm_slim10": (1, 0, 1, 4),
    "lstm_slim11": (1, 0, 1, 7),
    "gru_slim1": (1, 3, 3, 0),
    "gru_slim2": (1, 3, 1, 0),
    "gru_slim3": (1, 1, 1, 2),
    "mgu_slim1": (1, 2, 2, 0),
    "mgu_slim2": (1, 2, 1, 0),
    "mgu_slim3": (1, 1, 1, 1),
}
