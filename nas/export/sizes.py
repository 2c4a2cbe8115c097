"""Small sizes that a cell can have, alone and in a stack."""

from nas.cell.cell import Cell
from nas.cell.count import check_sizes, size
from nas.errors import CellError

LARGEST = 64
"""Most features of a small tensor."""


def small_sizes(cell: Cell) -> tuple[int, int]:
    """Small sizes of the input and the hidden values that the cell can have.

    Raises:
        CellError: if there are none.
    """
    for hidden in range(3, LARGEST + 1):
        for n_inputs in (hidden,) if cell.needs_equal_widths else (hidden - 1, *range(1, LARGEST)):
            try:
                check_sizes(cell, n_inputs, hidden)
            except CellError:
                continue
            return n_inputs, hidden
    raise CellError(f"cell {cell.name}: no widths up to {LARGEST} fit its blocks.")


def fits(cell: Cell, sizes: tuple[int, int], num_layers: int, directions: int) -> bool:
    """Whether a stack can have these sizes."""
    widths = [sizes[0]]
    for _ in range(num_layers - 1):
        widths.append(directions * size(cell.widths[cell.y], widths[-1], sizes[1]))
    states = {tuple(size(s.width, width, sizes[1]) for s in cell.states) for width in widths}
    try:
        for width in widths:
            check_sizes(cell, width, sizes[1])
    except CellError:
        return False
    return len(states) == 1
