"""How a cell depends on its past, and so whether the steps of a sequence can be computed together.

States that read one another through the steps are a group; what a group reads of other groups is
known before it is computed. A group is a scan if its new values are, unit by unit, affine in its
old ones, or a state's is a maximum or minimum of it plus what is known: such maps compose into one
of their kind.
"""

from typing import Literal

from nas.cell.graph import Graph, Node, reachable
from nas.cell.ops import OPS

Recurrence = Literal["scan", "elementwise", "sequential"]
"""Affine (a scan in parallel over time); unit by unit but not affine; through matrices."""
FREE = frozenset({"free"})
OF_STATE = frozenset({"affine", "shifted", "unit"})
"""What a state is of itself: affine, shifted by what is known, a function of its own unit alone."""
LINEAR = ("add", "sub", "neg", "diagonal")


def recurrence(cell: Graph) -> Recurrence:
    """The kind of the slowest group of states."""
    kinds = [_kind(cell, group) for group in groups(cell)]
    order: tuple[Recurrence, ...] = ("scan", "elementwise", "sequential")
    return max(kinds, key=order.index, default="scan")


def groups(cell: Graph) -> list[frozenset[int]]:
    """States, by their place, that depend on their own past, with those that they depend on."""
    n = len(cell.states)
    needed = [reachable([new], lambda i: cell.nodes[i].args) for new in cell.new_states]
    reads = [{k for k in range(n) if k + 1 in nodes} for nodes in needed]  # node 0 is x
    for _ in range(n):
        reads = [states.union(*(reads[k] for k in states)) for states in reads]
    return list(
        dict.fromkeys(
            frozenset(j for j in range(n) if j in reads[i] and i in reads[j])
            for i in range(n)
            if i in reads[i]
        )
    )


def _kind(cell: Graph, group: frozenset[int]) -> Recurrence:
    values: list[frozenset[str]] = []
    for i, n in enumerate(cell.nodes):
        if n.op == "state" and i - 1 in group:
            values.append(OF_STATE)
        else:
            values.append(_value(n, [values[arg] for arg in n.args]))
    kinds = frozenset.intersection(*(_of(values[cell.new_states[k]]) for k in group))
    if "affine" in kinds or ("shifted" in kinds and len(group) == 1):
        return "scan"
    return "elementwise" if "unit" in kinds else "sequential"


def _of(value: frozenset[str]) -> frozenset[str]:
    return OF_STATE if value == FREE else value


def _value(n: Node, args: list[frozenset[str]]) -> frozenset[str]:
    """What a node is of the group's states, from what its arguments are."""
    moving = [arg for arg in args if arg != FREE]
    if not moving:
        return FREE
    if OPS[n.op].kind != "elementwise" and n.op != "diagonal":
        return frozenset()
    common = frozenset.intersection(*moving)
    kept = {"unit"}
    if n.op in LINEAR or _is_scaled(n, args):
        kept.add("affine")
    if (n.op in ("add", "sub") and len(moving) == 1 and args[0] == moving[0]) or (
        n.op == "add" and len(moving) == 1
    ):
        kept.add("shifted")
    if n.op in ("max", "min"):
        kept.add("shifted")
    return common & kept


def _is_scaled(n: Node, args: list[frozenset[str]]) -> bool:
    """Whether a product, quotient or blend only scales what moves by what is known."""
    if n.op == "mul":
        return FREE in args
    return (n.op == "div" and args[1] == FREE) or (n.op == "blend" and args[0] == FREE)
