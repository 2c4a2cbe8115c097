"""`nas/zoo/multiplicative.py` and `nas/zoo/searched.py`: equations by hand."""

import numpy as np

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step, tanh


def mogrifier_lstm(p: Parameters, x: Array, h: Array, c: Array) -> State:
    for i in range(1, 6):  # section 2: odd rounds gate x, even ones h
        if i % 2:
            x = 2 * sigmoid(p(f"x_{i}", h)) * x
        else:
            h = 2 * sigmoid(p(f"h_{i}", x)) * h
    f, i, j, o = (p(name, x, h) for name in ("v1", "v1_2", "v1_3", "y"))
    c_new = sigmoid(f) * c + sigmoid(i) * tanh(j)
    return sigmoid(o) * tanh(c_new), c_new


def minimal_rnn(p: Parameters, x: Array, h: Array) -> State:
    z = tanh(p("z", x))
    u = sigmoid(p("u", h, z))
    return (u * h + (1 - u) * z,)


def miru_1(p: Parameters, x: Array, h: Array) -> State:
    r = sigmoid(p("r", x, h))
    return ((h + tanh(p("y", x, r * h))) / 2,)


def miru_2(p: Parameters, x: Array, h: Array) -> State:
    return ((h + tanh(p("y", x, h / 2))) / 2,)


def aru(p: Parameters, x: Array, h: Array) -> State:
    rho, pi, alpha = (sigmoid(p(gate, x, h)) for gate in ("reset", "keep", "add_value"))
    return (rho * pi * h + rho * alpha * tanh(p("v", x)),)


def branches(p: Parameters, names: list[str], x: Array, h: Array) -> list[Array]:
    """The eight of the NASCell; the fourth is made of two maps."""
    sums = [p(name, x, h) for name in (*names[:3], *names[5:])]
    sums.insert(3, p(names[3], x) * p(names[4], h))
    functions = [sigmoid, np.abs, sigmoid, np.abs, tanh, sigmoid, tanh, sigmoid]
    made = [f(a) for f, a in zip(functions, sums, strict=True)]
    for k in (1, 3):  # the positive part
        made[k] = np.where(sums[k] > 0, sums[k], 0.0)
    return made


def nas_tree(p: Parameters, names: list[str], x: Array, h: Array, c: Array) -> State:
    b = branches(p, names, x, h)
    first, second = tanh(b[0] * b[1]), tanh(b[2] + b[3])
    third, fourth = tanh(b[4] * b[5]), sigmoid(b[6] + b[7])
    c_new = tanh(first + c) * second
    return tanh(c_new * tanh(third + fourth)), c_new


def nas_cell(p: Parameters, x: Array, h: Array, c: Array) -> State:
    names = "tree_0 tree_0_2 tree_1 tree_1_2 tree_1_3 tree_2 tree_2_2 tree_3 tree_3_2"
    return nas_tree(p, names.split(), x, h, c)


def nas_cell_projected(p: Parameters, x: Array, h: Array, c: Array) -> State:
    names = "c_new c_new_2 c_new_3 c_new_4 c_new_5 m m_2 m_3 m_4"
    m, c_new = nas_tree(p, names.split(), x, h, c)
    return p("y", m), c_new


PAPERS: dict[str, Step] = {
    "mogrifier_lstm": mogrifier_lstm,
    "minimal_rnn": minimal_rnn,
    "miru_1": miru_1,
    "miru_2": miru_2,
    "aru": aru,
    "nas_cell": nas_cell,
    "nas_cell_projected": nas_cell_projected,
}

PARTS: dict[str, Parts] = {
    "mogrifier_lstm": (4 + 5, 4, 4, 0),
    "minimal_rnn": (1, 2, 2, 0),
    "miru_1": (2, 2, 2, 0),
    "miru_2": (1, 1, 1, 0),
    "aru": (4, 3, 4, 0),
    "nas_cell": (8, 8, 8, 0),
    "nas_cell_projected": (8, 9, 8, 0),
}

EQUAL_WIDTHS: tuple[str, ...] = ()

INITIAL: dict[str, dict[str, list[float | None]]] = {"aru": {"bias": [2, 2, 0, 0]}}
