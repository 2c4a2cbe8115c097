"""Gated units whose gates read less: the SLIM variants of LSTM, GRU and MGU.

Salem and co-authors take parameters out of the gates. Variant 1 keeps the state and a bias, 2 the
state, 3 the bias alone; in 4 and 5 of the LSTM a vector stands for the matrix. Candidates are those
of the full unit, but for C6, 10 and 11.
"""

from collections.abc import Callable

from nas.cell import Value, diagonal, linear, sigmoid, tanh, vector

Pair = tuple[Value, Value]
Gate = Callable[[Value], Value]

GATES: dict[str, tuple[Gate, str]] = {
    "1": (lambda h: sigmoid(linear(h)), "a gate reads the state, with a bias"),
    "2": (lambda h: sigmoid(linear(h, bias=None)), "a gate reads the state alone"),
    "3": (lambda h: sigmoid(vector()), "a gate is a bias alone, the same at every step"),
    "4": (lambda h: sigmoid(diagonal(h)), "a gate reads its own unit's state alone"),
    "5": (lambda h: sigmoid(diagonal(h) + vector()), "a gate reads its own unit, with a bias"),
}


def gru_slim(variant: str) -> Callable[[Value, Value], Value]:
    """GRU1, GRU2 and GRU3 of Dey & Salem: variants "1", "2" and "3"."""
    gate, meaning = GATES[variant]

    def step(x: Value, h: Value) -> Value:
        z = gate(h)
        r = gate(h)
        n = tanh(linear(x, r * h))
        return (1 - z) * h + z * n

    step.__doc__ = f"Dey & Salem 2017, arXiv:1701.05923, GRU{variant}: {meaning}."
    return step


def mgu_slim(variant: str) -> Callable[[Value, Value], Value]:
    """MGU1, MGU2 and MGU3 of Heck & Salem: variants "1", "2" and "3"."""
    gate, meaning = GATES[variant]

    def step(x: Value, h: Value) -> Value:
        f = gate(h)
        n = tanh(linear(x, f * h))
        return (1 - f) * h + f * n

    step.__doc__ = f"Heck & Salem 2017, arXiv:1701.03452, MGU{variant}: {meaning}."
    return step


def lstm_slim(variant: str) -> Callable[[Value, Value, Value], Pair]:
    """LSTM1 to LSTM5: variants "1" to "5"."""
    gate, meaning = GATES[variant]

    def step(x: Value, h: Value, c: Value) -> Pair:
        i = gate(h)
        f = gate(h)
        o = gate(h)
        c = f * c + i * tanh(linear(x, h))
        return o * tanh(c), c

    step.__doc__ = f"Akandeh & Salem 2017, arXiv:1707.04619, LSTM{variant}: {meaning}."
    return step


def lstm_slim4a(x: Value, h: Value, c: Value) -> Pair:
    """Akandeh & Salem 2017, arXiv:1707.04623, LSTM4a: input gate by a vector, f = 0.96, o = 1."""
    i = sigmoid(diagonal(h))
    c = 0.96 * c + i * tanh(linear(x, h))
    return tanh(c), c


def lstm_slim5a(x: Value, h: Value, c: Value) -> Pair:
    """Akandeh & Salem 2017, arXiv:1707.04623, LSTM5a: as LSTM4a, with a bias in the input gate."""
    i = sigmoid(diagonal(h) + vector())
    c = 0.96 * c + i * tanh(linear(x, h))
    return tanh(c), c


def lstm_slim6(x: Value, h: Value, c: Value) -> Pair:
    """Akandeh & Salem 2019, arXiv:1901.06401, LSTM_6: no gates, i = o = 1 and f = 0.59.

    The forget constant is a hyperparameter there.
    """
    c = 0.59 * c + tanh(linear(x, h))
    return tanh(c), c


def lstm_slim_c6(x: Value, h: Value, c: Value) -> Pair:
    """Akandeh & Salem 2019, arXiv:1901.06401, LSTM_C6: LSTM_6, U being a vector."""
    c = 0.59 * c + tanh(linear(x) + diagonal(h))
    return tanh(c), c


def lstm_slim10(x: Value, h: Value, c: Value) -> Pair:
    """Akandeh & Salem 2017, arXiv:1707.04626, LSTM10: as LSTM4, a vector in the candidate too."""
    i = sigmoid(diagonal(h))
    f = sigmoid(diagonal(h))
    o = sigmoid(diagonal(h))
    c = f * c + i * tanh(linear(x) + diagonal(h))
    return o * tanh(c), c


def lstm_slim11(x: Value, h: Value, c: Value) -> Pair:
    """Akandeh & Salem 2017, arXiv:1707.04626, LSTM11: as LSTM5, a vector in the candidate too."""
    i = sigmoid(diagonal(h) + vector())
    f = sigmoid(diagonal(h) + vector())
    o = sigmoid(diagonal(h) + vector())
    c = f * c + i * tanh(linear(x) + diagonal(h))
    return o * tanh(c), c
