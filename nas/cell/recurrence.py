"""How a cell depends on its past, and so whether the steps of a sequence can be computed together.

States that read one another through the steps are a group; the values of other groups that it reads
are known before it is computed. A group is a scan if its new values are, unit by unit, affine in
its old ones, or if its one state's new value is a maximum or minimum of the old one plus known
values: such maps compose into one of their kind.
"""

from typing import Literal

from nas.cell.graph import Graph, Node, reachable
from nas.cell.ops import OPS

Recurrence = Literal["scan", "elementwise", "sequential"]
"""scan: affine, so parallel over time; elementwise: unit by unit; sequential: through matrices."""
FREE = frozenset({"free"})
"""A value that does not depend on the group's states."""
OF_STATE = frozenset({"affine", "shifted", "unit"})
"""A state depends on itself in every way: affine, shifted by known values, unit by unit."""
LINEAR = ("add", "sub", "neg", "diagonal")


def recurrence(cell: Graph) -> Recurrence:
    """The kind of the slowest group of states."""
    kinds = [_kind(cell, group) for group in groups(cell)]
    order: tuple[Recurrence, ...] = ("scan", "elementwise", "sequential")
    return max(kinds, key=order.index, default="scan")


def groups(cell: Graph) -> list[frozenset[int]]:
    """The groups of states, by their places, that depend on their own past."""
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
    news = (values[cell.new_states[k]] for k in group)
    kinds = frozenset.intersection(*(OF_STATE if new == FREE else new for new in news))
    if "affine" in kinds or ("shifted" in kinds and len(group) == 1):
        return "scan"
    return "elementwise" if "unit" in kinds else "sequential"


def _value(n: Node, args: list[frozenset[str]]) -> frozenset[str]:
    """How a node depends on the group's states, given how its arguments do."""
    moving = [arg for arg in args if arg != FREE]
    if not moving:
        return FREE
    if OPS[n.op].kind != "elementwise" and n.op != "diagonal":
        return frozenset()
    common = frozenset.intersection(*moving)
    kept = {"unit"}
    if n.op in LINEAR or _is_scaled(n, args):
        kept.add("affine")
    is_shift = n.op == "add" or (n.op == "sub" and args[0] != FREE)
    if n.op in ("max", "min") or (is_shift and len(moving) == 1):
        kept.add("shifted")
    return common & kept


def _is_scaled(n: Node, args: list[frozenset[str]]) -> bool:
    """Whether a product, quotient or blend only scales values of the states by known ones."""
    if n.op == "mul":
        return FREE in args
    return (n.op == "div" and args[1] == FREE) or (n.op == "blend" and args[0] == FREE)
