"""`nas/zoo/continuous.py`: equations by hand."""

import numpy as np

from tests.interpreter import Array, sigmoid
from tests.zoo.papers import Parameters, Parts, State, Step, tanh


def antisymmetric(w: Array, gamma: float) -> Array:
    """W - W^T - gamma I, entry by entry."""
    size = range(len(w))
    return np.array([[w[i, j] - w[j, i] - gamma * (i == j) for j in size] for i in size])


def antisymmetric_rnn(p: Parameters, x: Array, h: Array) -> State:
    flow = antisymmetric(p.vector("y_2"), 0.01) @ h
    return (h + 0.1 * tanh(flow + p("y", x)),)


def gated_antisymmetric_rnn(p: Parameters, x: Array, h: Array) -> State:
    flow = antisymmetric(p.vector("flow"), 0.01) @ h
    return (h + 0.1 * sigmoid(flow + p("z", x)) * tanh(flow + p("y", x)),)


def of_parts(m: Array, beta: float, gamma: float) -> Array:
    """Equation 5 of the Lipschitz RNN: a symmetric and an antisymmetric part."""
    return (1 - beta) * (m + m.T) + beta * (m - m.T) - gamma * np.eye(len(m))


def lipschitz_rnn(p: Parameters, x: Array, h: Array) -> State:
    a, w = (of_parts(p.vector(name), 0.75, 0.001) for name in ("flow", "inner"))
    return (h + 0.03 * (a @ h + tanh(w @ h + p("y", x))),)


def cornn(p: Parameters, x: Array, h: Array, z: Array) -> State:
    dt, gamma, epsilon = 0.042, 2.7, 4.7
    z_new = z + dt * tanh(p("z_new", x, h, z)) - dt * gamma * h - dt * epsilon * z
    return h + dt * z_new, z_new


def unicornn(p: Parameters, x: Array, h: Array, z: Array) -> State:
    dt = 0.1 * (0.5 + 0.5 * tanh(p.vector("pace") / 2))
    z_new = z - dt * (tanh(p.vector("z_new_2") * h + p("z_new", x)) + 5 * h)
    return h + dt * z_new, z_new


def lem(p: Parameters, x: Array, h: Array, z: Array) -> State:
    dt, dt_bar = sigmoid(p("dt_z", x, h)), sigmoid(p("dt_h", x, h))
    z_new = (1 - dt) * z + dt * tanh(p("z_new", x, h))
    return (1 - dt_bar) * h + dt_bar * tanh(p("y", x, z_new)), z_new


def ltc(p: Parameters, x: Array, h: Array) -> State:
    dt, f = 1.0, sigmoid(p("f", x, h))
    one_over_tau = np.log(1 + np.exp(p.vector("rate")))
    return ((h + dt * f * p.vector("y")) / (1 + dt * (one_over_tau + f)),)


def heads(p: Parameters, x: Array, h: Array) -> list[Array]:
    z = 1.7159 * tanh(0.666 * p("z", x, h))
    return [tanh(p("start", z)), tanh(p("end", z)), sigmoid(p("late", z))]


def cfc(p: Parameters, x: Array, h: Array) -> State:
    f_1, f_2, t = heads(p, x, h)
    return (f_1 * (1 - t) + t * f_2,)


def cfc_no_gate(p: Parameters, x: Array, h: Array) -> State:
    f_1, f_2, t = heads(p, x, h)
    return (f_1 + t * f_2,)


def cfc_pure(p: Parameters, x: Array, h: Array) -> State:
    f = p("f", 1.7159 * tanh(0.666 * p("z", x, h)))
    a, tau = p.vector("limit"), p.vector("y")
    return (-a * np.exp(-1.0 * (np.abs(tau) + np.abs(f))) * f + a,)


def gru_decay(p: Parameters, x: Array, h: Array) -> State:
    h = np.exp(-np.maximum(0, p("decay", x))) * h
    z, r = sigmoid(p("v2", x, h)), sigmoid(p("y", x, h))
    return (z * h + (1 - z) * tanh(p("y_2", x, r * h)),)


def phased_lstm(p: Parameters, x: Array, h: Array, c: Array) -> State:
    tau, s, r_on = np.exp(p.vector("v1_2")), p.vector("v1") + np.arange(len(h)), 0.05
    phase = np.mod(p.step - s, tau) / tau
    k = np.array(
        [
            2 * f / r_on if f < r_on / 2 else 2 - 2 * f / r_on if f < r_on else 0.001 * f
            for f in phase
        ]
    )
    i, f, o = (sigmoid(p(gate, x, h)) for gate in "ifo")
    c_open = f * c + i * tanh(p("g", x, h))
    return k * o * tanh(c_open) + (1 - k) * h, k * c_open + (1 - k) * c


def tau_gru(p: Parameters, x: Array, h: Array, *past: Array) -> State:
    u, z = tanh(p("u", x, h)), tanh(p("z", x, past[-1]))
    g, a = sigmoid(p("g", x, h)), sigmoid(p("a", x, h))
    return (1 - g) * h + g * (u + a * z), h, *past[:-1]


PAPERS: dict[str, Step] = {
    "antisymmetric_rnn": antisymmetric_rnn,
    "gated_antisymmetric_rnn": gated_antisymmetric_rnn,
    "lipschitz_rnn": lipschitz_rnn,
    "cornn": cornn,
    "unicornn": unicornn,
    "lem": lem,
    "ltc": ltc,
    "cfc": cfc,
    "cfc_no_gate": cfc_no_gate,
    "cfc_pure": cfc_pure,
    "gru_decay": gru_decay,
    "phased_lstm": phased_lstm,
    "tau_gru": tau_gru,
}

PARTS: dict[str, Parts] = {
    "antisymmetric_rnn": (1, 1, 1, 0),
    "gated_antisymmetric_rnn": (2, 1, 2, 0),
    "lipschitz_rnn": (1, 2, 1, 0),
    "cornn": (1, 2, 1, 0),
    "unicornn": (1, 0, 1, 2),
    "lem": (4, 4, 4, 0),
    "ltc": (1, 1, 1, 2),
    "cfc": (1, 1 + 3, 4, 0),
    "cfc_no_gate": (1, 1 + 3, 4, 0),
    "cfc_pure": (1, 1 + 1, 2, 2),
    "gru_decay": (1 + 3, 3, 4, 0),
    "phased_lstm": (4, 4, 4, 2),
    "tau_gru": (4, 4, 4, 0),
}

EQUAL_WIDTHS: tuple[str, ...] = ()

INITIAL: dict[str, dict[str, list[float | None]]] = {
    "ltc": {"init": [0, 1]},
    "cfc_pure": {"init": [1, 0]},
    "phased_lstm": {"init": [-0.1, 1.5]},
}
