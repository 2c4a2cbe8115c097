"""What a cell costs for given sizes: parameters and floating-point operations."""

import math
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
    """Into how many equal blocks a node divides its features; 0 where it does not."""
    return int(dict(n.attrs).get("blocks") or 0)


def width_unit(cell: Graph) -> int:
    """The smallest width that can be divided into all blocks of a cell."""
    return math.lcm(*filter(None, map(_blocks, cell.nodes)))


def n_params(cell: Graph, input_size: int, hidden_size: int, *, bias: bool = True) -> int:
    """Number of learned values of one layer in one direction; masked-out entries do not count."""
    check_sizes(cell, input_size, hidden_size)
    total = 0
    for i in cell.live:
        n = cell.nodes[i]
        width = size(cell.widths[i], input_size, hidden_size)
        if n.op == "linear":
            total += width * sum(size(cell.widths[arg], input_size, hidden_size) for arg in n.args)
            total += width if bias and n.attr("bias") is not None else 0
        elif n.op in ("diagonal", "vector", "scalar"):
            total += width
        elif n.op in ("block_diagonal", "masked"):
            total += _block_entries(n.op, width, _blocks(n))
        elif n.op == "skew":
            total += width * width
    return total


def _block_entries(op: str, width: int, blocks: int) -> int:
    block = width // blocks
    kept = blocks if op == "block_diagonal" else blocks * (blocks + 1) // 2
    return kept * block * block


def flops(cell: Graph, input_size: int, hidden_size: int) -> float:
    """Floating-point operations of one forward step of one sequence: 2 for a multiply-add."""
    check_sizes(cell, input_size, hidden_size)
    total = 0.0
    for i in cell.live:
        n = cell.nodes[i]
        width = size(cell.widths[i], input_size, hidden_size)
        if n.op == "linear":
            total += (
                2 * width * sum(size(cell.widths[arg], input_size, hidden_size) for arg in n.args)
            )
        elif n.op in ("block_diagonal", "masked"):
            total += 2 * _block_entries(n.op, width, _blocks(n))
        elif n.op in ("skew", *FIXED):
            total += 2 * width * width
        elif n.op == "diagonal":
            total += width
        else:
            total += width * OPS[n.op].flops
    return total


def formula(cell: Graph) -> str:
    """The number of parameters as a polynomial in D, the input size, and H, the hidden size."""
    unit = width_unit(cell)

    def count(d: int, h: int) -> Fraction:
        return Fraction(n_params(cell, d * unit, h * unit))

    # Second and first differences of a polynomial of degree 2.
    both = Fraction(0)
    if cell.needs_equal_widths:  # D = H
        one, two, three = (count(k, k) for k in (1, 2, 3))
    else:
        one, two, three = (count(1, k) for k in (1, 2, 3))
        both = count(2, 2) - count(2, 1) - two + one
    square = (three - 2 * two + one) / 2
    single = two - one - 3 * square - both
    found = {"H²": square / unit**2, "D H": both / unit**2, "H": single / unit}
    if not cell.needs_equal_widths:
        square_d = (count(3, 1) - 2 * count(2, 1) + one) / 2
        single_d = count(2, 1) - one - 3 * square_d - both
        found |= {"D²": square_d / unit**2, "D": single_d / unit}
    else:
        square_d = single_d = Fraction(0)
    found[""] = one - square - single - both - square_d - single_d
    order = ("D²", "D H", "H²", "D", "H", "")
    terms = (_term(found[power], power) for power in order if found.get(power))
    return " + ".join(terms) or "0"


def _term(coefficient: Fraction, power: str) -> str:
    return power if coefficient == 1 and power else f"{coefficient} {power}".strip()
