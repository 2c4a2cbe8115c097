"""On what a node's value depends: on learned values alone, or on the index of the step."""

import functools

from nas.cell.cell import Cell
from nas.cell.ops import INPUTS


@functools.cache
def still(cell: Cell) -> frozenset[int]:
    """The nodes that learned values decide alone."""
    found = set[int]()
    for i, n in enumerate(cell.nodes):
        if n.op not in (*INPUTS, "step") and all(arg in found for arg in n.args):
            found.add(i)
    return frozenset(found & cell.live)


@functools.cache
def clocks(cell: Cell) -> frozenset[int]:
    """The nodes that the index of the step decides, with learned values."""
    found = set[int]()
    for i, n in enumerate(cell.nodes):
        moves = n.op == "step" or any(arg in found for arg in n.args)
        if moves and all(arg in found | still(cell) for arg in n.args):
            found.add(i)
    return frozenset(found & cell.live)
