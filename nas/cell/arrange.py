"""From loose nodes to a cell: names where the text needs them, nodes in the order of the text.

Every way to make a cell (tracing, text, JSON, mutation) ends here, so that equal cells are equal
values and text -> cell -> text is exact.
"""

import keyword
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace

from nas.cell.graph import AnyGraph, Node, returned, uses
from nas.cell.ops import INPUTS, OPS, WIDTHS
from nas.cell.verify import verify, verify_structure

RESERVED = frozenset({*OPS, *WIDTHS, *keyword.kwlist, "inf"})
DEEPEST = 40
"""Most operations nested in one line of text; Python's parser gives up at 200 brackets."""


def arrange(cell: AnyGraph) -> AnyGraph:
    """Return the verified cell with its nodes in the order of its text.

    Unnamed nodes that nothing uses are dropped, constants are folded into their sign, values that
    are used more than once or nested too deeply get a name, and a name that is taken gets a suffix.

    Raises:
        CellError: if the cell breaks a rule of `verify`.
    """
    verify_structure(cell)
    cell = replace(cell, doc=_clean(cell.doc))
    named = _with_names(_with_signed_constants(cell))
    order = _text_order(named)
    place = {old: new for new, old in enumerate(order)}
    nodes = tuple(named.nodes[old].moved(place) for old in order)
    moved = replace(
        named,
        nodes=nodes,
        y=place[named.y],
        new_states=tuple(place[i] for i in named.new_states),
        new_verticals=tuple(place[i] for i in named.new_verticals),
    )
    return verify(moved)


def _clean(doc: str) -> str:
    """A docstring that the text can hold: printable, without common indentation or blank ends."""
    printable = "".join(c for c in doc.expandtabs() if c.isprintable() or c == "\n")
    first, *rest = printable.strip().split("\n")
    dedented = textwrap.dedent("\n".join(rest)).split("\n") if rest else []
    return "\n".join(line.rstrip() for line in (first, *dedented))


def _with_signed_constants(cell: AnyGraph) -> AnyGraph:
    """Write the negative of a constant as a constant, as the text does."""
    nodes = list(cell.nodes)
    for i, n in enumerate(nodes):
        if n.op == "neg":
            arg = nodes[n.args[0]]
            if arg.op == "constant" and not arg.name:
                nodes[i] = replace(arg, attrs=(("value", -arg.number("value")),), name=n.name)
    return replace(cell, nodes=tuple(nodes))


def _with_names(cell: AnyGraph) -> AnyGraph:
    counts = uses(cell)
    taken: set[str] = set()
    nodes, depths = list[Node](), list[int]()
    for n, count in zip(cell.nodes, counts, strict=True):
        name, depth = n.name, 1 + max((depths[arg] for arg in n.args), default=0)
        if name or count > 1 or depth > DEEPEST:
            name = free_name(name or "v1", taken, is_input=n.op in INPUTS)
            taken.add(name)
        nodes.append(n if n.name == name else replace(n, name=name))
        depths.append(0 if name else depth)
    return replace(cell, nodes=tuple(nodes))


def free_name(wish: str, taken: Iterable[str], *, is_input: bool = False) -> str:
    """`wish` if it is free; else h becomes h_new, h_new2, … and v1 becomes v2, v3, …"""
    used = set(taken)
    wish = wish.strip("_") or "v1"
    if wish[0].isdigit():
        wish = f"v{wish}"
    if wish in RESERVED:
        wish += "_value"
    if wish not in used:
        return wish
    stem, start = (wish, 2) if is_input else (f"{wish}_new", 1)
    if wish[:1] == "v" and wish[1:].isdigit():
        stem, start = "v", 1
    candidates = (f"{stem}{n if n > 1 or stem == 'v' else ''}" for n in range(start, len(used) + 3))
    return next(name for name in candidates if name not in used)


def _text_order(cell: AnyGraph) -> Sequence[int]:
    """Inputs, then each named node after the unnamed ones in its line, then the returned ones."""
    order: list[int] = []
    visited: set[int] = set()

    def emit(root: int) -> None:
        stack = [(root, False)]
        while stack:
            index, ready = stack.pop()
            if ready:
                order.append(index)
            elif index not in visited:
                visited.add(index)
                stack.append((index, True))
                stack.extend((arg, False) for arg in reversed(cell.nodes[index].args))

    for index, n in enumerate(cell.nodes):
        if n.op in INPUTS:
            emit(index)
    for index, n in enumerate(cell.nodes):
        if n.name:
            emit(index)
    for out in returned(cell):
        emit(out)
    return order
