"""What a layer's time loop has to do: the part of a cell that depends on its states, in stages.

Passes over the cell, in order: dead code is left out, equal subexpressions without parameters
become one, what depends on no state is hoisted out of the loop, and of the rest the linear maps of
one depth become the columns of one matrix, a stage. A step is then: region 0 (elementwise), stage
1 (matrix products), region 1, stage 2, … The number of stages is that of a step's dependent matrix
products.
"""

from dataclasses import dataclass
from functools import cached_property

from nas.cell.count import size
from nas.cell.graph import Cell, Node, is_learned

MATRIX_OPS = ("linear", "block_diagonal", "masked")


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
    """The loop of one layer for given sizes; `lanes` is how many values a vector holds."""

    cell: Cell
    sizes: tuple[int, ...]
    lanes: int
    same: tuple[int, ...]
    """Of each node, the first node that computes the same."""

    def padded(self, node: int) -> int:
        """A value's row length in memory: 1, or a multiple of the vector length."""
        width = self.sizes[node]
        return 1 if width == 1 else -(-width // self.lanes) * self.lanes

    @cached_property
    def live(self) -> frozenset[int]:
        """Nodes that an output depends on, equal ones once."""
        wanted, seen = [self.same[i] for i in self.cell.outputs], set[int]()
        while wanted:
            node = wanted.pop()
            if node not in seen:
                seen.add(node)
                wanted.extend(self.args(node))
        return frozenset(seen)

    def node(self, i: int) -> Node:
        return self.cell.nodes[i]

    def args(self, i: int) -> tuple[int, ...]:
        return tuple(self.same[arg] for arg in self.cell.nodes[i].args)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """y, the new states, the new verticals."""
        return tuple(self.same[i] for i in self.cell.outputs)

    @cached_property
    def depth(self) -> dict[int, int]:
        """Matrix products on the longest path from a state, for nodes that depend on a state."""
        depth: dict[int, int] = {}
        for i in sorted(self.live):
            if self.node(i).op == "state":
                depth[i] = 0
            elif below := [depth[arg] for arg in self.args(i) if arg in depth]:
                depth[i] = max(below) + (self.node(i).op in MATRIX_OPS)
        return depth

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Stage s + 1 at place s."""
        deepest = max(self.depth.values(), default=0)
        return tuple(self._stage(s) for s in range(1, deepest + 1))

    def _stage(self, s: int) -> Stage:
        nodes = [i for i, d in self.depth.items() if d == s and self.node(i).op in MATRIX_OPS]
        # Maps that read the same values lie side by side, so that each product is one block.
        nodes.sort(key=lambda i: (self.loop_args(i), self.input_args(i), i))
        targets, column = [], 0
        for i in nodes:
            width = -(-self.sizes[i] // self.lanes) * self.lanes
            targets.append(Target(i, column, self.sizes[i], width))
            column += width
        read = sorted({arg for i in nodes for arg in self.args(i)})
        products = [product for arg in read for product in self._products(arg, targets)]
        return Stage(
            tuple(targets),
            tuple(p for p in products if p.arg not in self.depth),
            tuple(p for p in products if p.arg in self.depth),
            column,
        )

    def loop_args(self, i: int) -> tuple[int, ...]:
        """The arguments of a map that depend on a state, sorted, each as often as it is read."""
        return tuple(sorted(arg for arg in self.args(i) if arg in self.depth))

    def input_args(self, i: int) -> tuple[int, ...]:
        """The arguments of a map that depend on no state, sorted."""
        return tuple(sorted(arg for arg in self.args(i) if arg not in self.depth))

    @cached_property
    def matrix_inputs(self) -> tuple[int, ...]:
        """Hoisted values that a matrix multiplies."""
        return tuple(sorted({p.arg for stage in self.stages for p in stage.inputs}))

    @cached_property
    def diagonals(self) -> tuple[int, ...]:
        """The loop's learned vectors."""
        return tuple(i for i in sorted(self.depth) if self.node(i).op == "diagonal")

    def columns_before(self, i: int, position: int) -> int:
        """Where the columns of the argument at `position` begin in a linear map's matrix."""
        return sum(self.sizes[arg] for arg in self.args(i)[:position])

    def _products(self, arg: int, targets: list[Target]) -> list[Product]:
        """The runs of neighbouring columns whose maps read `arg`."""
        runs: list[list[Target]] = []
        for target in targets:
            if arg not in self.args(target.node):
                continue
            if runs and runs[-1][-1].column + runs[-1][-1].padded == target.column:
                runs[-1].append(target)
            else:
                runs.append([target])
        return [
            Product(arg, tuple(run), run[0].column, sum(target.padded for target in run))
            for run in runs
        ]

    @cached_property
    def regions(self) -> tuple[tuple[int, ...], ...]:
        """The elementwise and row operations after each stage, in order; region 0 comes first."""
        found: list[list[int]] = [[] for _ in range(len(self.stages) + 1)]
        for i in sorted(self.depth):
            if self.node(i).op not in MATRIX_OPS and self.node(i).op != "state":
                found[self.depth[i]].append(i)
        return tuple(tuple(region) for region in found)

    @cached_property
    def hoisted(self) -> tuple[int, ...]:
        """Values without a state that the loop reads or hands on; constants stand in the code."""
        read = set(self.read_in_loop)
        new_states = self.outputs[1 : 1 + len(self.cell.states)]
        read |= {i for i in new_states if i not in self.depth}
        return tuple(sorted(i for i in read if self.node(i).op != "constant"))

    @cached_property
    def read_in_loop(self) -> frozenset[int]:
        """Hoisted values that an operation of the loop reads."""
        return frozenset(arg for i in self.depth for arg in self._hoisted_args(i))

    def _hoisted_args(self, i: int) -> list[int]:
        if self.node(i).op in MATRIX_OPS or self.node(i).op == "state":
            return []
        return [arg for arg in self.args(i) if arg not in self.depth]


def make_plan(cell: Cell, input_size: int, hidden_size: int, lanes: int) -> Plan:
    """The plan of one layer in one direction."""
    sizes = tuple(size(width, input_size, hidden_size) for width in cell.widths)
    return Plan(cell, sizes, lanes, _same(cell))


def _same(cell: Cell) -> tuple[int, ...]:
    """Common subexpressions: parameters and inputs are always their own."""
    first: dict[object, int] = {}
    same: list[int] = []
    for i, n in enumerate(cell.nodes):
        own = is_learned(n) or n.op in ("input", "state", "vertical")
        what = i if own else (n.op, tuple(same[arg] for arg in n.args), n.attrs)
        same.append(first.setdefault(what, i))
    return tuple(same)
