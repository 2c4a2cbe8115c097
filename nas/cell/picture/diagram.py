"""A cell as the parts of a picture, in the tradition of Olah 2015, "Understanding LSTM Networks".

A learned layer, which is a sum of linear maps and what is applied to it, is one part: a box. What
it reads flows together before it: a merge, shared by all layers that read the same. Every other
operation is a point. `layout.py` places the parts, `drawing.py` draws them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nas.cell.graph import Graph, Node
from nas.cell.ops import ACTIVATIONS, INPUTS, OPS

PartKind = Literal["input", "leaf", "layer", "point", "merge", "output"]

SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "max": "max ", "min": "min "}
NAMES = {
    "sigmoid": "σ",
    "neg": "−",
    "leaky_relu": "leaky",
    "hard_sigmoid": "hard σ",
    "abs": "|·|",
    "sqrt": "√",
    "square": "( )²",
    "layer_norm": "layer norm",
    "rms_norm": "rms norm",
    "linear": "W",
    "diagonal": "diag",
    "block_diagonal": "W blocks",
    "vector": "vector",
    "scalar": "scalar",
    "step": "t",
    "unit": "k",
    "floor": "⌊ ⌋",
    "cumsum": "Σ",
    "skew": "W skew",
}
"""Names of operations in a picture, where they are not those of the text."""


@dataclass(frozen=True)
class Wire:
    """A connection from a part to its reader."""

    source: int
    """Index of the part whose value it is."""
    elementwise: bool = False
    """Whether a learned vector is multiplied with it on the way: a peephole."""
    mark: str = ""
    """Sign at its end: "−" at what is subtracted, "÷" at what is divided by."""


@dataclass(frozen=True)
class Part:
    """One thing that is drawn; its wires come from parts before it."""

    kind: PartKind
    label: str
    wires: tuple[Wire, ...] = ()
    name: str = ""
    """Name of the line of the cell's text that has its value."""
    note: str = ""
    """Initial values of its parameters, where they are not the usual ones."""
    port: str = ""
    """Which input or output it is: "x", "y", "state 0", "vertical 0", …; else empty."""
    nodes: tuple[int, ...] = ()
    """The nodes of the cell that it draws; of an output, the one whose value leaves."""


def parts_of(cell: Graph) -> tuple[Part, ...]:
    """The parts of a cell: its inputs, what it computes, its outputs."""
    return _Diagram(cell).all_parts()


def _uses(cell: Graph) -> list[int]:
    """The number of times that live nodes and outputs read each node."""
    counts = [0] * len(cell.nodes)
    for i in cell.live:
        for arg in cell.nodes[i].args:
            counts[arg] += 1
    for out in cell.outputs:
        counts[out] += 1
    return counts


