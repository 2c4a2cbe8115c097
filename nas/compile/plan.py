"""The work of a layer's time loop: the part of a cell that is not hoisted, in stages.

A step is: region 0 (elementwise), stage 1 (matrix products), region 1, stage 2, … `make_plan` in
`nas/compile/passes` makes a plan, `nas/compile/cost.py` counts its cost; `NAS_DEBUG=plan` prints
it.
"""

from dataclasses import dataclass
from functools import cached_property

from nas.cell.cell import Cell
from nas.cell.graph import Node
from nas.cell.ops import FIXED

SQUARE = ("block_diagonal", "masked", "skew", *FIXED)
"""Maps whose matrix is made of their weight, or of none."""
MATRIX_OPS = ("linear", *SQUARE)


@dataclass(frozen=True)
class Target:
    """The columns of a stage that belong to one linear map."""

    node: int
    column: int
    width: int
    padded: int


@dataclass(frozen=True)
class Product:
    """A value times a matrix, added to columns [first, first + count) of a stage."""

    arg: int
    """The node whose value is multiplied."""
    targets: tuple[Target, ...]
    first: int
    count: int


@dataclass(frozen=True)
class Stage:
    """Linear maps that can be computed together."""

    targets: tuple[Target, ...]
    inputs: tuple[Product, ...]
    """Products of hoisted values, for all steps at once before the loop."""
    products: tuple[Product, ...]
    """Products of values of the loop."""
    columns: int


