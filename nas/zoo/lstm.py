"""The long short-term memory and its variants.

Peepholes follow Gers, Schraudolph & Schmidhuber 2002: input and forget gate see the old cell state
c, the output gate the new one. The variants of Greff et al. 2015 (arXiv:1503.04069) start from the
LSTM with all three peepholes; those of Jozefowicz, Zaremba & Sutskever 2015 from the one without.
"""

from collections.abc import Callable

from nas.cell import Value, diagonal, layer_norm, linear, sigmoid, tanh, vector

Step = Callable[[Value, Value, Value], tuple[Value, Value]]
Pair = tuple[Value, Value]


def lstm(x: Value, h: Value, c: Value) -> Pair:
    """Gers, Schmidhuber & Cummins 2000, after Hochreiter & Schmidhuber 1997: torch.nn.LSTM."""
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    c = f * c + i * g
    return o * tanh(c), c


def lstm_1997(x: Value, h: Value, c: Value) -> Pair:
    """Hochreiter & Schmidhuber 1997: no forget gate, and other squashing functions.

    They are 4 sigmoid(a) - 2 for the candidate and half of it for the output.
    """
    i = sigmoid(linear(x, h))
    g = 4 * sigmoid(linear(x, h)) - 2
    o = sigmoid(linear(x, h))
    c = c + i * g
    return o * (2 * sigmoid(c) - 1), c


def lstm_b(x: Value, h: Value, c: Value) -> Pair:
    """LSTM-b of Jozefowicz et al. 2015: the bias of the forget gate starts at 1."""
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h, bias=1))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    c = f * c + i * g
    return o * tanh(c), c


def peephole(gates: str) -> Step:
    """The LSTM with peepholes into some of the gates "i", "f" and "o"."""

    def step(x: Value, h: Value, c: Value) -> Pair:
        def gate(name: str, seen: Value) -> Value:
            read = linear(x, h)
            return sigmoid(read + diagonal(seen) if name in gates else read)

        i = gate("i", c)
        f = gate("f", c)
        g = tanh(linear(x, h))
        c = f * c + i * g
        o = gate("o", c)
        return o * tanh(c), c

    names = {"i": "input", "f": "forget", "o": "output"}
    seeing = ", ".join(names[gate] for gate in gates)
    step.__doc__ = (
        f"Gers, Schraudolph & Schmidhuber 2002: LSTM with peepholes to its {seeing} gate"
        f"{'s' if len(gates) > 1 else ''}."
    )
    return step


def lstm_nig(x: Value, h: Value, c: Value) -> Pair:
    """Greff et al. 2015, NIG: no input gate."""
    f = sigmoid(linear(x, h) + diagonal(c))
    c = f * c + tanh(linear(x, h))
    o = sigmoid(linear(x, h) + diagonal(c))
    return o * tanh(c), c


def lstm_nfg(x: Value, h: Value, c: Value) -> Pair:
    """Greff et al. 2015, NFG: no forget gate."""
    i = sigmoid(linear(x, h) + diagonal(c))
    c = c + i * tanh(linear(x, h))
    o = sigmoid(linear(x, h) + diagonal(c))
    return o * tanh(c), c


def lstm_nog(x: Value, h: Value, c: Value) -> Pair:
    """Greff et al. 2015, NOG: no output gate."""
    i = sigmoid(linear(x, h) + diagonal(c))
    f = sigmoid(linear(x, h) + diagonal(c))
    c = f * c + i * tanh(linear(x, h))
    return tanh(c), c


def lstm_niaf(x: Value, h: Value, c: Value) -> Pair:
    """Greff et al. 2015, NIAF: no input activation function."""
    i = sigmoid(linear(x, h) + diagonal(c))
    f = sigmoid(linear(x, h) + diagonal(c))
    c = f * c + i * linear(x, h)
    o = sigmoid(linear(x, h) + diagonal(c))
    return o * tanh(c), c