class _Diagram:
    """The parts of a cell, collected in the order in which they read one another."""

    def __init__(self, cell: Graph) -> None:
        self.cell = cell
        self.uses = _uses(cell)
        states = zip(cell.new_states, cell.states, strict=True)
        self.new = {new: state.name for new, state in states}
        """States by the nodes of their new values."""
        self.maps: dict[int, tuple[int, ...]] = {}
        """The linear maps of each node that is a layer."""
        self.drawn_in: dict[int, tuple[int, ...]] = {}
        """The nodes of each layer."""
        self.parts: list[Part] = []
        self.part_of: dict[int, int] = {}
        """The part of each node that has one."""
        self.merges: dict[tuple[int, ...], int] = {}

    def all_parts(self) -> tuple[Part, ...]:
        inner = self._layers()
        for i, n in enumerate(self.cell.nodes):
            if n.op in INPUTS:
                self.part_of[i] = self._add(self._input(i, n))
        live = [i for i in sorted(self.cell.live) if i not in self.part_of and i not in inner]
        self._merge_inputs(live)
        for i in live:
            if self.cell.nodes[i].op != "constant":
                self.part_of[i] = self._layer(i) if i in self.maps else self._point(i)
        self._outputs()
        return tuple(self.parts)

    def _add(self, part: Part) -> int:
        self.parts.append(part)
        return len(self.parts) - 1

    def _input(self, i: int, n: Node) -> Part:
        count = sum(part.port.startswith(n.op) for part in self.parts)
        port = "x" if n.op == "input" else f"{n.op} {count}"
        return Part("input", n.name, port=port, nodes=(i,))

    # layers

    def _layers(self) -> set[int]:
        """Find the layers; return the nodes that are drawn inside a layer."""
        inner: set[int] = set()
        for i in sorted(self.cell.live, reverse=True):
            n = self.cell.nodes[i]
            if i in inner:
                continue
            root = i
            if n.op in ACTIVATIONS and self.uses[n.args[0]] == 1:
                root = n.args[0]
            maps = self._sum_of_maps(root)
            if maps:
                self.maps[i] = tuple(maps)
                inside = self._inside(root) | ({root} - {i})
                self.drawn_in[i] = (i, *sorted(inside))
                inner |= inside
        return inner

    def _sum_of_maps(self, i: int) -> list[int]:
        """The linear maps whose sum is a value; empty if it is anything else."""
        n = self.cell.nodes[i]
        if n.op in ("linear", "diagonal"):
            return [i]
        if n.op != "add" or any(self.uses[arg] > 1 for arg in n.args):
            return []
        sides = [self._sum_of_maps(arg) for arg in n.args]
        return sides[0] + sides[1] if all(sides) else []

    def _inside(self, i: int) -> set[int]:
        """The nodes below the top of a sum of maps."""
        if self.cell.nodes[i].op != "add":
            return set()
        args = set(self.cell.nodes[i].args)
        return args.union(*(self._inside(arg) for arg in args))

    def _dense(self, i: int) -> tuple[int, ...]:
        """The nodes that the matrices of a layer read, each once."""
        maps = (self.cell.nodes[m] for m in self.maps[i])
        return tuple(sorted({arg for m in maps if m.op == "linear" for arg in m.args}))

    def _merge_inputs(self, live: Sequence[int]) -> None:
        """Add the merges of inputs alone, small ones first."""
        read = {self._dense(i) for i in live if i in self.maps} - {()}  # () of diagonals
        for wanted in sorted(read, key=lambda nodes: (len(nodes), nodes)):
            if all(node in self.part_of for node in wanted):
                self._merged(wanted)

    def _merged(self, nodes: tuple[int, ...]) -> int:
        """The part that merges the values of these nodes."""
        if len(nodes) == 1:
            return self._value(nodes[0])
        if nodes not in self.merges:
            known = [m for m in self.merges if set(m) < set(nodes)]
            first = max(known, key=len, default=())
            sources = [self.merges[first]] if first else []
            sources += [self._value(i) for i in nodes if i not in first]
            self.merges[nodes] = self._add(Part("merge", "", tuple(map(Wire, sources))))
        return self.merges[nodes]

    def _layer(self, i: int) -> int:
        n, maps = self.cell.nodes[i], [self.cell.nodes[m] for m in self.maps[i]]
        label = n.op if n.op in ACTIVATIONS else "linear" if self._dense(i) else "diagonal"
        dense = self._dense(i)
        wires = [Wire(self._merged(dense))] if dense else []
        wires += [Wire(self._value(m.args[0]), True) for m in maps if m.op == "diagonal"]
        note = _note([m for m in maps if m.op == "linear"])
        label, name = NAMES.get(label, label), self._name(i)
        return self._add(Part("layer", label, tuple(wires), name, note, nodes=self.drawn_in[i]))

    def _name(self, i: int) -> str:
        return self.new.get(i, self.cell.nodes[i].name)

    # everything else

    def _value(self, i: int) -> int:
        """The part of a node; a constant that stands in no operation's label becomes a leaf."""
        if i not in self.part_of:
            value = self.cell.nodes[i].number("value")
            self.part_of[i] = self._add(Part("leaf", f"{value:g}", nodes=(i,)))
        return self.part_of[i]

    def _point(self, i: int) -> int:
        n = self.cell.nodes[i]
        if n.op == "blend":
            gate, *others = n.args
            rest = self._add(Part("point", "1−", (Wire(self._value(gate)),), nodes=(i,)))
            sides = zip((self._value(gate), rest), others, strict=True)
            products = [
                self._add(Part("point", "×", (Wire(factor), Wire(self._value(other))), nodes=(i,)))
                for factor, other in sides
            ]
            return self._add(Part("point", "+", tuple(map(Wire, products)), n.name, nodes=(i,)))
        if OPS[n.op].arity == 2:
            return self._add(self._binary(i, n))
        wires = tuple(Wire(self._value(arg)) for arg in n.args)
        label = NAMES.get(n.op, n.op)
        if n.op == "masked":
            label = "W upper" if n.attr("mask") == "block_upper" else "W lower"
        if not n.args:
            return self._add(Part("leaf", label, wires, n.name, _note([n]), nodes=(i,)))
        kind: PartKind = "layer" if OPS[n.op].kind == "learned" else "point"
        return self._add(Part(kind, label, wires, n.name, nodes=(i,)))

    def _binary(self, i: int, n: Node) -> Part:
        sign, (a, b) = SIGNS[n.op], n.args
        first, second = (self.cell.nodes[arg] for arg in n.args)
        if second.op == "constant":
            label = f"{sign}{_number(second)}"
            return Part("point", label, (Wire(self._value(a)),), n.name, nodes=(i, b))
        if first.op == "constant":
            number = _number(first)
            ordered = n.op in ("sub", "div")
            label = f"{number}{sign}" if ordered else f"{sign}{number}"
            return Part("point", label, (Wire(self._value(b)),), n.name, nodes=(i, a))
        mark = sign if n.op in ("sub", "div") else ""
        wires = (Wire(self._value(a)), Wire(self._value(b), mark=mark))
        return Part("point", sign.strip(), wires, n.name, nodes=(i,))

    def _outputs(self) -> None:
        cell = self.cell
        states = list(zip((state.name for state in cell.states), cell.new_states, strict=True))
        verticals = zip(cell.verticals, cell.new_verticals, strict=True)
        y = next((name for name, new in states if new == cell.y), "y")
        outputs = [(f"state {k}", name, new) for k, (name, new) in enumerate(states)]
        outputs += [(f"vertical {k}", name, new) for k, (name, new) in enumerate(verticals)]
        for port, label, new in (*outputs, ("y", y, cell.y)):
            self._add(Part("output", label, (Wire(self._value(new)),), port=port, nodes=(new,)))


def _number(n: Node) -> str:
    return f"{n.number('value'):g}".replace("-", "−")


def _note(maps: Sequence[Node]) -> str:
    """The initial values of the parameters of these maps, where they are not 0."""
    notes = []
    bias = sum(m.number("bias") for m in maps if m.op == "linear" and m.attr("bias") is not None)
    bias += sum(m.number("init") for m in maps if m.op in ("vector", "scalar"))
    eye = sum(m.number("eye") for m in maps if m.op == "linear")
    if bias:
        notes.append(f"{'bias' if maps[0].op == 'linear' else 'at'} {bias:g}".replace("-", "−"))
    if eye:
        notes.append("+ I" if eye == 1 else f"+ {eye:g} I".replace("-", "−"))
    widths = {m.attr("width") for m in maps if m.op == "linear"} - {"hidden"}
    notes += [f"width {width}" for width in sorted(widths, key=str)]
    return ", ".join(notes)
