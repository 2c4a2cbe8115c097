"""Cells with an order inside: depth within a step, clocks, nested memories, layers that exchange
more than their output.
"""

from nas.cell import (
    Value,
    cumsum,
    diagonal,
    exp,
    floor,
    linear,
    masked,
    minimum,
    sigmoid,
    softmax,
    step,
    tanh,
    unit,
)
from nas.zoo.lstm import lstm

Pair = tuple[Value, Value]
Three = tuple[Value, Value, Value]


def rhn_2_carry(x: Value, h: Value) -> Value:
    """Zilly et al. 2017, arXiv:1607.03474: recurrent highway network of depth 2, three gates.

    The carry gate is one of its own, where `rhn_2` has 1 - t as most of the paper's experiments.
    """
    s = tanh(linear(x, h)) * sigmoid(linear(x, h)) + h * sigmoid(linear(x, h))
    return tanh(linear(s)) * sigmoid(linear(s)) + s * sigmoid(linear(s))


def clockwork_rnn(x: Value, h: Value) -> Value:
    """Koutnik et al. 2014, arXiv:1402.3511: four groups of units with the periods 1, 2, 4 and 8.

    A group is updated at steps that its period divides, and reads groups that are as slow or
    slower: a block-triangular matrix.
    """
    period = floor(exp(0.6931471805599453 * unit(blocks=4)) + 0.5)  # 2 to the power of the group
    turns = step() / period
    idle = minimum(period * (turns - floor(turns)), 1)
    return idle * h + (1 - idle) * tanh(linear(x) + masked(h))


def nested_lstm(x: Value, h: Value, c: Value, inner: Value) -> Three:
    """Moniz & Krueger 2017, arXiv:1801.10308: the cell state is the output of an inner LSTM."""
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    c, inner = lstm(i * g, f * c, inner)
    return o * tanh(c), c, inner


def on_lstm(x: Value, h: Value, c: Value) -> Pair:
    """Shen et al. 2019, arXiv:1810.09536: ordered neurons, that are forgotten from one end on.

    Master gates have a value for each unit (the paper's chunks are of one unit here).
    """
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    master_f = cumsum(softmax(linear(x, h)))
    master_i = 1 - cumsum(softmax(linear(x, h)))
    overlap = master_f * master_i
    keep = f * overlap + (master_f - overlap)
    write = i * overlap + (master_i - overlap)
    c = keep * c + write * g
    return o * tanh(c), c


def fast_slow_lstm(
    x: Value, h: Value, c: Value, slow_h: Value, slow_c: Value
) -> tuple[Value, Value, Value, Value]:
    """Mujika, Meier & Steger 2017, arXiv:1705.08639, FS-LSTM-2: two fast LSTMs, one slow between.

    The state of the fast cells goes from one to the next; the second reads the slow one as input.
    Without the layer normalisation and zoneout of the paper's experiments.
    """
    h, c = lstm(x, h, c)
    slow_h, slow_c = lstm(h, slow_h, slow_c)
    h, c = lstm(slow_h, h, c)
    return h, c, slow_h, slow_c


def depth_gated_lstm(x: Value, h: Value, c: Value, *, below: Value) -> Three:
    """Yao et al. 2015, arXiv:1508.03790: a gate lets the memory of the layer below in.

    The memory below is that of the same step; below the first layer it is 0. With peepholes.
    """
    i = sigmoid(linear(x, h) + diagonal(c))
    f = sigmoid(linear(x, h) + diagonal(c))
    d = sigmoid(linear(x) + diagonal(c) + diagonal(below))
    c = d * below + f * c + i * tanh(linear(x, h))
    o = sigmoid(linear(x, h) + diagonal(c))
    return o * tanh(c), c, c


def grid_lstm(x: Value, h: Value, c: Value, *, deep: Value) -> tuple[Value, Value, Value, Value]:
    """Kalchbrenner, Danihelka & Graves 2015, arXiv:1507.01526: an LSTM in time and one in depth.

    Both read x, which is the depth's h from the layer below, and h; each has its memory: c through
    time, and one through the layers, which is 0 below the first. An output is tanh(o * c).
    """
    new_h, new_c = _grid(x, h, c)
    up, new_deep = _grid(x, h, deep)
    return up, new_h, new_c, new_deep


def _grid(x: Value, h: Value, c: Value) -> Pair:
    u = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    o = sigmoid(linear(x, h))
    c = f * c + u * tanh(linear(x, h))
    return tanh(o * c), c
