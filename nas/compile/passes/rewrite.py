"""Passes that make a cell smaller without changing a bit of its results.

A node may become a constant, or another node may take its place. Gradients stay the same too, up
to the rounding where those of several uses are summed at another place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from nas.cell.graph import Node, is_learned, node
from nas.cell.ops import INPUTS, OPS
from nas.compile.plan import Plan

Rule = Callable[[Sequence[Node], int], Node | int]
"""From all nodes and a node's number: a new operation for it, or the number of an equal node."""

SWAPPED = ("add", "mul")
"""Operations whose arguments change places bit for bit; max(0, -0) and max(-0, 0) differ."""


def remove_dead_code(plan: Plan) -> Plan:
    """Nodes on which no output depends are no longer live."""
    open_nodes, live = list(plan.outputs), set[int]()
    while open_nodes:
        i = open_nodes.pop()
        if i not in live:
            live.add(i)
            open_nodes.extend(plan.args(i))
    return replace(plan, live=frozenset(live))


def fold_constants(plan: Plan) -> Plan:
    """An elementwise operation of constants becomes the constant that it gives.

    The eager reference's functions compute it in float64; either backend rounds it to the dtype
    where it meets a tensor. NaN stays an operation: the language has no such constant.
    """
    return _rewritten(plan, lambda nodes, i: folded(nodes, i) or nodes[i])


def folded(nodes: Sequence[Node], i: int) -> Node | None:
    """The constant that a node always gives, if it is an operation of constants."""
    args = [nodes[arg] for arg in nodes[i].args]
    if OPS[nodes[i].op].kind != "elementwise" or any(arg.op != "constant" for arg in args):
        return None
    # Late, for searches that count the stages of a cell and do without torch.
    from nas.compile.reference import of_numbers

    value = of_numbers(nodes[i], [arg.number("value") for arg in args])
    return None if math.isnan(value) else node("constant", value=value)


def remove_identities(plan: Plan) -> Plan:
    """An operation that returns its argument unchanged is left out."""

    def rule(nodes: Sequence[Node], i: int) -> int:
        equal = identity(nodes, i)
        return i if equal is None else equal

    return _rewritten(plan, rule)


def identity(nodes: Sequence[Node], i: int) -> int | None:
    """The node that a node equals bit for bit, whatever its value: NaN, infinite or -0.

    a * 1, a / 1, a - 0, a + (-0), -(-a), relu(relu(a)) and abs(abs(a)). Not a + 0, which turns -0
    into 0; not a * 0, which is NaN where a is infinite; not a - a nor a / a, for the same; not
    max(a, a), whose halves of a gradient are rounded, and which has none where a is NaN.
    """
    n = nodes[i]
    match n.op:
        case "mul" if _is(nodes[n.args[0]], 1.0):
            return n.args[1]
        case "mul" | "div" if _is(nodes[n.args[1]], 1.0):
            return n.args[0]
        case "sub" if _is(nodes[n.args[1]], 0.0):
            return n.args[0]
        case "add" if _is(nodes[n.args[0]], -0.0):
            return n.args[1]
        case "add" if _is(nodes[n.args[1]], -0.0):
            return n.args[0]
        case "neg" if nodes[n.args[0]].op == "neg":
            return nodes[n.args[0]].args[0]
        case "relu" | "abs" if nodes[n.args[0]].op == n.op:
            return n.args[0]
    return None


def _is(n: Node, value: float) -> bool:
    """Whether a node is this constant; 0 and -0 are two."""
    return n.op == "constant" and repr(n.number("value")) == repr(value)


def merge_repetitions(plan: Plan) -> Plan:
    """Equal expressions become one; inputs and nodes with parameters stay apart."""
    first: dict[object, int] = {}
    return _rewritten(plan, lambda nodes, i: first.setdefault(expression(nodes, i), i))


def expression(nodes: Sequence[Node], i: int) -> object:
    """A key of a node's value, equal for nodes that compute the same."""
    n = nodes[i]
    if is_learned(n) or n.op in INPUTS:
        return i
    args = tuple(sorted(n.args)) if n.op in SWAPPED else n.args
    return n.op, args, repr(n.attrs)  # repr: 0.0 == -0.0, and they are two constants


def _rewritten(plan: Plan, rule: Rule) -> Plan:
    """Apply a rule to each live node in turn, after its arguments."""
    nodes, same = list(plan.nodes), list(plan.same)
    for i in range(len(nodes)):
        if same[i] != i:
            same[i] = same[same[i]]
        elif i in plan.live:
            args = tuple(same[arg] for arg in nodes[i].args)
            if args != nodes[i].args:
                nodes[i] = replace(nodes[i], args=args)
            replacement = rule(nodes, i)
            if isinstance(replacement, Node):
                nodes[i] = replacement
            else:
                same[i] = replacement
    return remove_dead_code(replace(plan, nodes=tuple(nodes), same=tuple(same)))
