"""The equations of the papers, transcribed by hand for one example without a batch.

`p("i", x, h)` is W_xi x + W_hi h + b_i, `p.vector("i_2")` a learned vector; the names are those of
the module's parameters. Each function gives the new states, the first of which is the output, or
the output and then the states; after them come values for the layer above. `PAPERS` has them by
name, `PARTS` the parameters that the papers count; the other files `papers_*.py` of this folder add
theirs.
"""

from collections.abc import Callable

import numpy as np
from torch import nn

from tests.interpreter import Array, sigmoid

tanh = np.tanh


class Parameters:
    """The arrays of a module, and affine maps made from them."""

    def __init__(self, module: nn.Module, step: int = 0) -> None:
        self.arrays = {name: p.detach().numpy() for name, p in module.named_parameters()}
        self.step = step
        """The index of the step."""

    def __call__(self, gate: str, *inputs: Array) -> Array:
        weight = self.arrays[f"{gate}_weight"]
        result = self.arrays.get(f"{gate}_bias", np.zeros(len(weight))).copy()
        start = 0
        for value in inputs:
            for unit in range(len(weight)):
                for k, number in enumerate(value):
                    result[unit] += weight[unit, start + k] * number
            start += len(value)
        return result

    def vector(self, name: str) -> Array:
        """A learned vector, or a matrix of some structure."""
        return self.arrays[f"{name}_weight"]


State = tuple[Array, ...]
Step = Callable[..., State]
Parts = tuple[int, int, int, int] | Callable[[int, int], tuple[int, int]]
"""Matrices that read x, matrices that read h (or a gate), biases, and vectors (peepholes); or, from
the widths of x and h, how many numbers beside the biases, and in the biases."""


def rnn(p: Parameters, x: Array, h: Array) -> State:
    return (tanh(p("y", x, h)),)


def irnn(p: Parameters, x: Array, h: Array) -> State:
    return (np.maximum(p("y", x) + p("y_2", h), 0),)


# Gers, Schmidhuber & Cummins 2000, and what Jozefowicz et al. 2015 leave out of it.


def lstm(p: Parameters, x: Array, h: Array, c: Array) -> State:
    i, f, o = (sigmoid(p(gate, x, h)) for gate in "ifo")
    c_new = f * c + i * tanh(p("g", x, h))
    return o * tanh(c_new), c_new


def lstm_no_f(p: Parameters, x: Array, h: Array, c: Array) -> State:
    i, o = (sigmoid(p(gate, x, h)) for gate in "io")
    c_new = c + i * tanh(p("g", x, h))
    return o * tanh(c_new), c_new


def lstm_no_i(p: Parameters, x: Array, h: Array, c: Array) -> State:
    f, o = (sigmoid(p(gate, x, h)) for gate in "fo")
    c_new = f * c + tanh(p("g", x, h))
    return o * tanh(c_new), c_new


def lstm_no_o(p: Parameters, x: Array, h: Array, c: Array) -> State:
    i, f = (sigmoid(p(gate, x, h)) for gate in "if")
    c_new = f * c + i * tanh(p("g", x, h))
    return tanh(c_new), c_new


def peephole(gates: str) -> Step:
    """Gers, Schraudolph & Schmidhuber 2002: i and f see the old c, o sees the new one."""

    def step(p: Parameters, x: Array, h: Array, c: Array) -> State:
        def gate(name: str, seen: Array) -> Array:
            total = p(name, x, h)
            if name in gates:
                total = total + p.vector(f"{name}_2") * seen
            return sigmoid(total)

        c_new = gate("f", c) * c + gate("i", c) * tanh(p("g", x, h))
        return gate("o", c_new) * tanh(c_new), c_new

    return step


# Greff et al. 2015, section 2 and appendix A.3: the vanilla LSTM has all three peepholes.


def greff(
    *,
    i: bool = True,
    f: bool = True,
    o: bool = True,
    coupled: bool = False,
    input_activation: bool = True,
    output_activation: bool = True,
) -> Step:
    """One of the variants: a gate that is False is the constant 1."""

    def step(p: Parameters, x: Array, h: Array, c: Array) -> State:
        z = p("c_new", x, h)
        z = tanh(z) if input_activation else z
        one = np.ones_like(c)
        input_gate = sigmoid(p("i", x, h) + p.vector("i_2") * c) if i else one
        forget_gate = sigmoid(p("f", x, h) + p.vector("f_2") * c) if f and not coupled else one
        if coupled:
            forget_gate = one - input_gate
        c_new = z * input_gate + c * forget_gate
        output_gate = sigmoid(p("o", x, h) + p.vector("o_2") * c_new) if o else one
        return output_gate * (tanh(c_new) if output_activation else c_new), c_new

    return step


def lstm_fgr(p: Parameters, x: Array, h: Array, c: Array, i: Array, f: Array, o: Array) -> State:
    i_new = sigmoid(p("i_new", x, h, i, f, o) + p.vector("i_new_2") * c)
    f_new = sigmoid(p("f_new", x, h, i, f, o) + p.vector("f_new_2") * c)
    c_new = f_new * c + i_new * tanh(p("c_new", x, h))
    o_new = sigmoid(p("o_new", x, h, i, f, o) + p.vector("o_new_2") * c_new)
    return o_new * tanh(c_new), c_new, i_new, f_new, o_new


# Gated units with one state.


