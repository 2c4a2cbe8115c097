"""A cell taken apart for mutation: nodes by a number that stays, every matrix a node of its own.

Jozefowicz et al. 2015 mutate graphs in which each matrix is a node, so `linear(x, h)` becomes
`linear(x) + linear(h)`, each with a bias; put together again, sums of matrices are one `linear`
with one bias. Taking apart and putting together leaves a cell's key as it is.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random

from nas.cell.cell import Cell, assemble
from nas.cell.graph import Node, make_node, node, reachable
from nas.cell.ops import INPUTS, OPS

NUMBERS = ("constant", "step", "scalar")
"""Leaves of width 1, which the operators of the paper do not know."""


@dataclass(frozen=True)
class Draft:
    """A graph whose nodes name their arguments by number, in any order."""

    nodes: Mapping[int, Node]
    outputs: tuple[int, ...]
    """y, the new states, the new verticals."""

    @property
    def input(self) -> int:
        """The input x of this step."""
        return next(i for i, n in self.nodes.items() if n.op == "input")

    @property
    def states(self) -> list[int]:
        """The states of the previous step, in order."""
        return [i for i in sorted(self.nodes) if self.nodes[i].op == "state"]

    @property
    def new_states(self) -> tuple[int, ...]:
        return self.outputs[1 : 1 + len(self.states)]

    def below(self, roots: Iterable[int]) -> set[int]:
        """The roots and all nodes that they depend on."""
        return reachable(roots, lambda i: self.nodes[i].args)

    def ancestors(self, index: int) -> list[int]:
        """The nodes that node `index` depends on, numbers left out."""
        below = self.below(self.nodes[index].args)
        return [i for i in sorted(below) if self.nodes[i].op not in NUMBERS]

    def interior(self) -> list[int]:
        """The operations on which an output depends, arguments first."""
        live = self.below(self.outputs)
        return [i for i in self.in_order(live) if self.nodes[i].op not in INPUTS]

    def in_order(self, wanted: Iterable[int]) -> list[int]:
        """The wanted nodes, arguments first and old ones before new ones; inputs as in a cell."""
        waits = {i: len({*self.nodes[i].args}) for i in wanted}
        readers: dict[int, list[int]] = {i: [] for i in waits}
        for i in waits:
            for arg in {*self.nodes[i].args}:
                readers[arg].append(i)
        ready = [(_rank(self.nodes[i]), i) for i in waits if not waits[i]]
        heapq.heapify(ready)
        order: list[int] = []
        while ready:
            _, i = heapq.heappop(ready)
            order.append(i)
            for reader in readers[i]:
                waits[reader] -= 1
                if not waits[reader]:
                    heapq.heappush(ready, (_rank(self.nodes[reader]), reader))
        assert len(order) == len(waits), "an operator made a cycle"
        return order

    def n_uses(self, index: int) -> int:
        """The number of uses of a node; to be both y and the first new state is one use."""
        y, first, *_ = self.outputs
        outputs = self.outputs[1:] if y == first else self.outputs
        return sum(n.args.count(index) for n in self.nodes.values()) + outputs.count(index)

    def with_node(self, new: Node) -> tuple["Draft", int]:
        """A draft with one more node, and that node's number."""
        index = max(self.nodes) + 1
        return replace(self, nodes={**self.nodes, index: new}), index

    def changed(self, index: int, new: Node) -> "Draft":
        """A draft in which another node stands at `index`."""
        return Draft.pruned({**self.nodes, index: new}, self.outputs)

    def redirected(self, old: int, new: int) -> "Draft":
        """A draft in which whatever read `old`, outputs included, reads `new`."""
        nodes = {i: n.moved({old: new}) for i, n in self.nodes.items()}
        return Draft.pruned(nodes, tuple(new if out == old else out for out in self.outputs))

    def with_copy(
        self, other: "Draft", root: int, place: dict[int, int], name: str = ""
    ) -> "Draft":
        """A draft with node `root` of another one, under this name, and all that it depends on.

        `place` says which node of this draft stands for one of the other; new ones are added to it.
        """
        draft = self
        for i in sorted(other.below([root])):
            if i not in place:
                copied = replace(other.nodes[i].moved(place), name=name if i == root else "")
                draft, place[i] = draft.with_node(copied)
        return draft

    @staticmethod
    def pruned(nodes: Mapping[int, Node], outputs: tuple[int, ...]) -> "Draft":
        """A draft of these nodes without those on which no output depends, inputs kept."""
        live = Draft(nodes, outputs).below(outputs)
        return Draft({i: n for i, n in nodes.items() if i in live or n.op in INPUTS}, outputs)


