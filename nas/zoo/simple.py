"""Recurrent networks without gates."""

from nas.cell import Value, linear, relu, tanh


def rnn(x: Value, h: Value) -> Value:
    """Elman 1990, "Finding structure in time": torch.nn.RNN with tanh."""
    return tanh(linear(x, h))


def irnn(x: Value, h: Value) -> Value:
    """Le, Jaitly & Hinton 2015, arXiv:1504.00941: relu, the identity added to the recurrent matrix.

    The paper's recurrent matrix starts at the identity itself, here at the identity plus small
    random values; with other weights this is torch.nn.RNN with relu.
    """
    return relu(linear(x) + linear(h, eye=1, bias=None))
