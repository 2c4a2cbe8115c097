"""The time loop of a model as one larger cell, in which the layers of the searched cell stand.

Where what a stack reads depends on its own output of the step before, as in VRNN and DRAW, a loop
in Python over steps of the stack spends nearly all of its time around the C. Written as operations
of a cell, all of it is compiled as one loop with its gradient. `LoopCell` makes such a cell, and
`nas/nn/looped.py` runs it with the parameters of a network, or of K members.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from nas.cell.cell import Cell
from nas.cell.graph import Node, Width, is_learned, make_node
from nas.cell.ops import INPUTS, AttrValue
from nas.compile.reference import parameter_labels
from nas.nn.settings import Stacking


class OfMap(NamedTuple):
    """The parameters of a linear map of the model, or of one of `parts` equal parts of its rows."""

    name: str
    part: int
    parts: int


class OfLayer(NamedTuple):
    """Those of a node of a layer."""

    stack: str
    layer: int
    label: str


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop as a cell, and what its learned nodes are in the model."""

    cell: Cell
    sources: dict[str, OfMap | OfLayer]
    """By the label of the node."""
    n_zeros: int
    """Values of the width of a state that come after the given ones, all zeros: what the first
    layers of all stacks have below them."""
    n_masks: int
    """Values after these: what is kept by dropout between the layers of the stacks."""
    outputs: dict[str, int]
    """The output of each stack by its place among the states."""
    through: dict[str, int]
    """The values that go through a single step, by their place among the states."""

    def parameters(
        self,
        of_map: Callable[[str, str], Tensor | None],
        of_layer: Callable[[str, int, str], Tensor | None],
    ) -> dict[str, Tensor]:
        """Return the parameters of the loop by their names, from a map's name or a stack and a
        layer, and "weight" or "bias"."""
        found: dict[str, Tensor] = {}
        for label, source in self.sources.items():
            for kind, dim in (("weight", -2), ("bias", -1)):
                if isinstance(source, OfLayer):
                    value = of_layer(source.stack, source.layer, f"{source.label}_{kind}")
                else:
                    value = of_map(source.name, kind)
                    if value is not None and source.parts > 1:
                        value = value.chunk(source.parts, dim)[source.part]
                if value is not None:
                    found[f"{label}_{kind}"] = value
        return found


class LoopCell:
    """A loop that is written node after node, and then `finished`.

    The loop has an input x of any width; `given` are further values of each step, as wide as a
    state. A loop of a single step may have more, in and out, which go `through`. The stacks are
    those of the model, each of `num_layers` layers of `cell`, joined as `stacking` says.
    """

    def __init__(
        self,
        cell: Cell,
        num_layers: int,
        stacking: Stacking,
        stacks: Sequence[str],
        given: Sequence[str] = (),
        through: Mapping[str, Width] | None = None,
    ) -> None:
        self.cell, self.num_layers, self.stacking = cell, num_layers, stacking
        self._labels = parameter_labels(cell)
        self._nodes: list[Node] = []
        self._new: dict[int, int] = {}
        self._sources: dict[str, OfMap | OfLayer] = {}
        self.x = self.add("input")
        self._states = {
            (stack, layer): [self._state(cell.widths[1 + place], state.initial)
                             for place, state in enumerate(cell.states)]
            for stack in stacks
            for layer in range(num_layers)
        }  # fmt: skip
        self._before = {stack: self._state(cell.widths[cell.y], 0.0) for stack in stacks}
        self.through = {name: self._state(width, 0.0) for name, width in (through or {}).items()}
        """Values of these widths before a single step, and what they become after it."""
        self._new |= {place: place for place in self.through.values()}
        self.given = {name: self.add("vertical") for name in given}
        self._zeros = {stack: [self.add("vertical") for _ in cell.verticals] for stack in stacks}
        self._kept = {
            stack: [self.add("vertical") for _ in range(num_layers - 1)] for stack in stacks
        }

    def add(self, op: str, *args: int, **attrs: AttrValue) -> int:
        """Add an operation, and return its place."""
        return self._append(make_node(op, args, attrs))

    def map(
        self, name: str, x: int, width: Width = "hidden", *, bias: bool = False, part: int = 0,
        parts: int = 1,
    ) -> int:  # fmt: skip
        """Add a linear map of the model, or one of several equal parts of what it gives."""
        place = self.add("linear", x, width=width, bias=0.0 if bias else None)
        self._sources[self._nodes[place].name] = OfMap(name, part, parts)
        return place

    def before(self, stack: str) -> int:
        """Return the output of a stack at the step before, zeros at first."""
        return self._before[stack]

    def run(self, stack: str, x: int) -> int:
        """Add the layers of a stack that reads x, and return its output."""
        below = self._zeros[stack]
        for layer in range(self.num_layers):
            if layer:
                x = self.add("mul", x, self._kept[stack][layer - 1])
            read = self.add("layer_norm", x) if layer and "norm" in self.stacking else x
            y, below = self._run_layer(stack, layer, read, below)
            x = self.add("add", y, x) if layer and "residual" in self.stacking else y
        self._new[self._before[stack]] = x
        return x

    def becomes(self, name: str, place: int) -> None:
        """Say what a value that goes through is after the step."""
        self._new[self.through[name]] = place

    def finished(self, y: int) -> Loop:
        """Return the loop, which gives y at each step."""
        verticals = [place for place, n in enumerate(self._nodes) if n.op == "vertical"]
        new = [self._new[place] for place, n in enumerate(self._nodes) if n.op == "state"]
        cell = Cell(self.cell.name, tuple(self._nodes), y, tuple(new), tuple(verticals))
        n_zeros, n_masks = (sum(map(len, of.values())) for of in (self._zeros, self._kept))
        outputs, through = (
            {name: place - 1 for name, place in of.items()} for of in (self._before, self.through)
        )
        return Loop(cell, self._sources, n_zeros, n_masks, outputs, through)

    def _append(self, added: Node) -> int:
        place = len(self._nodes)
        self._nodes.append(replace(added, name=f"v{place}"))  # its parameters are called so, too
        return place

    def _state(self, width: Width, initial: float) -> int:
        return self.add("state", width="hidden" if width == "input" else width, initial=initial)

    def _run_layer(self, stack: str, layer: int, x: int, below: list[int]) -> tuple[int, list[int]]:
        """Add a layer; return its output and what the layer above has below it."""
        cell, states = self.cell, self._states[stack, layer]
        output = cell.widths[cell.y]
        as_wide_as_x = output if layer and isinstance(output, int) else "hidden"
        place = dict(enumerate((x, *states, *below)))
        for i, n in enumerate(cell.nodes):
            if n.op in INPUTS or i not in cell.live:
                continue
            attrs = tuple((k, as_wide_as_x if v == "input" else v) for k, v in n.attrs)
            place[i] = self._append(replace(n, args=tuple(place[a] for a in n.args), attrs=attrs))
            if is_learned(n):
                source = OfLayer(stack, layer, self._labels[i])
                self._sources[self._nodes[place[i]].name] = source
        self._new |= {old: place[i] for old, i in zip(states, cell.new_states, strict=True)}
        zeros = self._zeros[stack]
        above = [
            self.add("add", place[i], zero) if cell.widths[i] == 1 else place[i]
            for i, zero in zip(cell.new_verticals, zeros, strict=True)
        ]
        return place[cell.y], above