def gru(p: Parameters, x: Array, h: Array) -> State:
    r, z = sigmoid(p("r", x, h)), sigmoid(p("z", x, h))
    return (z * h + (1 - z) * tanh(p("n", x, r * h)),)


def gru_v1(p: Parameters, x: Array, h: Array) -> State:
    r, z = sigmoid(p("r", x, h)), sigmoid(p("z", x, h))
    return (z * h + (1 - z) * tanh(p("n", x) + r * p("n_2", h)),)


def mgu(p: Parameters, x: Array, h: Array) -> State:
    f = sigmoid(p("f", x, h))
    return ((1 - f) * h + f * tanh(p("n", x, f * h)),)


def mut1(p: Parameters, x: Array, h: Array) -> State:
    z, r = sigmoid(p("z", x)), sigmoid(p("r", x, h))
    return (tanh(p("y", r * h) + tanh(x)) * z + h * (1 - z),)


def mut2(p: Parameters, x: Array, h: Array) -> State:
    z, r = sigmoid(p("z", x, h)), sigmoid(x + p("r", h))
    return (tanh(p("y", r * h, x)) * z + h * (1 - z),)


def mut3(p: Parameters, x: Array, h: Array) -> State:
    z, r = sigmoid(p("z", x, tanh(h))), sigmoid(p("r", x, h))
    return (tanh(p("y", r * h, x)) * z + h * (1 - z),)


def ugrnn(p: Parameters, x: Array, h: Array) -> State:
    c, g = tanh(p("c", x, h)), sigmoid(p("g", x, h))
    return (g * h + (1 - g) * c,)


def janet(p: Parameters, x: Array, h: Array) -> State:
    s, beta = p("s", x, h), 1.0
    return (sigmoid(s) * h + (1 - sigmoid(s - beta)) * tanh(p("g", x, h)),)


def mingru(p: Parameters, x: Array, h: Array) -> State:
    z, a = sigmoid(p("z", x)), p("a", x)
    g = np.where(a >= 0, a + 0.5, sigmoid(a))
    return ((1 - z) * h + z * g,)


PAPERS: dict[str, Step] = {
    "rnn": rnn,
    "irnn": irnn,
    "lstm": lstm,
    "lstm_b": lstm,
    "lstm_peephole": peephole("ifo"),
    "lstm_peephole_i": peephole("i"),
    "lstm_peephole_f": peephole("f"),
    "lstm_peephole_o": peephole("o"),
    "lstm_peephole_if": peephole("if"),
    "lstm_peephole_io": peephole("io"),
    "lstm_peephole_fo": peephole("fo"),
    "lstm_nig": greff(i=False),
    "lstm_nfg": greff(f=False),
    "lstm_nog": greff(o=False),
    "lstm_niaf": greff(input_activation=False),
    "lstm_noaf": greff(output_activation=False),
    "lstm_np": lstm,
    "lstm_cifg": greff(coupled=True),
    "lstm_fgr": lstm_fgr,
    "lstm_no_f": lstm_no_f,
    "lstm_no_i": lstm_no_i,
    "lstm_no_o": lstm_no_o,
    "gru": gru,
    "gru_v1": gru_v1,
    "mgu": mgu,
    "mut1": mut1,
    "mut2": mut2,
    "mut3": mut3,
    "ugrnn": ugrnn,
    "janet": janet,
    "mingru": mingru,
}

PARTS: dict[str, Parts] = {
    "rnn": (1, 1, 1, 0),
    "irnn": (1, 1, 1, 0),
    "lstm": (4, 4, 4, 0),
    "lstm_b": (4, 4, 4, 0),
    "lstm_peephole": (4, 4, 4, 3),
    "lstm_peephole_i": (4, 4, 4, 1),
    "lstm_peephole_f": (4, 4, 4, 1),
    "lstm_peephole_o": (4, 4, 4, 1),
    "lstm_peephole_if": (4, 4, 4, 2),
    "lstm_peephole_io": (4, 4, 4, 2),
    "lstm_peephole_fo": (4, 4, 4, 2),
    "lstm_nig": (3, 3, 3, 2),
    "lstm_nfg": (3, 3, 3, 2),
    "lstm_nog": (3, 3, 3, 2),
    "lstm_niaf": (4, 4, 4, 3),
    "lstm_noaf": (4, 4, 4, 3),
    "lstm_np": (4, 4, 4, 0),
    "lstm_cifg": (3, 3, 3, 2),
    "lstm_fgr": (4, 4 + 9, 4, 3),
    "lstm_no_f": (3, 3, 3, 0),
    "lstm_no_i": (3, 3, 3, 0),
    "lstm_no_o": (3, 3, 3, 0),
    "gru": (3, 3, 3, 0),
    "gru_v1": (3, 3, 4, 0),
    "mgu": (2, 2, 2, 0),
    "mut1": (2, 2, 3, 0),
    "mut2": (2, 3, 3, 0),
    "mut3": (3, 3, 3, 0),
    "ugrnn": (2, 2, 2, 0),
    "janet": (2, 2, 2, 0),
    "mingru": (2, 0, 2, 0),
}

INITIAL: dict[str, dict[str, list[float | None]]] = {
    "irnn": {"eye": [0.0, 1.0]},
    "lstm_b": {"bias": [0.0, 1.0, 0.0, 0.0]},
}

EQUAL_WIDTHS = {"mut1", "mut2"}
