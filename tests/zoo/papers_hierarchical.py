"""`nas/zoo/hierarchical.py`: equations by hand."""

import numpy as np

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step, tanh


def rhn_2_carry(p: Parameters, x: Array, h: Array) -> State:
    """Equations 6 to 9: x is read at the first depth alone."""
    s = h
    for layer, names in enumerate((("s", "s_2", "s_3"), ("y", "y_2", "y_3"))):
        read = (x, s) if layer == 0 else (s,)
        n, t, c = (p(name, *read) for name in names)
        s = tanh(n) * sigmoid(t) + s * sigmoid(c)
    return (s,)


def clockwork_rnn(p: Parameters, x: Array, h: Array) -> State:
    weight, from_x, size = p.vector("y_2"), p("y", x), len(h) // 4
    new = h.copy()
    for unit in range(len(h)):
        group = unit // size
        if p.step % (1, 2, 4, 8)[group] == 0:
            total = from_x[unit]
            for other in range(len(h)):
                if other // size >= group:
                    total += weight[unit, other] * h[other]
            new[unit] = tanh(total)
    return (new,)


def nested_lstm(p: Parameters, x: Array, h: Array, c: Array, inner: Array) -> State:
    i, f, o = (sigmoid(p(gate, x, h)) for gate in "ifo")
    x_inner, h_inner = i * tanh(p("g", x, h)), f * c
    names = ("inner_new", "inner_new_2", "inner_new_3", "c_new")
    f_in, i_in, g_in, o_in = (p(name, x_inner, h_inner) for name in names)
    inner_new = sigmoid(f_in) * inner + sigmoid(i_in) * tanh(g_in)
    c_new = sigmoid(o_in) * tanh(inner_new)
    return o * tanh(c_new), c_new, inner_new


def cumax(a: Array) -> Array:
    weights = np.exp(a - a.max())
    return np.array([weights[: k + 1].sum() for k in range(len(a))]) / weights.sum()


def on_lstm(p: Parameters, x: Array, h: Array, c: Array) -> State:
    i, f, o = (sigmoid(p(gate, x, h)) for gate in "ifo")
    master_f, master_i = cumax(p("master_f", x, h)), 1 - cumax(p("master_i", x, h))
    both = master_f * master_i
    f_hat, i_hat = f * both + (master_f - both), i * both + (master_i - both)
    c_new = f_hat * c + i_hat * tanh(p("g", x, h))
    return o * tanh(c_new), c_new


def lstm_of(p: Parameters, names: str, x: Array, h: Array, c: Array) -> State:
    """An LSTM whose maps have these names, in the order forget, input, candidate, output."""
    f, i, g, o = (p(name, x, h) for name in names.split())
    c_new = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c_new), c_new


def fast_slow_lstm(
    p: Parameters, x: Array, h: Array, c: Array, slow_h: Array, slow_c: Array
) -> State:
    h, c = lstm_of(p, "v1 v1_2 v1_3 v2", x, h, c)
    slow = "slow_c_new slow_c_new_2 slow_c_new_3 slow_h_new"
    slow_h, slow_c = lstm_of(p, slow, h, slow_h, slow_c)
    h, c = lstm_of(p, "c_new c_new_2 c_new_3 h_new", slow_h, h, c)
    return h, c, slow_h, slow_c


def depth_gated_lstm(p: Parameters, x: Array, h: Array, c: Array, below: Array) -> State:
    i = sigmoid(p("i", x, h) + p.vector("i_2") * c)
    f = sigmoid(p("f", x, h) + p.vector("f_2") * c)
    d = sigmoid(p("d", x) + p.vector("d_2") * c + p.vector("d_3") * below)
    c_new = d * below + f * c + i * tanh(p("c_new", x, h))
    o = sigmoid(p("o", x, h) + p.vector("o_2") * c_new)
    return o * tanh(c_new), c_new, c_new


def grid_lstm(p: Parameters, x: Array, h: Array, c: Array, deep: Array) -> State:
    def lstm(names: str, memory: Array) -> State:
        u, f, g, o = (p(name, x, h) for name in names.split())
        new = sigmoid(f) * memory + sigmoid(u) * tanh(g)
        return tanh(sigmoid(o) * new), new

    h_new, c_new = lstm("new_c_2 new_c new_c_3 new_h", c)
    up, deep_new = lstm("new_deep_2 new_deep new_deep_3 up", deep)
    return up, h_new, c_new, deep_new


PAPERS: dict[str, Step] = {
    "rhn_2_carry": rhn_2_carry,
    "clockwork_rnn": clockwork_rnn,
    "nested_lstm": nested_lstm,
    "on_lstm": on_lstm,
    "fast_slow_lstm": fast_slow_lstm,
    "depth_gated_lstm": depth_gated_lstm,
    "grid_lstm": grid_lstm,
}

PARTS: dict[str, Parts] = {
    "rhn_2_carry": (3, 6, 6, 0),
    "clockwork_rnn": lambda i, h: (h * i + 10 * (h // 4) ** 2, h),
    "nested_lstm": (4, 4 + 8, 8, 0),
    "on_lstm": (6, 6, 6, 0),
    "fast_slow_lstm": (4, 4 + 16, 12, 0),
    "depth_gated_lstm": (5, 4, 5, 5),
    "grid_lstm": (8, 8, 8, 0),
}

EQUAL_WIDTHS: tuple[str, ...] = ()
