"""Where the tensors of a call lie: the columns of the buffers that a plan's kernels read and write.

Rows of a sequence lie step after step, as everywhere in this room; members come first. A width is
covered by blocks of 64 columns and one of 32, so that 70 columns take 96 and not 128.
"""

import functools
import itertools
from typing import NamedTuple

from nas.compile.emit.values import Values
from nas.compile.plan import Plan, Target

ROWS = 16
"""Sequences of a batch that one program computes: the fewest that a matrix product takes."""
NARROWEST, WIDEST = 32, 64
"""Columns of a block. With 16, Triton would give the rows of a product, of which there are 16 too,
to its warps, and each of them would hold the whole right side."""


class Block(NamedTuple):
    """Columns [first, first + size) of a value; the last ones may lie beyond its width."""

    first: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.first}_{self.size}"


class Span(NamedTuple):
    """Columns of a buffer."""

    first: int
    width: int


class Matrix(NamedTuple):
    """A matrix (rows, columns) in the buffer of all weights; it multiplies rows of `columns`.

    It lies there with zeros up to whole blocks, so that it is read without masks.
    """

    first: int
    rows: int
    columns: int

    @property
    def stride(self) -> int:
        """The columns in whole blocks."""
        return whole(self.columns)

    @property
    def size(self) -> int:
        """The entries in whole blocks."""
        return whole(self.rows) * self.stride


@functools.cache
def blocks(width: int) -> tuple[Block, ...]:
    """The blocks of a value that a matrix product reads or gives."""
    whole, rest = divmod(width, WIDEST)
    cut = [Block(WIDEST * k, WIDEST) for k in range(whole)]
    if rest:
        cut.append(Block(WIDEST * whole, max(NARROWEST, 1 << (rest - 1).bit_length())))
    return tuple(cut)


def whole(width: int) -> int:
    """The columns of all blocks of a width."""
    return sum(block.size for block in blocks(width))


def spans(widths: dict[int, int]) -> dict[int, Span]:
    """Columns side by side."""
    found: dict[int, Span] = {}
    for i, width in widths.items():
        found[i] = Span(width_of(found), width)
    return found


def width_of(columns: dict[int, Span]) -> int:
    """The columns of a whole buffer."""
    return sum(span.width for span in columns.values())


class Group(NamedTuple):
    """Neighbouring maps of a stage that read the same hoisted values: one product, in which each
    map has whole blocks of columns."""

    args: tuple[int, ...]
    targets: tuple[Target, ...]


class Layout:
    """The buffers of a plan made with one lane, whose values therefore are never padded."""

    def __init__(self, plan: Plan) -> None:
        self.plan, sizes = plan, plan.sizes
        self.values = Values(plan)
        targets = [target for stage in plan.stages for target in stage.targets]
        self.groups = self._groups()
        self.rows = [i for i in plan.hoisted if i not in plan.vectors]
        """Hoisted values with a row for every row of x."""
        self.without_input = [t.node for t in targets if not plan.input_args(t.node)]
        self.biases = [i for i in self.without_input if plan.node(i).op == "linear"]
        """Maps whose products begin with a bias alone."""
        vectors = [i for i in plan.hoisted if i in plan.vectors]
        self.vectors = spans({i: sizes[i] for i in vectors})
        """Hoisted values that are the same at each step."""
        end = width_of(self.vectors)
        own = spans({i: sizes[i] for i in (*plan.diagonals, *self.biases)})
        self.own = {i: Span(end + span.first, span.width) for i, span in own.items()}
        """Learned vectors of diagonal maps and biases, by map, behind those vectors."""
        self.n_vectors = end + width_of(own)
        self.matrices: dict[tuple[int, int], Matrix] = {}
        """The matrix of each map of the loop for each value of the loop that it reads."""
        for target in targets:
            for arg in dict.fromkeys(plan.loop_args(target.node)):
                first = sum(m.size for m in self.matrices.values())
                self.matrices[target.node, arg] = Matrix(first, target.width, sizes[arg])
        self.n_weights = sum(m.size for m in self.matrices.values())
        """Entries of all matrices in whole blocks."""
        self.sums = spans({t.node: whole(t.width) for t in targets})
        """Gradients of what maps give, with zeros up to whole blocks."""
        kept = {i: 4 if sizes[i] == 1 else whole(sizes[i]) for i in sorted(self._kept())}
        self.kept = spans(kept)  # 4 values are 16 bytes, so that all begin where they are read fast
        """What the backward pass reads, in whole blocks; of a state, its value before the step."""
        widths = [sum(whole(t.width) for t in group.targets) for group in self.groups]
        widths += [width_of(self.kept), width_of(self.sums)]
        widths += [self.columns(i) for i in (*self.rows, *plan.outputs)]
        self.widest_row = max(widths)
        """Columns of the widest buffer with a row for every row of x."""
        self.outputs = [
            (place, i)
            for place, i in enumerate(plan.outputs)
            if place not in plan.state_places and i in plan.depth
        ]
        """Places and nodes of what leaves the loop beside the states."""

    def columns(self, i: int) -> int:
        """The columns of a node's value in memory: whole blocks, which are read without masks. What
        lies beyond its width is never used."""
        return 1 if self.plan.sizes[i] == 1 else whole(self.plan.sizes[i])

    def _groups(self) -> list[Group]:
        groups: list[Group] = []
        for stage in self.plan.stages:
            runs = itertools.groupby(stage.targets, lambda t: self.plan.input_args(t.node))
            groups += [Group(args, tuple(run)) for args, run in runs if args]
        return groups

    def _kept(self) -> set[int]:
        values = self.values
        in_loop = values.group_of.keys() | values.stage_of.keys() | set(self.plan.state_places)
        return (values.read_back & in_loop) - values.again.keys()