@dataclass(frozen=True, eq=False)
class Plan:
    """The loop of one layer for given sizes; `lanes` is how many values a vector holds.

    Nodes keep their numbers in the cell, which lead to their parameters. Nothing refers to a node
    that is not live: `outputs` and `args` name the node that has its value.
    """

    cell: Cell
    in_c: bool
    """Whether it is for the loop in C, which hoists nothing that depends on x."""
    sizes: tuple[int, ...]
    """The number of features of each node's value."""
    lanes: int
    nodes: tuple[Node, ...]
    """The operation at the place of each node of the cell."""
    same: tuple[int, ...]
    """For each node, the node that has its value: itself, or an earlier one."""
    live: frozenset[int]
    """Nodes that an output depends on, equal ones once."""
    depth: dict[int, int]
    """Matrix products on the longest path within a step, for the nodes of the loop."""
    stages: tuple[Stage, ...]
    """Stage s + 1 at place s."""
    regions: tuple[tuple[int, ...], ...]
    """The elementwise and row operations after each stage, in order; region 0 comes first."""

    def padded(self, node: int) -> int:
        """A value's row length in memory: 1, or a multiple of the vector length."""
        return 1 if self.sizes[node] == 1 else self.rounded(node)

    def rounded(self, node: int) -> int:
        """A value's width as whole vectors, even if it is 1."""
        return self.whole(self.sizes[node])

    def whole(self, width: int) -> int:
        """A number of values as whole vectors."""
        return -(-width // self.lanes) * self.lanes

    def node(self, i: int) -> Node:
        """The operation at the place of a node; a folded number is a `constant`."""
        return self.nodes[i]

    def args(self, i: int) -> tuple[int, ...]:
        return self.nodes[i].args

    def constant(self, i: int) -> float | None:
        """The value of a constant; None for every other node."""
        return self.nodes[i].number("value") if self.nodes[i].op == "constant" else None

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """y, the new states, the new verticals."""
        return tuple(self.same[i] for i in self.cell.outputs)

    @property
    def hidden_size(self) -> int:
        """The cell's hidden size; 1 where no value has it."""
        sizes = (self.sizes[i] for i, width in enumerate(self.cell.widths) if width == "hidden")
        return next(sizes, 1)

    @cached_property
    def state_places(self) -> range:
        """The places of the states: among the nodes, and of the new ones among the outputs."""
        return range(1, 1 + len(self.cell.states))

    @cached_property
    def delays(self) -> dict[int, tuple[int, int]]:
        """States that hold what another one was: that state, and how many steps before.

        Where two hold the same, as with other first values, the first one counts.
        """
        holder: dict[int, int] = {}
        for place in self.state_places:
            held = self.outputs[place]
            if held in self.state_places and self.padded(held) == self.padded(place):
                holder.setdefault(held, place)
        delays: dict[int, tuple[int, int]] = {}
        for source in self.state_places:
            if self.outputs[source] not in self.state_places:
                place, steps = source, 0
                while place in holder:
                    place, steps = holder[place], steps + 1
                    delays[place] = (source, steps)
        return delays

    @cached_property
    def from_states(self) -> dict[int, int]:
        """Matrix products on the longest path from a state, for nodes that depend on a state."""
        depth: dict[int, int] = {}
        for i in sorted(self.live):
            if self.node(i).op == "state":
                depth[i] = 0
            elif below := [depth[arg] for arg in self.args(i) if arg in depth]:
                depth[i] = max(below) + (self.node(i).op in MATRIX_OPS)
        return depth

    @property
    def dependent_stages(self) -> int:
        """The number of matrix products of a step that wait for one another and for a state."""
        return max(self.from_states.values(), default=0)

    def loop_args(self, i: int) -> tuple[int, ...]:
        """The arguments of a map that the loop computes, sorted, each as often as it is read."""
        return tuple(sorted(arg for arg in self.args(i) if arg in self.depth))

    def input_args(self, i: int) -> tuple[int, ...]:
        """The arguments of a map that are there before the loop, sorted."""
        return tuple(sorted(arg for arg in self.args(i) if arg not in self.depth))

    def columns_before(self, i: int, position: int) -> int:
        """Where the columns of the argument at `position` begin in a linear map's matrix."""
        return sum(self.sizes[arg] for arg in self.args(i)[:position])

    @cached_property
    def matrix_inputs(self) -> tuple[int, ...]:
        """Hoisted values that a matrix of the loop multiplies."""
        return tuple(sorted({p.arg for stage in self.stages for p in stage.inputs}))

    @cached_property
    def diagonals(self) -> tuple[int, ...]:
        """The loop's learned vectors."""
        return tuple(i for i in sorted(self.depth) if self.node(i).op == "diagonal")

    @cached_property
    def hoisted(self) -> tuple[int, ...]:
        """Values without a state that the loop reads or hands on; constants stand in the code."""
        read = set(self.read_in_loop)
        new_states = self.outputs[1 : 1 + len(self.cell.states)]
        read |= {i for i in new_states if i not in self.depth}
        return tuple(sorted(i for i in read if self.node(i).op != "constant"))

    @cached_property
    def vectors(self) -> frozenset[int]:
        """Hoisted values that are one row for all steps: they depend on parameters alone."""
        vectors: set[int] = set()
        for i in sorted(self.live - self.depth.keys()):
            by_row = self.node(i).op in ("input", "vertical", "step")
            if not by_row and vectors.issuperset(self.args(i)):
                vectors.add(i)
        return frozenset(vectors)

    @cached_property
    def outside(self) -> frozenset[int]:
        """Nodes whose weights are read outside of the loop: hoisted ones, and maps whose matrix
        must be made."""
        nodes = self.live - self.depth.keys()
        return nodes | {i for i in self.depth if self.node(i).op in SQUARE}

    @cached_property
    def read_in_loop(self) -> frozenset[int]:
        """Hoisted values that an operation of the loop reads."""
        return frozenset(arg for i in self.depth for arg in self._hoisted_args(i))

    def _hoisted_args(self, i: int) -> tuple[int, ...]:
        return () if self.node(i).op in MATRIX_OPS else self.input_args(i)


def unplanned(cell: Cell, sizes: tuple[int, ...], lanes: int, *, in_c: bool = False) -> Plan:
    """The plan before the first pass: every node as the cell has it, none with a place."""
    everything = tuple(range(len(cell.nodes)))
    return Plan(cell, in_c, sizes, lanes, cell.nodes, everything, frozenset(everything), {}, (), ())