def _rank(n: Node) -> int:
    return INPUTS.index(n.op) if n.op in INPUTS else len(INPUTS)


def take_apart(cell: Cell) -> Draft:
    """The draft of a cell, without its dead nodes."""
    nodes: dict[int, Node] = {}
    place: dict[int, int] = {}

    def add(new: Node) -> int:
        nodes[len(nodes)] = new
        return len(nodes) - 1

    for i in sorted(cell.live):
        n = cell.nodes[i].moved(place)
        if n.op != "linear" or len(n.args) == 1:
            place[i] = add(n)
            continue
        attrs = dict(n.attrs)
        later = attrs | {"bias": None if attrs["bias"] is None else 0.0}
        total = add(make_node("linear", n.args[:1], attrs))
        for arg in n.args[1:]:
            total = add(node("add", total, add(make_node("linear", [arg], later))))
        nodes[total] = replace(nodes[total], name=n.name)
        place[i] = total
    return Draft(nodes, tuple(place[out] for out in cell.outputs))


def put_together(draft: Draft, name: str, doc: str) -> Cell:
    """The cell of a draft.

    Raises:
        CellError: if it breaks a rule of `verify`.
    """
    fused = _with_sums_of_matrices(draft)
    order = fused.in_order(fused.nodes)
    place = {old: new for new, old in enumerate(order)}
    nodes = [fused.nodes[i].moved(place) for i in order]
    return assemble(name, nodes, [place[out] for out in fused.outputs], doc)


def _with_sums_of_matrices(draft: Draft) -> Draft:
    """Write linear(a) + linear(b) as linear(a, b), where nothing else reads or names the parts."""
    nodes = dict(draft.nodes)
    uses = {i: draft.n_uses(i) for i in nodes}

    def is_part(i: int) -> bool:
        n = nodes[i]
        return n.op == "linear" and not n.number("eye") and not n.name and uses[i] == 1

    for i in draft.in_order(nodes):
        n = nodes[i]
        if n.op == "add" and all(map(is_part, n.args)):
            left, right = (nodes[arg] for arg in n.args)
            if left.attr("width") == right.attr("width"):
                biases = [m.number("bias") for m in (left, right) if m.attr("bias") is not None]
                attrs = dict(left.attrs) | {"bias": sum(biases) if biases else None}
                nodes[i] = make_node("linear", left.args + right.args, attrs, n.name)
    return Draft.pruned(nodes, draft.outputs)


def n_operations(cell: Cell) -> int:
    """Operations of a cell, each matrix and each addition to another one counted."""
    live = (cell.nodes[i] for i in cell.live)
    return sum(2 * len(n.args) - 1 if n.op == "linear" else OPS[n.op].kind != "leaf" for n in live)


def n_matrices(cell: Cell) -> int:
    """Matrices of a cell, in `linear` and in structured maps, peepholes left out."""
    live = (cell.nodes[i] for i in cell.live)
    return sum(len(n.args) for n in live if n.op in ("linear", "block_diagonal", "masked", "skew"))


def pick(candidates: Iterable[int], rng: Random) -> int | None:
    """One of the candidates, or None if there is none."""
    given = list(candidates)
    return rng.choice(given) if given else None
