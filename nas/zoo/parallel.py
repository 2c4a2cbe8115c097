"""Units whose gates read inputs alone, or their own unit's past: fast over time.

With x_old, the input of the step before, a convolution of width 2 over time is one linear map.
"""

from typing import Annotated

from nas.cell import Value, diagonal, linear, sigmoid, tanh

Pair = tuple[Value, Value]
Triple = tuple[Value, Value, Value]
Input = Annotated[Value, "input"]
"""A state as wide as x."""


def sru(x: Value, c: Value) -> Pair:
    """Lei et al. 2017, arXiv:1709.02755v1: the simple recurrent unit, with a highway from x to y.

    So x has the hidden width. The state passes through tanh.
    """
    f = sigmoid(linear(x))
    r = sigmoid(linear(x))
    c = f * c + (1 - f) * linear(x, bias=None)
    return r * tanh(c) + (1 - r) * x, c


def sru_v2(x: Value, c: Value) -> Pair:
    """Lei et al. 2018, arXiv:1709.02755v5: gates of the simple recurrent unit read their own past.

    Without activation and without the highway's scale, the defaults of the authors' package sru.
    """
    f = sigmoid(linear(x) + diagonal(c))
    r = sigmoid(linear(x) + diagonal(c))
    c = f * c + (1 - f) * linear(x, bias=None)
    return r * c + (1 - r) * x, c


def qrnn_f(x: Value, h: Value, x_old: Input) -> Pair:
    """Bradbury et al. 2016, arXiv:1611.01576: QRNN, f-pooling, convolution of width 2."""
    z = tanh(linear(x, x_old))
    f = sigmoid(linear(x, x_old))
    return f * h + (1 - f) * z, x


def qrnn_fo(x: Value, c: Value, x_old: Input) -> Triple:
    """Bradbury et al. 2016, arXiv:1611.01576: QRNN, fo-pooling, convolution of width 2."""
    z = tanh(linear(x, x_old))
    f = sigmoid(linear(x, x_old))
    o = sigmoid(linear(x, x_old))
    c = f * c + (1 - f) * z
    return o * c, c, x


def qrnn_ifo(x: Value, c: Value, x_old: Input) -> Triple:
    """Bradbury et al. 2016, arXiv:1611.01576: QRNN, ifo-pooling, convolution of width 2."""
    z = tanh(linear(x, x_old))
    i = sigmoid(linear(x, x_old))
    f = sigmoid(linear(x, x_old))
    o = sigmoid(linear(x, x_old))
    c = f * c + i * z
    return o * c, c, x


def trnn(x: Value, h: Value) -> Value:
    """Balduzzi & Ghifary 2016, arXiv:1602.02218: strongly typed, the state meets no matrix."""
    z = linear(x)
    f = sigmoid(linear(x))
    return f * h + (1 - f) * z


def tgru(x: Value, h: Value, x_old: Input) -> Pair:
    """Balduzzi & Ghifary 2016, arXiv:1602.02218: the strongly typed GRU, reading two inputs."""
    z = linear(x, x_old)
    f = sigmoid(linear(x, x_old))
    o = tanh(linear(x, x_old))
    return f * h + z * o, x


def tlstm(x: Value, c: Value, x_old: Input) -> Triple:
    """Balduzzi & Ghifary 2016, arXiv:1602.02218: the strongly typed LSTM, reading two inputs."""
    z = linear(x, x_old)
    f = sigmoid(linear(x, x_old))
    o = tanh(linear(x, x_old))
    c = f * c + (1 - f) * z
    return c * o, c, x
