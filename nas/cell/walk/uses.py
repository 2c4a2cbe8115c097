"""What a value is for, read off the products in which it stands: to keep, to write, to show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nas.cell.graph import Graph
from nas.cell.ops import INPUTS, LEARNED
from nas.cell.walk.steps import MATRICES, Graphs, Step
from nas.cell.walk.values import Factor, Term, terms_of

Kind = Literal["keep", "reset", "show", "write", "scale"]
SUMS = ("add", "sub", "neg", "mul", "div", "blend")
"""Operations of which sums of products are made."""


@dataclass(frozen=True)
class Use:
    """One product in which a value stands.

    keep: times an old state, on its way to the new value of that state. reset: times an old state,
    or a learned map of old states, that is read for something else. show: times the new value of
    another state. write: times something else, on the way to a new state. scale: any other.
    """

    kind: Kind
    by: Literal["plain", "rest", "inverse"]
    """Whether the value itself, 1 minus it, or its inverse is the factor."""
    others: tuple[Factor, ...]
    """The other factors, without numbers."""
    states: tuple[int, ...]
    """Places of the states that are kept, read, shown or written."""
    into: int
    """The root of the step that has the product."""
    of: int
    """The root of the step whose value it is."""


def flows(graphs: Graphs, steps: Sequence[Step]) -> list[frozenset[int]]:
    """The states that are sums in which a node stands: as a term, or in the last step as a factor.

    Functions count where they are around the whole of the new state.
    """
    cell = graphs.cell
    last = {i for step in steps if step.states for i in step.nodes}
    reached: list[set[int]] = [set() for _ in cell.nodes]
    whole: list[set[int]] = [set() for _ in cell.nodes]
    for k, new in enumerate(cell.new_states):
        whole[new].add(k)
    for i in sorted(cell.live, reverse=True):
        goes = reached[i] = whole[i] | (set() if i in cell.new_states else reached[i])
        n = cell.nodes[i]
        for arg in n.args:
            is_own = i in last and arg in last
            if n.op in ("add", "sub", "neg") or (n.op in SUMS and is_own):
                reached[arg] |= goes if n.op != "div" or arg == n.args[0] else set()
            elif graphs.is_function(i):
                whole[arg] |= whole[i]
    return [frozenset(found) for found in reached]


def uses_of(graphs: Graphs, steps: Sequence[Step]) -> dict[int, tuple[Use, ...]]:
    """The products in which the value of each step stands, in the order of the steps."""
    goes = flows(graphs, steps)
    found: dict[int, list[Use]] = {step.root: [] for step in steps}
    for step in steps:
        for top in tops(graphs, step):
            for term in terms_of(graphs.cell, top, frozenset(step.nodes)):
                for place, factor in enumerate(term.factors):
                    if factor.node in found and factor.node not in step.nodes:
                        use = _use(graphs, step, goes[top], term, place)
                        found[factor.node].append(use)
    return {root: tuple(dict.fromkeys(uses)) for root, uses in found.items()}


def tops(graphs: Graphs, step: Step) -> list[int]:
    """The nodes of a step that are whole sums of products, the step's own first."""
    inner = frozenset(step.nodes)
    factors = {
        i
        for k in step.nodes
        if graphs.op(k) in ("mul", "div", "blend")
        for i in graphs.cell.nodes[k].args
        if graphs.op(i) in ("add", "sub", "blend")
    }
    return [
        i
        for i in reversed(step.nodes)
        if graphs.op(i) in SUMS
        and (
            i == step.root
            or i in factors
            or not any(graphs.op(reader) in SUMS for reader in graphs.readers[i] if reader in inner)
        )
    ]


def _use(graphs: Graphs, step: Step, into: frozenset[int], term: Term, place: int) -> Use:
    cell = graphs.cell
    others = tuple(
        f for k, f in enumerate(term.factors) if k != place and graphs.op(f.node) != "constant"
    )
    varied = [factor.node for factor in others]
    olds = {i - 1 for i in varied if graphs.op(i) == "state"}
    news = set().union(*(shown_in(graphs, i, frozenset(step.nodes)) for i in varied))
    read = {arg - 1 for i in varied if graphs.op(i) in LEARNED for arg in cell.nodes[i].args}
    only_states = all(0 <= k < len(cell.states) for k in read) and bool(read)
    kind: Kind = "scale"
    states: set[int] | frozenset[int] = frozenset()
    if olds & into:
        kind, states = "keep", olds & into
    elif olds and not into:
        kind, states = "reset", olds
    elif only_states:
        kind, states = "reset", read
    elif news:
        kind, states = "show", news
    elif into:
        kind, states = "write", into
    by = term.factors[place]
    return Use(kind, by.form, others, tuple(sorted(states)), step.root, by.node)


def shown_in(graphs: Graphs, i: int, inner: frozenset[int]) -> set[int]:
    """The state whose new value, and nothing else, a node is a function of without matrices."""
    cell, waiting, read = graphs.cell, [i], set[int]()
    while waiting:
        k = waiting.pop()
        if k in cell.new_states and graphs.op(k) not in INPUTS:
            read.add(cell.new_states.index(k))
        elif k not in inner or graphs.op(k) in MATRICES:
            return set()
        else:
            waiting += cell.nodes[k].args
    return read if len(read) == 1 else set()


def shared_by(cell: Graph, terms: Sequence[Term], state: int) -> Factor | None:
    """The gate that shares a new state between its old value and something else, if it is so.

    In a * old + (1 - a) * b, or in old + a * (b - old), a is that gate.
    """
    old, pairs = 1 + state, [term for term in terms if len(term.factors) == 2]
    if len(terms) != 2 or any(term.negative for term in terms):
        return None
    if len(pairs) == 2:
        for keep, write in (pairs, pairs[::-1]):
            for gate in keep.factors:
                twin = Factor(gate.node, "rest" if gate.form == "plain" else "plain")
                if old in keep.nodes and gate.node != old and twin in write.factors:
                    return gate
    return None
