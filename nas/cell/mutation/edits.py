"""Small changes of a cell that have words: `nas/zoo/nearest.py` looks for those between two cells.

To add one, write a generator of `Edit`s and a line in EDITS.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from nas.cell.cell import Cell
from nas.cell.describe import Names
from nas.cell.graph import Node, infer_widths, node
from nas.cell.ops import ACTIVATIONS, LEARNED, OPS, AttrValue
from nas.errors import CellError

COMBINATIONS = ("add", "sub", "mul", "div", "max", "min")


@dataclass(frozen=True)
class Edit:
    """A changed cell, and what is said of the change."""

    cell: Cell
    made: str
    """What the changed cell has that the first one has not: "no input gate"."""
    undone: str = ""
    """What the first cell has that the changed one has not; empty where `made` says as much."""


Changed = tuple[Cell | None, str, str]


def edits(cell: Cell, other: Cell) -> list[Edit]:
    """All edits of a cell that keep its widths sound; `other` says which operations may come in."""
    names = Names(cell)
    found: list[Edit] = []
    for kind in EDITS:
        for changed, made, undone in kind(cell, names, other):
            if changed is not None and _is_sound(changed):
                found.append(Edit(changed, made, undone))
    return found


def _is_sound(cell: Cell) -> bool:
    try:
        infer_widths(cell)
    except CellError:
        return False
    return True


# --- how a cell is changed ---


def _with_node(cell: Cell, i: int, new: Node) -> Cell:
    return replace(cell, nodes=(*cell.nodes[:i], new, *cell.nodes[i + 1 :]))


def _with_arg(cell: Cell, i: int, place: int, arg: int) -> Cell:
    n = cell.nodes[i]
    return _with_node(cell, i, replace(n, args=(*n.args[:place], arg, *n.args[place + 1 :])))


def _with_attr(cell: Cell, i: int, name: str, value: AttrValue) -> Cell:
    n = cell.nodes[i]
    attrs = tuple((key, value if key == name else old) for key, old in n.attrs)
    return _with_node(cell, i, replace(n, attrs=attrs))


def _instead(cell: Cell, old: int, new: int) -> Cell | None:
    """All that reads `old` reads `new`; None if some of it stands before `new`."""
    users = [i for i, n in enumerate(cell.nodes) if old in n.args]
    if any(user <= new for user in users):
        return None
    return _renumbered(cell, {old: new}, range(len(cell.nodes)))


def _renumbered(cell: Cell, moved: Mapping[int, int], users: range) -> Cell:
    nodes = list(cell.nodes)
    for i in users:
        nodes[i] = replace(nodes[i], args=tuple(moved.get(arg, arg) for arg in nodes[i].args))
    return replace(
        cell,
        nodes=tuple(nodes),
        y=moved.get(cell.y, cell.y),
        new_states=tuple(moved.get(i, i) for i in cell.new_states),
        new_verticals=tuple(moved.get(i, i) for i in cell.new_verticals),
    )


def _with_rest_of(cell: Cell, gate: int) -> tuple[Cell, int]:
    """The cell with 1 - gate right behind a gate, which nothing reads, and the place of that."""
    inserted = (node("constant", value=1.0), node("sub", gate + 1, gate))
    moved = {i: i + 2 for i in range(gate + 1, len(cell.nodes))}
    later = range(gate + 1, len(cell.nodes))
    shifted = _renumbered(cell, moved, later)
    nodes = (*shifted.nodes[: gate + 1], *inserted, *shifted.nodes[gate + 1 :])
    return replace(shifted, nodes=nodes), gate + 2


# --- the edits ---


def _live(cell: Cell, *ops: str) -> Iterator[tuple[int, Node]]:
    return ((i, n) for i, n in enumerate(cell.nodes) if i in cell.live and n.op in ops)


def factors(cell: Cell, names: Names, other: Cell) -> Iterator[Changed]:
    """A gate, or another factor, is left out."""
    for i, n in _live(cell, "mul"):
        for gone, kept in (n.args, n.args[::-1]):
            changed, value = _instead(cell, i, kept), names.value(kept)
            what, where = names.value(gone), names.where(i)
            if not names.is_gate(gone):
                yield changed, f"no factor {what} in {where}", f"a factor {what} in {where}"
            elif names.uses[gone] == 1:
                yield changed, f"no {what}", f"{what} on {value} is added"
            else:
                made = f"{where} takes {value} without {what}"
                yield changed, made, f"{where} takes {value} times {what}"


def functions(cell: Cell, names: Names, other: Cell) -> Iterator[Changed]:
    """A function of one argument is left out, or is another one."""
    there = {n.op for _, n in _live(other, *ACTIVATIONS)}
    for i, n in _live(cell, *ACTIVATIONS, "neg", "layer_norm", "rms_norm", "softmax"):
        of, where = names.value(n.args[0]), names.where(i)
        changed = _instead(cell, i, n.args[0])
        if names.is_layer(i):
            role = names.role(i)
            yield changed, f"{role} without {n.op}", f"{role} with {n.op}"
        else:
            made = f"{where} reads {of} instead of {n.op}({of})"
            yield changed, made, f"{where} reads {n.op}({of})"
        for op in sorted(there - {n.op}) if n.op in ACTIVATIONS else ():
            became = _with_node(cell, i, node(op, *n.args, name=n.name))
            what = names.role(i) if names.is_layer(i) else where
            yield became, f"{what} with {op} instead of {n.op}", ""


def addends(cell: Cell, names: Names, other: Cell) -> Iterator[Changed]:
    """A peephole, or another addend, is left out."""
    for i, n in _live(cell, "add", "sub"):
        sides = (n.args, n.args[::-1]) if n.op == "add" else ((n.args[1], n.args[0]),)
        for gone, kept in sides:
            changed, where = _instead(cell, i, kept), names.where(i)
            if cell.nodes[gone].op == "diagonal":
                seen = names.value(cell.nodes[gone].args[0])
                made = f"no peephole into {where}"
                yield changed, made, f"peephole from {seen} into {where}"
            else:
                verb = "add" if n.op == "add" else "subtract"
                made = f"{where} does not {verb} {names.value(gone)}"
                yield changed, made, f"{where} {verb}s {names.value(gone)}"


def combinations(cell: Cell, names: Names, other: Cell) -> Iterator[Changed]:
    """Another elementwise operation of two arguments."""
    there = {n.op for _, n in _live(other, *COMBINATIONS)}
    for i, n in _live(cell, *COMBINATIONS):
        for op in sorted(there - {n.op}):
            changed = _with_node(cell, i, node(op, *n.args, name=n.name))
            a, b = (names.value(arg) for arg in n.args)
            yield changed, f"{names.where(i)} takes {op} instead of {n.op} of {a} and {b}", ""


def reads(cell: Cell, names: Names, other: Cell) -> Iterator[Changed]:
    """A linear map reads less, or something else."""
    named = [k for k, n in enumerate(cell.nodes) if n.name]
    for i, n in _live(cell, *LEARNED):
        where = names.where(i)
        for place, arg in enumerate(n.args):
            what = names.value(arg)
            if len(n.args) > 1:
                fewer = replace(n, args=(*n.args[:place], *n.args[place + 1 :]))
                made = f"{where} does not read {what}"
                yield _with_node(cell, i, fewer), made, f"{where} also reads {what}"
            verb = "sees" if n.op == "diagonal" else "reads"
            for k in (k for k in named if k < i and k not in n.args):
                made = f"{where} {verb} {names.value(k)} instead of {what}"
                yield _with_arg(cell, i, place, k), made, ""


def beginnings(cell: Cell, names: Names, other: Cell) -> Iterator[Changed]:
    """Parameters or states begin otherwise."""
    there = {(n.op, key, value) for _, n in _live(other, *OPS) for key, value in n.attrs}
    for i, n in _live(cell, *LEARNED, "vector", "scalar", "state"):
        for key, value in n.attrs:
            for op, name, new in sorted(there, key=str):
                if (op, name) == (n.op, key) and new != value and name != "width":
                    shown = f"{new:g}" if isinstance(new, float) else str(new)
                    yield _with_attr(cell, i, key, new), names.beginning(i, key, shown), ""


def gates(cell: Cell, names: Names, other: Cell) -> Iterator[Changed]:
    """One gate for two, a gate that is one minus another, a gate that works the other way."""
    found = [i for i, _ in _live(cell, "sigmoid", "hard_sigmoid") if names.is_layer(i)]
    for i in found:
        shifted, rest = _with_rest_of(cell, i)
        users = [k for k, n in enumerate(shifted.nodes) if i in n.args and k != rest]
        nodes = list(shifted.nodes)
        for k in users:
            args = tuple(rest if arg == i else arg for arg in nodes[k].args)
            nodes[k] = replace(nodes[k], args=args)
        gate = names.role(i)
        short = cell.nodes[i].name or gate
        yield replace(shifted, nodes=tuple(nodes)), f"1 - {short} in place of {short}", ""
        for j in (j for j in found if j != i):
            two = f"{names.role(min(i, j))} and {names.role(max(i, j))}"
            if i < j:
                yield _instead(cell, j, i), f"one gate for {two}", f"{two} are two gates"
            after = j if j < i else j + 2
            coupled = _instead(shifted, after, rest)
            yield coupled, f"{names.role(j)} is 1 - {gate}", f"{names.role(j)} is not 1 - {gate}"


EDITS: tuple[Callable[[Cell, Names, Cell], Iterator[Changed]], ...] = (
    beginnings,
    factors,
    functions,
    addends,
    reads,
    gates,
    combinations,
)
