"""Which values are whole numbers, and of which size their units are.

A value of exponent e is a whole number of 16 bits times 2^-e. In the formats `float32` and `int8`
all values are floats. In `int16x8` a value is a float where whole numbers cannot hold it: what only
the index of the step decides, since it grows without end; rows that are normalised or summed up;
what is infinite or very large; a function with a steep place that a table would smooth over.
"""

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from nas.cell.cell import Cell
from nas.cell.graph import Node
from nas.cell.ops import INPUTS, OPS
from nas.compile.reference import FUNCTIONS
from nas.export.c.depends import clocks, still
from nas.export.c.network import INPUT, MAPS, Network
from nas.export.c.ranges import Ranges
from nas.export.number_format import NumberFormat

NUMBER_FORMATS: tuple[NumberFormat, ...] = get_args(NumberFormat)
LARGEST = 2.0**20
"""Beyond it a value is a float."""
FINEST = 20
"""The largest exponent."""
MARGIN = 1.1
"""Room above the largest value that was seen."""
INTEGER = (
    *("linear", "block_diagonal", "masked", "skew", "diagonal", "add", "sub", "mul", "div"),
    *("max", "min", "blend", "neg", "tanh", "sigmoid", "relu", "abs", "square", "floor"),
)
"""Operations of whole numbers; other functions of one value are tables."""
PLACES = 257
"""Values of a table."""
SMOOTH = 2.0**-8
"""A table may differ from its function by this share of the largest value."""

Formats = dict[int, int | None]
"""The exponent of each node; None is a float."""


@dataclass(frozen=True)
class Table:
    """A function of one value as a table of values between which C interpolates."""

    values: NDArray[np.int16]
    error: float
    """The largest difference from the function within the range."""


def exponent(low: float, high: float) -> int | None:
    """The exponent of a range; None if whole numbers cannot hold it."""
    largest = MARGIN * max(abs(low), abs(high))
    if not largest < LARGEST:
        return None
    return min(FINEST, math.floor(math.log2(32767 / largest))) if largest else 15


def formats_of(network: Network, number_format: NumberFormat, ranges: Ranges) -> list[Formats]:
    """The formats of all nodes of each layer."""
    cell = network.cell
    if number_format != "int16x8":
        return [dict.fromkeys(cell.live) for _ in network.layers]
    layers = [_chosen(cell, ranges, place) for place in range(len(network.layers))]
    states = [i for i, n in enumerate(cell.nodes) if n.op == "state"]
    for i in states:  # one array of the layers' states has one type
        if any(formats[i] is None for formats in layers):
            for formats in layers:
                formats[i] = None
    for below, above in itertools.pairwise(layers):
        _hand_over(network, below, above)
    return layers


def _hand_over(network: Network, below: Formats, above: Formats) -> None:
    """Give what a layer reads the format in which the one below wrote it."""
    cell = network.cell
    verticals = [i for i, n in enumerate(cell.nodes) if n.op == "vertical"]
    for vertical in verticals:
        above[vertical] = below[vertical] if below[vertical] is not None else None
    if network.stacking == "plain":
        above[0] = output_format(cell, below)


def output_format(cell: Cell, formats: Formats) -> int | None:
    """The format of a layer's y, which is that of the first state where both are one."""
    if cell.y == cell.new_states[0]:
        return formats[next(i for i, n in enumerate(cell.nodes) if n.op == "state")]
    return formats[cell.y]


def input_exponent(ranges: Ranges) -> int | None:
    """The exponent of a trained model's normalised features."""
    return exponent(*ranges.found[INPUT, 0])


def _chosen(cell: Cell, ranges: Ranges, layer: int) -> Formats:
    """The formats of a layer's nodes, each after its arguments."""
    formats: Formats = {}
    news = dict(
        zip([i for i, n in enumerate(cell.nodes) if n.op == "state"], cell.new_states, strict=True)
    )
    verticals = [i for i, n in enumerate(cell.nodes) if n.op == "vertical"]
    news |= dict(zip(verticals, cell.new_verticals, strict=True))
    for i in sorted(cell.live):
        n = cell.nodes[i]
        low, high = ranges.found[layer, i]
        if i in news:  # a state and its new value
            after = ranges.found[layer, news[i]]
            low, high = min(low, after[0]), max(high, after[1])
        found = exponent(low, high)
        if i in clocks(cell):
            found = None
        elif n.op not in INPUTS and not _is_integer(cell, i, formats, ranges, layer):
            found = None
        formats[i] = 15 if found is not None and n.op in ("tanh", "sigmoid") else found
    for i in still(cell):
        readers = [k for k in cell.live if i in cell.nodes[k].args and k not in still(cell)]
        if any(formats[k] is None and cell.nodes[k].op not in MAPS for k in readers):
            formats[i] = None
    return formats


def _is_integer(
    cell: Cell, i: int, formats: Mapping[int, int | None], ranges: Ranges, layer: int
) -> bool:
    """Whether an operation is computed with whole numbers."""
    n = cell.nodes[i]
    if i in still(cell):
        return True
    floats = [arg for arg in n.args if formats[arg] is None]
    # A float makes a sum or product a float; a matrix rounds it, and so does what a clock meets.
    if n.op not in MAPS and not clocks(cell).issuperset(floats):
        return False
    if any(exponent(*ranges.found[layer, arg]) is None for arg in floats):
        return False
    if n.op in INTEGER:
        return True
    if OPS[n.op].kind != "elementwise" or len(n.args) != 1:
        return False
    low, high = ranges.found[layer, n.args[0]]
    taken, given = exponent(low, high), exponent(*ranges.found[layer, i])
    if taken is None or given is None:
        return False
    return table_of(n, taken, given, low, high).error <= SMOOTH * 2.0 ** (15 - given)


@functools.cache
def table_of(n: Node, taken: int, given: int, low: float, high: float) -> Table:
    """The table of a node's function, from an argument of exponent `taken` to a result of exponent
    `given`; beyond the range of the argument it goes on with the value at its end."""
    places = np.arange(PLACES, dtype=np.float64) * 256 - 32768
    room = 256 * 2.0**-taken  # the places around the range lie outside of it
    ends = low - room, high + room
    ends = ends if np.isfinite(_function(n, np.array(ends), *ends)).all() else (low, high)
    values = np.rint(_function(n, places * 2.0**-taken, *ends) * 2.0**given)
    kept = values.clip(-32767, 32767)
    asked: NDArray[np.float64] = low + (high - low) * np.arange(4097) / 4096
    found = np.interp(asked * 2.0**taken, places, kept) * 2.0**-given
    error = float(np.abs(found - _function(n, asked, low, high)).max())
    return Table(kept.astype(np.int16), error)


def _function(n: Node, values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    inside = torch.from_numpy(values.clip(low, high))
    found: NDArray[np.float64] = FUNCTIONS[n.op](inside, *(v for _, v in n.attrs)).numpy()
    return found
