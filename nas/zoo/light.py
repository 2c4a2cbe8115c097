"""Gated units that are smaller than the GRU, or differ from it in kind; one state, but for RAN."""

from nas.cell import (
    Value,
    diagonal,
    hard_sigmoid,
    linear,
    relu,
    scalar,
    sigmoid,
    softplus,
    tanh,
    vector,
)

Pair = tuple[Value, Value]


def intersection(x: Value, h: Value) -> Pair:
    """Collins, Sohl-Dickstein & Sussillo 2016, arXiv:1611.09913: +RNN, the intersection RNN.

    One gate blends over time, one over depth, from x into y; so x has the hidden width. The new
    input passes through relu, the new state through tanh.
    """
    y_in = relu(linear(x, h))
    h_in = tanh(linear(x, h))
    g_y = sigmoid(linear(x, h))
    g_h = sigmoid(linear(x, h))
    return g_y * x + (1 - g_y) * y_in, g_h * h + (1 - g_h) * h_in


def ran(x: Value, h: Value, c: Value) -> Pair:
    """Lee, Levy & Zettlemoyer 2017, arXiv:1705.07393: recurrent additive network, linear content.

    The content has no bias, and the output is tanh(c) (the paper's other choice is c itself).
    """
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    c = i * linear(x, bias=None) + f * c
    return tanh(c), c


def atr(x: Value, h: Value) -> Value:
    """Zhang et al. 2018, arXiv:1810.12546: twin gates, the sum and the difference of two maps."""
    p = linear(x)
    q = linear(h)
    i = sigmoid(p + q)
    f = sigmoid(p - q)
    return i * p + f * h


def cfn(x: Value, h: Value) -> Value:
    """Laurent & von Brecht 2016, arXiv:1612.06212: a chaos-free network.

    All biases start at 0; the candidate has one too, as in torchrecurrent.
    """
    f = sigmoid(linear(x, h))
    i = sigmoid(linear(x, h))
    return f * tanh(h) + i * tanh(linear(x))


def brc(x: Value, h: Value) -> Value:
    """Vecoven, Ernst & Drion 2021, arXiv:2006.05252: the bistable recurrent cell.

    Each unit reads its own past alone; a feedback a above 1 makes it bistable.
    """
    a = 1 + tanh(linear(x) + diagonal(h))
    c = sigmoid(linear(x) + diagonal(h))
    return c * h + (1 - c) * tanh(linear(x) + a * h)


def nbrc(x: Value, h: Value) -> Value:
    """Vecoven, Ernst & Drion 2021, arXiv:2006.05252: BRC whose two gates read all units."""
    a = 1 + tanh(linear(x, h))
    c = sigmoid(linear(x, h))
    return c * h + (1 - c) * tanh(linear(x) + a * h)


def star(x: Value, h: Value) -> Value:
    """Turkoglu et al. 2019, arXiv:1911.11033: the stackable recurrent cell."""
    k = sigmoid(linear(x, h))
    z = tanh(linear(x))
    return tanh((1 - k) * h + k * z)


def lightru(x: Value, h: Value) -> Value:
    """Ye et al. 2024, Electronics 13(16):3204: the light recurrent unit."""
    f = sigmoid(linear(x, h))
    n = tanh(linear(x))
    return (1 - f) * h + f * n


def sgrn(x: Value, h: Value) -> Value:
    """Simple gated recurrent network, 2021, doi:10.1049/gtd2.12056: gate and content share W x."""
    p = linear(x)
    f = sigmoid(p + linear(h))
    return tanh((1 - f) * p + f * h)


def sgu(x: Value, h: Value) -> Value:
    """Gao & Glowacka 2016, arXiv:1604.02910: the simple gated unit.

    The hard sigmoid has torch's slope, 1/6; Keras's of that year had 1/5.
    """
    g = tanh(linear(linear(x) * h))
    z = hard_sigmoid(linear(x, h))
    return (1 - z) * h + z * softplus(g * h)


def dsgu(x: Value, h: Value) -> Value:
    """Gao & Glowacka 2016, arXiv:1604.02910: the deep simple gated unit.

    The hard sigmoid has torch's slope, 1/6; Keras's of that year had 1/5.
    """
    g = tanh(linear(linear(x) * h))
    z = hard_sigmoid(linear(x, h))
    return (1 - z) * h + z * sigmoid(linear(g * h, bias=None))


def ligru(x: Value, h: Value) -> Value:
    """Ravanelli et al. 2018, arXiv:1803.10225: the light GRU, no reset gate and relu.

    Without the paper's batch normalisation of W x, which is no part of one step: biases instead.
    """
    z = sigmoid(linear(x, h))
    n = relu(linear(x, h))
    return z * h + (1 - z) * n


def fastgrnn(x: Value, h: Value) -> Value:
    """Kusupati et al. 2018, arXiv:1901.02358: gate and candidate share both matrices.

    Biases start at 1, the learned zeta and nu at 1 and -4 before their sigmoids, as in EdgeML.
    """
    p = linear(x, h, bias=None)
    z = sigmoid(p + vector(init=1))
    n = tanh(p + vector(init=1))
    return (sigmoid(scalar(init=1)) * (1 - z) + sigmoid(scalar(init=-4))) * n + z * h


def fastgrnn_low_rank(x: Value, h: Value) -> Value:
    """Kusupati et al. 2018, arXiv:1901.02358: FastGRNN whose two matrices have low rank, here 8."""
    w = linear(x, bias=None, width=8)
    u = linear(h, bias=None, width=8)
    p = linear(w, u, bias=None)
    z = sigmoid(p + vector(init=1))
    n = tanh(p + vector(init=1))
    return (sigmoid(scalar(init=1)) * (1 - z) + sigmoid(scalar(init=-4))) * n + z * h
