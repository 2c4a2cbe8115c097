"""Cells that were found by a search."""

from nas.cell import Value, linear, relu, sigmoid, tanh

Pair = tuple[Value, Value]


def nas_cell(x: Value, h: Value, c: Value) -> Pair:
    """Zoph & Le 2017, arXiv:1611.01578, as the authors' NASCell of TensorFlow has it.

    Its fourth branch multiplies the maps of x and h, where torchrecurrent adds them. Biases stand
    beside the map of h, as in NASCell with use_bias.
    """
    tree_0 = tanh(sigmoid(linear(x, h)) * relu(linear(x, h)))
    tree_1 = tanh(sigmoid(linear(x, h)) + relu(linear(x, bias=None) * linear(h)))
    tree_2 = tanh(tanh(linear(x, h)) * sigmoid(linear(x, h)))
    tree_3 = sigmoid(tanh(linear(x, h)) + sigmoid(linear(x, h)))
    c = tanh(tree_0 + c) * tree_1
    return tanh(c * tanh(tree_2 + tree_3)), c


def nas_cell_projected(x: Value, h: Value, c: Value) -> Pair:
    """Zoph & Le 2017, NASCell with a projection of its output, here of the hidden width."""
    m, c = nas_cell(x, h, c)
    return linear(m, bias=None), c
