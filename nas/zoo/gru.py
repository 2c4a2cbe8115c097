"""The gated recurrent unit and its kin: one state, and a gate that blends old and new."""

from nas.cell import Value, linear, relu, sigmoid, tanh


def gru(x: Value, h: Value) -> Value:
    """Cho et al. 2014, arXiv:1406.1078v3: reset before the matrix, as in Jozefowicz et al. 2015."""
    r = sigmoid(linear(x, h))
    z = sigmoid(linear(x, h))
    n = tanh(linear(x, r * h))
    return z * h + (1 - z) * n


def gru_v1(x: Value, h: Value) -> Value:
    """Cho et al. 2014, arXiv:1406.1078v1: reset after the matrix, as in cuDNN and torch.nn.GRU."""
    r = sigmoid(linear(x, h))
    z = sigmoid(linear(x, h))
    n = tanh(linear(x) + r * linear(h))
    return z * h + (1 - z) * n


def gru_chung(x: Value, h: Value) -> Value:
    """Chung et al. 2014, arXiv:1412.3555: the GRU with its update gate turned, z takes the new."""
    r = sigmoid(linear(x, h))
    z = sigmoid(linear(x, h))
    n = tanh(linear(x, r * h))
    return (1 - z) * h + z * n


def mgu(x: Value, h: Value) -> Value:
    """Zhou et al. 2016, arXiv:1603.09420: the minimal gated unit, one gate in both places."""
    f = sigmoid(linear(x, h))
    n = tanh(linear(x, f * h))
    return (1 - f) * h + f * n


def mut1(x: Value, h: Value) -> Value:
    """MUT1 of Jozefowicz et al. 2015: the candidate adds tanh(x), so x has the hidden width."""
    z = sigmoid(linear(x))
    r = sigmoid(linear(x, h))
    return tanh(linear(r * h) + tanh(x)) * z + h * (1 - z)


def mut2(x: Value, h: Value) -> Value:
    """MUT2 of Jozefowicz et al. 2015: the reset gate adds x itself, so x has the hidden width."""
    z = sigmoid(linear(x, h))
    r = sigmoid(x + linear(h))
    return tanh(linear(r * h, x)) * z + h * (1 - z)


def mut3(x: Value, h: Value) -> Value:
    """MUT3 of Jozefowicz et al. 2015: the update gate reads tanh(h)."""
    z = sigmoid(linear(x, tanh(h)))
    r = sigmoid(linear(x, h))
    return tanh(linear(r * h, x)) * z + h * (1 - z)


def ugrnn(x: Value, h: Value) -> Value:
    """Collins, Sohl-Dickstein & Sussillo 2016, arXiv:1611.09913: the update gate RNN.

    The gate's bias starts at 0 (TensorFlow's starts at 1).
    """
    g = sigmoid(linear(x, h))
    c = tanh(linear(x, h))
    return g * h + (1 - g) * c


def janet(x: Value, h: Value) -> Value:
    """van der Westhuizen & Lasenby 2018, arXiv:1804.04849: an LSTM with the forget gate alone.

    The input gate is 1 - sigmoid(s - beta) with beta = 1, as in the paper.
    """
    s = linear(x, h)
    g = tanh(linear(x, h))
    return sigmoid(s) * h + (1 - sigmoid(s - 1)) * g


def mingru(x: Value, h: Value) -> Value:
    """Feng et al. 2024, arXiv:2410.01201: nothing but the blend reads the state, so it is a scan.

    The candidate passes through g(a) = a + 1/2 where a >= 0, else sigmoid(a), as in the log-space
    form.
    """
    z = sigmoid(linear(x))
    a = linear(x)
    g = relu(a) + sigmoid(-relu(-a))
    return (1 - z) * h + z * g
