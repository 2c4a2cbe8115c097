"""Small changes of a cell, described in words: `nas/zoo/nearest.py` explains differences by them.

To add one, write a generator of `Edit`s and a line in EDITS. `Names` has the names of values in a
sentence: "forget gate", "candidate", "the new c".
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from nas.cell.cell import Cell
from nas.cell.graph import Node, infer_widths, node, uses
from nas.cell.ops import ACTIVATIONS, GATES, INPUTS, LEARNED, OPS, AttrValue
from nas.cell.text import expression
from nas.errors import CellError

COMBINATIONS = ("add", "sub", "mul", "div", "max", "min")
GATE_NAMES = {
    "i": "input gate",
    "f": "forget gate",
    "o": "output gate",
    "r": "reset gate",
    "z": "update gate",
}
CANDIDATES = ("g", "n", "c", "")
"""Names of candidates in the literature; "" is one without a name."""
LONGEST = 40
"""Most characters of an expression in a sentence."""


@dataclass(frozen=True)
class Edit:
    """A changed cell, and the change in words."""

    cell: Cell
    made: str
    """The change in words: "no input gate"."""
    undone: str = ""
    """The opposite change in words: "input gate on g is added"; empty where it has none."""


Changed = tuple[Cell | None, str, str]
"""The fields of an edit; no cell if the change is impossible."""


def edits(cell: Cell, other: Cell) -> list[Edit]:
    """All edits of a cell that keep its widths sound; new operations are taken from `other`."""
    names = Names(cell)
    return [
        Edit(changed, made, undone)
        for kind in EDITS
        for changed, made, undone in kind(cell, names, other)
        if changed is not None and _is_sound(changed)
    ]


def _is_sound(cell: Cell) -> bool:
    try:
        infer_widths(cell)
    except CellError:
        return False
    return True


# --- names in a sentence ---


class Names:
    """Names for the values of one cell."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.uses = uses(cell)
        self.users: dict[int, int] = {}
        for k in sorted(cell.live):
            for arg in cell.nodes[k].args:
                self.users[arg] = k
        self.state_of: dict[int, str] = {}
        for state, new in zip(cell.states, cell.new_states, strict=True):
            self.state_of.setdefault(new, state.name)

    def is_maps(self, i: int) -> bool:
        """Whether a value is a sum in which there is a matrix."""
        n = self.cell.nodes[i]
        if n.op == "add":
            return any(self.is_maps(arg) for arg in n.args)
        return n.op in ("linear", "block_diagonal", "masked", "skew")

    def is_layer(self, i: int) -> bool:
        """Whether a value is an activation of such a sum."""
        n = self.cell.nodes[i]
        return n.op in ACTIVATIONS and self.is_maps(n.args[0])

    def is_gate(self, i: int) -> bool:
        """Whether a value is a sigmoid, or one minus a gate."""
        n = self.cell.nodes[i]
        if n.op == "sub":
            return self.cell.nodes[n.args[0]].op == "constant" and self.is_gate(n.args[1])
        return n.op in GATES

    def role(self, i: int) -> str:
        """The name of a gate or a candidate: "forget gate"."""
        n = self.cell.nodes[i]
        if i in self.state_of and n.name not in GATE_NAMES:
            name = self.state_of[i]
            return GATE_NAMES.get(name, f"the new {name}")
        if n.op in GATES:
            return GATE_NAMES.get(n.name, f"gate {n.name}" if n.name else "a gate")
        return "candidate" if n.name in CANDIDATES else n.name

    def value(self, i: int) -> str:
        """The name of a value in a sentence about its readers."""
        n = self.cell.nodes[i]
        if n.op in INPUTS:
            return n.name
        if self.is_layer(i):
            return self.role(i)
        if i in self.state_of:
            return f"the new {self.state_of[i]}"
        if n.op == "sub" and self.is_gate(i):
            return f"1 - {self.value(n.args[1])}"
        text = expression(self.cell, i)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"

    def where(self, i: int) -> str:
        """The name of the gate, candidate, line or new state in which a value is written."""
        while not (self.is_layer(i) or i in self.state_of or self.cell.nodes[i].name):
            if i not in self.users:
                return "the output"
            i = self.users[i]
        if self.is_layer(i):
            return self.role(i)
        return f"the new {self.state_of[i]}" if i in self.state_of else self.cell.nodes[i].name

    def beginning(self, i: int, key: str, value: str) -> str:
        """A sentence about the initial value of a parameter or state."""
        n, where = self.cell.nodes[i], self.where(i)
        if n.op == "state":
            return f"state {n.name} starts at {value}"
        if key == "bias":
            without = value == "None"
            return f"{where} {'without bias' if without else f'with a bias that starts at {value}'}"
        if key == "eye":
            read = ", ".join(self.value(arg) for arg in n.args)
            return f"{where}: {value} times the identity added to the matrix of {read} at the start"
        return f"{where}: {key} of {n.op} is {value}"


# --- how a cell is changed ---


def _with_node(cell: Cell, i: int, new: Node) -> Cell:
    return replace(cell, nodes=(*cell.nodes[:i], new, *cell.nodes[i + 1 :]))


def _with_attr(cell: Cell, i: int, name: str, value: AttrValue) -> Cell:
    n = cell.nodes[i]
    attrs = tuple((key, value if key == name else old) for key, old in n.attrs)
    return _with_node(cell, i, replace(n, attrs=attrs))


def _instead(cell: Cell, old: int, new: int) -> Cell | None:
    """The cell whose readers of `old` read `new`; None if one of them stands before `new`."""
    users = [i for i, n in enumerate(cell.nodes) if old in n.args]
    if any(user <= new for user in users):
        return None
    return _renumbered(cell, {old: new}, range(len(cell.nodes)))


def _renumbered(cell: Cell, moved: Mapping[int, int], users: range) -> Cell:
    nodes = list(cell.nodes)
    for i in users:
        nodes[i] = nodes[i].moved(moved)
    return replace(
        cell,
        nodes=tuple(nodes),
        y=moved.get(cell.y, cell.y),
        new_states=tuple(moved.get(i, i) for i in cell.new_states),
        new_verticals=tuple(moved.get(i, i) for i in cell.new_verticals),
    )


def _with_rest_of(cell: Cell, gate: int) -> tuple[Cell, int]:
    """The cell with an unread 1 - gate right behind a gate, and the place of the new node."""
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
                state = names.value(cell.nodes[gone].args[0])
                made = f"no peephole into {where}"
                yield changed, made, f"peephole from {state} into {where}"
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
                yield _with_node(cell, i, n.with_arg(place, k)), made, ""


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
    layers = [i for i, _ in _live(cell, *GATES) if names.is_layer(i)]
    for i in layers:
        shifted, rest = _with_rest_of(cell, i)
        users = [k for k, n in enumerate(shifted.nodes) if i in n.args and k != rest]
        nodes = list(shifted.nodes)
        for k in users:
            nodes[k] = nodes[k].moved({i: rest})
        gate = names.role(i)
        short = cell.nodes[i].name or gate
        yield replace(shifted, nodes=tuple(nodes)), f"1 - {short} in place of {short}", ""
        for j in (j for j in layers if j != i):
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
