"""Recurrent networks without gates."""

from nas.cell import Value, diagonal, linear, relu, scalar, sigmoid, tanh, vector

Pair = tuple[Value, Value]


def rnn(x: Value, h: Value) -> Value:
    """Elman 1990, "Finding structure in time": torch.nn.RNN with tanh."""
    return tanh(linear(x, h))


def irnn(x: Value, h: Value) -> Value:
    """Le, Jaitly & Hinton 2015, arXiv:1504.00941: relu, the identity added to the recurrent matrix.

    The paper's recurrent matrix starts at the identity itself, here at the identity plus small
    random values; with other weights this is torch.nn.RNN with relu.
    """
    return relu(linear(x) + linear(h, eye=1, bias=None))


def jordan(x: Value, y: Value) -> Value:
    """Jordan 1986, "Serial order": the output of the network, not its hidden layer, is fed back.

    The hidden layer has tanh and the output layer, whose width is the state's, logistic units.
    """
    h = tanh(linear(x, y))
    return sigmoid(linear(h))


def leaky_rnn(x: Value, h: Value) -> Value:
    """Jaeger 2001, "The echo state approach", GMD report 148: leaky integrator units.

    The leak is 0.3, a constant. An echo state network is this cell with its matrices not trained
    (`requires_grad_(False)`) and a readout that is.
    """
    return 0.7 * h + 0.3 * tanh(linear(x, h))


def indrnn(x: Value, h: Value) -> Value:
    """Li et al. 2018, arXiv:1803.04831: each unit reads its own past alone, through relu."""
    return relu(linear(x) + diagonal(h))


def mrnn(x: Value, h: Value) -> Value:
    """Sutskever, Martens & Hinton 2011: the input chooses the recurrent matrix, by factors.

    As many factors as hidden units.
    """
    f = linear(x, bias=None) * linear(h, bias=None)
    return tanh(linear(x, f))


def mi_rnn(x: Value, h: Value) -> Value:
    """Wu et al. 2016, arXiv:1606.06630: multiplicative integration of input and state.

    The vectors alpha, beta1 and beta2 start at 1 (the paper's values differ by experiment).
    """
    a = linear(x, bias=None)
    b = linear(h, bias=None)
    return tanh(diagonal(a * b, init=1) + diagonal(b, init=1) + diagonal(a, init=1) + vector())


def scrn(x: Value, h: Value, s: Value) -> tuple[Value, Value, Value]:
    """Mikolov et al. 2014, arXiv:1412.7753: slowly changing context units s beside a hidden layer.

    alpha is 0.95. The paper's softmax over y is left to what reads it; its biases are h's and y's.
    """
    s = 0.05 * linear(x, bias=None) + 0.95 * s
    h = sigmoid(linear(s, x, h))
    y = linear(h, s)
    return y, h, s


def fastrnn(x: Value, h: Value) -> Value:
    """Kusupati et al. 2018, arXiv:1901.02358: FastRNN, a residual with two learned weights.

    The weights are sigmoids that start at -3 and 3, as in the authors' EdgeML.
    """
    n = tanh(linear(x, h))
    return sigmoid(scalar(init=-3)) * n + sigmoid(scalar(init=3)) * h
