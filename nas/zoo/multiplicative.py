"""Small units with one state whose gates are few or constant, and x and h that gate each other."""

from nas.cell import Value, linear, sigmoid, tanh
from nas.zoo.lstm import lstm

Pair = tuple[Value, Value]


def mogrifier_lstm(x: Value, h: Value, c: Value) -> Pair:
    """Melis, Kocisky & Blunsom 2020, arXiv:1909.01792: x and h gate each other, then an LSTM.

    Five rounds, as in most of the paper's models; matrices of full rank and without biases.
    """
    x_1 = 2 * sigmoid(linear(h, bias=None, width="input")) * x
    h_2 = 2 * sigmoid(linear(x_1, bias=None)) * h
    x_3 = 2 * sigmoid(linear(h_2, bias=None, width="input")) * x_1
    h_4 = 2 * sigmoid(linear(x_3, bias=None)) * h_2
    x_5 = 2 * sigmoid(linear(h_4, bias=None, width="input")) * x_3
    return lstm(x_5, h_4, c)


def minimal_rnn(x: Value, h: Value) -> Value:
    """Chen 2017, arXiv:1711.06788: the state moves towards an encoding z that knows x alone."""
    z = tanh(linear(x))
    u = sigmoid(linear(h, z))
    return u * h + (1 - u) * z


def miru_1(x: Value, h: Value) -> Value:
    """Minion recurrent unit 1 (doi:10.1016/j.neucom.2026.132847): a GRU with a constant update.

    The coefficient is torchrecurrent's 1/2.
    """
    r = sigmoid(linear(x, h))
    return 0.5 * h + (1 - 0.5) * tanh(linear(x, r * h))


def miru_2(x: Value, h: Value) -> Value:
    """Minion recurrent unit 2 (doi:10.1016/j.neucom.2026.132847): both gates are constants.

    The coefficients are torchrecurrent's 1/2.
    """
    half = 0.5 * h
    return half + (1 - 0.5) * tanh(linear(x, half))


def aru(x: Value, h: Value) -> Value:
    """Ainouche 2026, the additive recurrent unit (doi:10.13140/RG.2.2.18700.58241).

    Keeping and adding are gated apart, so that they do not compete. Biases of the gates that
    forget start at 2, as in the package additive-recurrent-unit.
    """
    reset = sigmoid(linear(x, h, bias=2))
    keep = sigmoid(linear(x, h, bias=2))
    add = sigmoid(linear(x, h))
    v = tanh(linear(x))
    return reset * (keep * h + add * v)