def lstm_noaf(x: Value, h: Value, c: Value) -> Pair:
    """Greff et al. 2015, NOAF: no output activation function."""
    i = sigmoid(linear(x, h) + diagonal(c))
    f = sigmoid(linear(x, h) + diagonal(c))
    c = f * c + i * tanh(linear(x, h))
    o = sigmoid(linear(x, h) + diagonal(c))
    return o * c, c


def lstm_cifg(x: Value, h: Value, c: Value) -> Pair:
    """Greff et al. 2015, CIFG: coupled input and forget gate, f = 1 - i."""
    i = sigmoid(linear(x, h) + diagonal(c))
    c = (1 - i) * c + i * tanh(linear(x, h))
    o = sigmoid(linear(x, h) + diagonal(c))
    return o * tanh(c), c


def lstm_fgr(
    x: Value, h: Value, c: Value, i: Value, f: Value, o: Value
) -> tuple[Value, Value, Value, Value, Value]:
    """Greff et al. 2015, FGR: full gate recurrence, the gates also read the last step's gates."""
    i_new = sigmoid(linear(x, h, i, f, o) + diagonal(c))
    f_new = sigmoid(linear(x, h, i, f, o) + diagonal(c))
    c = f_new * c + i_new * tanh(linear(x, h))
    o_new = sigmoid(linear(x, h, i, f, o) + diagonal(c))
    return o_new * tanh(c), c, i_new, f_new, o_new


def lstm_no_f(x: Value, h: Value, c: Value) -> Pair:
    """LSTM-f of Jozefowicz et al. 2015: no forget gate."""
    i = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    c = c + i * g
    return o * tanh(c), c


def lstm_no_i(x: Value, h: Value, c: Value) -> Pair:
    """LSTM-i of Jozefowicz et al. 2015: no input gate."""
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    c = f * c + g
    return o * tanh(c), c


def lstm_no_o(x: Value, h: Value, c: Value) -> Pair:
    """LSTM-o of Jozefowicz et al. 2015: no output gate, h is tanh(c)."""
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    c = f * c + i * g
    return tanh(c), c


def lstm_projected(x: Value, h: Value, c: Value) -> Pair:
    """Sak, Senior & Beaufays 2014, arXiv:1402.1128: LSTMP, the output is a projection.

    Without peepholes, as torch.nn.LSTM(proj_size=…). The projection is as wide as c here; with
    `h: 64` in the signature and `width=64` in the projection, it has 64 features.
    """
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    c = f * c + i * g
    return linear(o * tanh(c), bias=None), c


def lstm_layer_norm(x: Value, h: Value, c: Value) -> Pair:
    """Ba, Kiros & Hinton 2016, arXiv:1607.06450: layer normalisation of W x, U h and of c.

    Each gate is normalised by itself (the paper has one mean and variance of all four together);
    gains start at 1, and the two shifts of a gate are one bias.
    """

    def part(value: Value) -> Value:
        return diagonal(layer_norm(linear(value, bias=None)), init=1)

    i = sigmoid(part(x) + part(h) + vector())
    f = sigmoid(part(x) + part(h) + vector())
    g = tanh(part(x) + part(h) + vector())
    o = sigmoid(part(x) + part(h) + vector())
    c = f * c + i * g
    return o * tanh(diagonal(layer_norm(c), init=1) + vector()), c


def mlstm(x: Value, h: Value, c: Value) -> Pair:
    """Krause et al. 2016, arXiv:1609.07959: multiplicative LSTM, gates read (W x) * (U h), not h.

    The output gate follows the tanh, as in the LSTM. Not the mLSTM of xLSTM, whose state is a
    matrix.
    """
    m = linear(x) * linear(h)
    i = sigmoid(linear(x, m))
    f = sigmoid(linear(x, m))
    g = tanh(linear(x, m))
    o = sigmoid(linear(x, m))
    c = f * c + i * g
    return o * tanh(c), c
