"""Parameters and floating-point operations of a cell of given sizes."""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

from nas.cell.graph import Graph, Node, Width
from nas.cell.ops import FIXED, OPS
from nas.errors import CellError


def size(width: Width, input_size: int, hidden_size: int) -> int:
    """A symbolic width as a number of features."""
    if isinstance(width, int):
        return width
    return input_size if width == "input" else hidden_size


def check_sizes(cell: Graph, input_size: int, hidden_size: int) -> None:
    """Raise CellError if the cell cannot have these sizes."""
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
        if type(value) is not int or value < 1:
            raise CellError(f"{name} must be a positive whole number, got {value!r}.")
    if cell.needs_equal_widths and input_size != hidden_size:
        raise CellError(
            f"cell {cell.name} joins its input elementwise with hidden values, so input_size must "
            f"equal hidden_size, got {input_size} and {hidden_size}: put a torch.nn.Linear of that "
            "width before it."
        )
    for i, n in enumerate(cell.nodes):
        if blocks := _blocks(n):
            width = size(cell.widths[i], input_size, hidden_size)
            if width % blocks:
                raise CellError(
                    f"cell {cell.name}: {n.op} needs a width divisible by its {blocks} blocks, got "
                    f"{width}; choose another hidden_size."
                )


def _blocks(n: Node) -> int:
    """Number of equal blocks into which a node divides its features; 0 if it does not."""
    return int(dict(n.attrs).get("blocks") or 0)


def width_unit(cell: Graph) -> int:
    """The smallest width that can be divided into all blocks of a cell."""
    return math.lcm(*filter(None, map(_blocks, cell.nodes)))


def n_params(cell: Graph, input_size: int, hidden_size: int, *, bias: bool = True) -> int:
    """Number of learned values of one layer in one direction; masked-out entries do not count.

    Raises:
        CellError: if the cell cannot have these sizes.
    """
    total = 0
    for n, width, entries in _sizes(cell, input_size, hidden_size):
        if n.op not in FIXED:
            total += entries
        if n.op in ("diagonal", "vector", "scalar"):
            total += width
        elif n.op == "linear" and bias and n.attr("bias") is not None:
            total += width
    return total


def flops(cell: Graph, input_size: int, hidden_size: int) -> float:
    """Floating-point operations of one forward step of one sequence: 2 for a multiply-add.

    Raises:
        CellError: if the cell cannot have these sizes.
    """
    total = 0.0
    for n, width, entries in _sizes(cell, input_size, hidden_size):
        total += 2 * entries + width * (1 if n.op == "diagonal" else OPS[n.op].flops)
    return total


def macs(cell: Graph, input_size: int, hidden_size: int) -> int:
    """Multiply-adds of one forward step of one sequence: one for each entry of a matrix that is not
    masked out, and one for each feature that a learned vector multiplies.

    Raises:
        CellError: if the cell cannot have these sizes.
    """
    sizes = _sizes(cell, input_size, hidden_size)
    return sum(entries + (width if n.op == "diagonal" else 0) for n, width, entries in sizes)


def _sizes(cell: Graph, input_size: int, hidden_size: int) -> Iterator[tuple[Node, int, int]]:
    """Each live node, its width, and how many entries its matrices have that are not masked out."""
    check_sizes(cell, input_size, hidden_size)
    for i in cell.live:
        n, entries = cell.nodes[i], 0
        width = size(cell.widths[i], input_size, hidden_size)
        if n.op == "linear":
            entries = width * sum(size(cell.widths[a], input_size, hidden_size) for a in n.args)
        elif n.op in ("block_diagonal", "masked"):
            blocks = _blocks(n)
            kept = blocks if n.op == "block_diagonal" else blocks * (blocks + 1) // 2
            entries = kept * (width // blocks) ** 2
        elif n.op in ("skew", *FIXED):
            entries = width * width
        yield n, width, entries


def formula(cell: Graph) -> str:
    """The number of parameters as a polynomial in D, the input size, and H, the hidden size."""
    unit = width_unit(cell)

    def count(d: int, h: int) -> Fraction:
        return Fraction(n_params(cell, d * unit, h * unit))

    d_square = d_single = both = Fraction(0)
    if cell.needs_equal_widths:  # D = H
        h_square, h_single, rest = _quadratic(lambda k: count(k, k))
    else:
        both = count(2, 2) - count(2, 1) - count(1, 2) + count(1, 1)
        h_square, h_single, rest = _quadratic(lambda h: count(1, h))
        d_square, d_single, _ = _quadratic(lambda d: count(d, 1))
        h_single, d_single = h_single - both, d_single - both
        rest -= d_square + d_single
    coefficients = {
        "D²": d_square / unit**2,
        "D H": both / unit**2,
        "H²": h_square / unit**2,
        "D": d_single / unit,
        "H": h_single / unit,
        "": rest,
    }
    return " + ".join(_term(k, power) for power, k in coefficients.items() if k) or "0"


def _quadratic(f: Callable[[int], Fraction]) -> tuple[Fraction, Fraction, Fraction]:
    """The coefficients of k², k and 1 in a polynomial of degree 2, by its differences."""
    square = (f(3) - 2 * f(2) + f(1)) / 2
    single = f(2) - f(1) - 3 * square
    return square, single, f(1) - square - single


def _term(coefficient: Fraction, power: str) -> str:
    return power if coefficient == 1 and power else f"{coefficient} {power}".strip()
