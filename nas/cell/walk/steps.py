"""The steps in which a cell is walked through: each gives one value that has, or gets, a name.

A step is a line of the cell's text, with two exceptions. A line that holds several thoughts is
taken apart: an activation of a learned map that is multiplied or added inside a line, such as the
candidate of MUT1, is a step of its own, and so is a part of more than `LONGEST` operations. And the
steps do not stand in the order of the text but in that of the data, memory first: what a new state
keeps, what is written into it, the state, then what is shown of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nas.cell.graph import Graph
from nas.cell.ops import INPUTS, LEARNED, OPS
from nas.cell.walk.values import Term, terms_of

MATRICES = tuple(op for op in LEARNED if op != "diagonal")
"""Learned maps that mix units."""
LONGEST = 10
"""Operations of a step, above which a part of it becomes a step."""


@dataclass(frozen=True)
class Step:
    """The computation of one value."""

    root: int
    """The node that has the value; an input, where a state or the output takes it as it is."""
    nodes: tuple[int, ...]
    """The nodes that are computed for it, in their order; none where nothing is."""
    states: tuple[int, ...] = ()
    """Places of the states whose new value it is."""
    is_output: bool = False
    verticals: tuple[int, ...] = ()
    """Places of the values for the layer above that it is."""


class Graphs:
    """A cell with its readers: live nodes that read each node."""

    def __init__(self, cell: Graph) -> None:
        self.cell = cell
        self.readers: dict[int, list[int]] = {i: [] for i in range(len(cell.nodes))}
        for i in sorted(cell.live):
            for arg in cell.nodes[i].args:
                self.readers[arg].append(i)

    def op(self, i: int) -> str:
        return self.cell.nodes[i].op

    def is_leaf(self, i: int) -> bool:
        return not self.cell.nodes[i].args

    def peeled(self, i: int, inner: frozenset[int] | None = None) -> int:
        """The node below functions of one value; within `inner`, if it is given."""
        while (inner is None or i in inner) and self.is_function(i):
            [i] = self.cell.nodes[i].args
        return i

    def is_function(self, i: int) -> bool:
        """Whether a node is a function of one value without parameters, other than its negative."""
        op = OPS[self.op(i)]
        return op.arity == 1 and op.kind in ("elementwise", "row") and self.op(i) != "neg"


def steps_of(cell: Graph) -> tuple[Step, ...]:
    """The steps of a cell in a right order: what a step reads was given before.

    Each live node that is no input is in exactly one of them.
    """
    graphs = Graphs(cell)
    roots = _roots(graphs)
    inside = {root: _inside(graphs, root, roots) for root in roots}
    taken: set[int] = set()
    steps = []
    for root in _in_order(graphs, roots, inside):
        # A leaf that several steps read is told of where it is read first.
        nodes = inside.get(root, frozenset()) - taken
        taken |= nodes
        steps.append(
            Step(
                root,
                tuple(sorted(nodes)),
                tuple(k for k, new in enumerate(cell.new_states) if new == root),
                root == cell.y,
                tuple(k for k, new in enumerate(cell.new_verticals) if new == root),
            )
        )
    return tuple(steps)


def _roots(graphs: Graphs) -> set[int]:
    cell = graphs.cell
    computed = [i for i in sorted(cell.live) if not graphs.is_leaf(i)]
    outputs = set(cell.outputs)
    roots = {
        i for i in computed if cell.nodes[i].name or len(graphs.readers[i]) > 1 or i in outputs
    }
    roots |= {i for i in outputs if cell.nodes[i].op not in INPUTS}
    roots |= {i for i in computed if i not in roots and _is_thought(graphs, i, roots)}
    sizes: dict[int, int] = {}
    for i in computed:
        parts = [sizes.get(arg, 0) for arg in cell.nodes[i].args if arg not in roots]
        sizes[i] = 1 + sum(parts)
        if sizes[i] > LONGEST and i not in roots:
            roots.add(i)
    return roots


def _is_thought(graphs: Graphs, i: int, roots: set[int]) -> bool:
    """Whether an inner node is a function of a matrix product, and meets more than constants."""
    is_norm = graphs.op(i) in ("layer_norm", "rms_norm")
    if is_norm or not graphs.is_function(i) or not _has_matrix(graphs, i, roots):
        return False
    at = i
    while at not in roots:
        [reader] = graphs.readers[at]
        others = [arg for arg in graphs.cell.nodes[reader].args if arg != at]
        if graphs.op(reader) in LEARNED or any(graphs.op(arg) != "constant" for arg in others):
            return True
        at = reader
    return False


def _has_matrix(graphs: Graphs, i: int, roots: set[int]) -> bool:
    return graphs.op(i) in MATRICES or any(
        _has_matrix(graphs, arg, roots) for arg in graphs.cell.nodes[i].args if arg not in roots
    )


def _inside(graphs: Graphs, root: int, roots: set[int]) -> frozenset[int]:
    """The nodes of a root's step: itself, and what is computed for it alone."""
    found, waiting = {root}, [root]
    while waiting:
        for arg in graphs.cell.nodes[waiting.pop()].args:
            if arg not in roots and graphs.op(arg) not in INPUTS and arg not in found:
                found.add(arg)
                waiting.append(arg)
    return frozenset(found)


# --- the order ---


def _in_order(graphs: Graphs, roots: set[int], inside: dict[int, frozenset[int]]) -> Iterator[int]:
    cell, done = graphs.cell, set[int]()

    def below(root: int) -> list[int]:
        """The steps that a step reads, in the order in which they are told."""
        inner = inside.get(root, frozenset())
        read = _reading_order(graphs, root, inner) if inner else iter(())
        return [i for i in dict.fromkeys(read) if i in roots and i != root]

    for target in sorted(cell.outputs, key=_n_states_below(cell)):
        yield from _behind(target, below, done)


def _n_states_below(cell: Graph) -> Callable[[int], int]:
    """How many new states the value of a node needs: those that need none come first."""
    needs: list[set[int]] = []
    for i, n in enumerate(cell.nodes):
        found = set().union(*(needs[arg] for arg in n.args))
        needs.append(found | ({i} & set(cell.new_states) if n.args else set()))
    return lambda i: len(needs[i])


def _behind(target: int, below: Callable[[int], list[int]], done: set[int]) -> Iterator[int]:
    """What a step reads, and what that reads, then the step itself; none of them twice."""
    waiting = [(target, False)]
    while waiting:
        root, is_ready = waiting.pop()
        if root in done:
            continue
        if is_ready:
            done.add(root)
            yield root
        else:
            waiting.append((root, True))
            waiting += [(i, False) for i in reversed(below(root)) if i not in done]


def _reading_order(graphs: Graphs, root: int, inner: frozenset[int]) -> Iterator[int]:
    """All that a step reads: of its sum first the terms that keep a state."""
    cell = graphs.cell
    places = {state for state, new in enumerate(cell.new_states) if new == root}
    old = {1 + place for place in places}
    terms = terms_of(cell, graphs.peeled(root, inner), inner)

    def rank(term: Term) -> bool:
        return not set(term.nodes) & old

    for term in sorted(terms, key=rank):
        for node in term.nodes:
            yield from _leaves(graphs, node, inner)
    yield from _leaves(graphs, root, inner)


def _leaves(graphs: Graphs, i: int, inner: frozenset[int]) -> Iterator[int]:
    """The nodes outside of a step that a node of it reads, from left to right."""
    if i not in inner:
        yield i
        return
    for arg in graphs.cell.nodes[i].args:
        yield from _leaves(graphs, arg, inner)
