"""The graph of a cell: one time step of a recurrent network, immutable, flat and ordered.

Nodes 0 … are the inputs (`x`, then the states of the previous step, then values from the layer
below); every other node names earlier nodes as its arguments, so a cell cannot hold a cycle. A node
with a name is a line of the cell's text; one without is written inside the line that uses it.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Self, TypeVar

from nas.cell.ops import INPUTS, LEARNED, OPS, AttrValue
from nas.errors import CellError

T = TypeVar("T", bound=Hashable)
Width = str | int
"""Number of features of a value: "input" (as many as x has), "hidden", or a number."""


@dataclass(frozen=True)
class Node:
    """One operation: `args` are indices of earlier nodes, `attrs` all attributes in table order."""

    op: str
    args: tuple[int, ...] = ()
    attrs: tuple[tuple[str, AttrValue], ...] = ()
    name: str = ""

    def attr(self, name: str) -> AttrValue:
        for key, value in self.attrs:  # at most three: quicker than a dict
            if key == name:
                return value
        raise KeyError(name)

    def number(self, name: str) -> float:
        """A numeric attribute."""
        value = self.attr(name)
        assert isinstance(value, (int, float)), (self.op, name, value)
        return float(value)

    def with_arg(self, place: int, arg: int) -> "Node":
        """The node with another argument at this place."""
        return replace(self, args=(*self.args[:place], arg, *self.args[place + 1 :]))

    def moved(self, place: Mapping[int, int]) -> "Node":
        """The node with new numbers for its arguments; those not in `place` stay."""
        args = tuple([place.get(arg, arg) for arg in self.args])
        return self if args == self.args else Node(self.op, args, self.attrs, self.name)


def node(op: str, *args: int, name: str = "", **attrs: AttrValue) -> Node:
    """Make a node, filling in the op's default attributes.

    Raises:
        CellError: if the op or an attribute is unknown.
    """
    return make_node(op, args, attrs, name)


def make_node(op: str, args: Sequence[int], attrs: Mapping[str, AttrValue], name: str = "") -> Node:
    """Make a node as `node` does, from arguments and attributes that are data."""
    if op not in OPS:
        raise CellError(f'no operation "{op}". Known: {", ".join(OPS)}.')
    defaults = OPS[op].attrs
    for key in attrs:
        if key not in defaults:
            allowed = f"takes {', '.join(defaults)}" if defaults else "takes no attributes"
            raise CellError(f'{op} has no attribute "{key}"; it {allowed}.')
    values = tuple((key, _number(attrs.get(key, default))) for key, default in defaults.items())
    return Node(op, tuple(args), tuple((k, _whole(k, v)) for k, v in values), name)


def _number(value: AttrValue) -> AttrValue:
    return float(value) if isinstance(value, int | float) else value


def _whole(key: str, value: AttrValue) -> AttrValue:
    if key in ("width", "blocks") and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@dataclass(frozen=True)
class State:
    """A value that a cell carries from one step to the next."""

    name: str
    width: Width = "hidden"
    initial: float = 0.0
    """Its value before the first step."""


@dataclass(frozen=True)
class Graph:
    """The nodes of a cell and which of them leave it; `Cell` adds its key, text and picture.

    `y` is the output node and `new_states[i]` the new value of `states[i]`; `y` is often
    `new_states[0]`. A cell of a stack whose layers exchange more than `y` gives `new_verticals` to
    the layer above. Make one with `nas.cell(...)`, `trace` or `loads`; `nas/cell/verify.py` states
    the rules.
    """

    name: str
    nodes: tuple[Node, ...]
    y: int
    new_states: tuple[int, ...]
    new_verticals: tuple[int, ...] = ()
    doc: str = field(default="")

    @cached_property
    def states(self) -> tuple[State, ...]:
        """The states, in the order in which a module takes and returns them."""
        states = (n for n in self.nodes if n.op == "state")
        return tuple(State(n.name, _width(n.attr("width")), n.number("initial")) for n in states)

    @cached_property
    def verticals(self) -> tuple[str, ...]:
        """Names of the values that the layer below gives."""
        return tuple(n.name for n in self.nodes if n.op == "vertical")

    @cached_property
    def _hash(self) -> int:
        parts = (self.name, self.nodes, self.y, self.new_states, self.new_verticals, self.doc)
        return hash(parts)

    def __hash__(self) -> int:
        return self._hash  # modules look up their compiled loops by cell at every call

    def __deepcopy__(self, memo: object) -> Self:
        return self  # immutable; a copied module finds its compiled loops by identity

    def __getstate__(self) -> dict[str, object]:
        # Hashes of strings differ between processes, and cached properties can be computed again.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def outputs(self) -> tuple[int, ...]:
        """All nodes that leave the cell: y, the new states, the new verticals."""
        return (self.y, *self.new_states, *self.new_verticals)

    @cached_property
    def live(self) -> frozenset[int]:
        """The nodes on which an output depends, and all inputs."""
        inputs = {i for i, n in enumerate(self.nodes) if n.op in INPUTS}
        return frozenset(inputs | reachable(self.outputs, lambda i: self.nodes[i].args))

    @cached_property
    def widths(self) -> tuple[Width, ...]:
        """The width of each node; verified cells only."""
        return infer_widths(self)[0]

    @cached_property
    def needs_equal_widths(self) -> bool:
        """Whether x meets hidden values elementwise, so that input_size must equal hidden_size."""
        return infer_widths(self)[1]


AnyGraph = TypeVar("AnyGraph", bound=Graph)


def _width(value: AttrValue) -> Width:
    assert isinstance(value, (str, int)), value
    return value


def reachable(start: Iterable[T], neighbours: Callable[[T], Iterable[T]]) -> set[T]:
    """The items of `start` and all that are reached from them, neighbour by neighbour."""
    reached, waiting = set[T](), list(start)
    while waiting:
        item = waiting.pop()
        if item not in reached:
            reached.add(item)
            waiting.extend(neighbours(item))
    return reached


def returned(cell: Graph) -> tuple[int, ...]:
    """The nodes that the text returns: y is left out where it is the first new state."""
    return cell.outputs[1:] if cell.y == cell.new_states[0] else cell.outputs


def uses(cell: Graph) -> list[int]:
    """The number of times that the text writes each node."""
    counts = [0] * len(cell.nodes)
    for n in cell.nodes:
        for arg in n.args:
            counts[arg] += 1
    for out in returned(cell):
        counts[out] += 1
    return counts


def infer_widths(cell: Graph) -> tuple[tuple[Width, ...], bool]:
    """Infer each node's width, and whether live nodes need input and hidden width to be equal.

    Raises:
        CellError: where widths do not fit.
    """
    widths: list[Width] = []
    equal = False
    for i, n in enumerate(cell.nodes):
        given = {widths[arg] for arg in n.args}
        width: Width
        if n.op == "input":
            width = "input"
        elif n.op == "vertical":
            width = "hidden"
        elif n.op in ("constant", "step", "scalar"):
            width = 1
        elif n.op in ("state", "vector", "linear", "unit"):
            width = _width(n.attr("width"))
            if n.op == "linear" and n.number("eye"):
                equal |= _fits(_where(cell, i), {width, widths[n.args[0]]})[1] and i in cell.live
        elif len(given) == 1:
            [width] = given
        else:
            width, together = _fits(_where(cell, i), given)
            equal |= together and i in cell.live
        widths.append(width)
    for state, new in zip(cell.states, cell.new_states, strict=True):
        what = f"cell {cell.name}: state {state.name} and its new value"
        if 1 in (state.width, widths[new]) and state.width != widths[new]:
            raise CellError(f"{what} have widths {state.width} and {widths[new]}; make them equal.")
        equal |= _fits(what, {state.width, widths[new]})[1]
    for name, new in zip(cell.verticals, cell.new_verticals, strict=True):
        equal |= _fits(f"cell {cell.name}: vertical {name}", {"hidden", widths[new]})[1]
    return tuple(widths), equal


def _where(cell: Graph, index: int) -> str:
    n = cell.nodes[index]
    return f"cell {cell.name}: node {n.name or index} ({n.op})"


def _fits(where: str, given: Set[Width]) -> tuple[Width, bool]:
    """The common width of values that meet elementwise, and whether input and hidden meet."""
    wide = sorted(given - {1}, key=str)
    if not wide:
        return 1, False
    if len(wide) == 1:
        return wide[0], False
    if set(wide) == {"input", "hidden"}:
        return "hidden", True
    raise CellError(
        f"{where} joins values of widths {' and '.join(map(str, wide))}; only equal widths, or "
        "width 1, meet elementwise: put a linear map between."
    )


def is_learned(n: Node) -> bool:
    """Whether a node owns parameters."""
    return n.op in LEARNED or n.op in ("vector", "scalar")
