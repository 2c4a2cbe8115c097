"""Floating-point operations of the matrix products in a C loop and around it."""

from nas.bench.config import Input, Shape
from nas.cell.cell import Cell
from nas.cell.graph import is_learned
from nas.compile.passes import make_plan
from nas.compile.plan import MATRIX_OPS, Plan


def matrix_flops(
    cell: Cell, shape: Shape, inputs: Input, *, backward: bool, folding: bool = True
) -> float:
    """Executed operations of all products of a sequence; a multiply-add counts 2, padding 0.

    The backward pass has two more products for each one with weights: the gradient of the weights
    and that of their argument, which data does not need. With `folding`, products of tokens are
    made once a symbol where that is less.
    """
    plan = make_plan(cell, shape.hidden, shape.hidden, lanes=1)
    rows = shape.batch * shape.steps
    outside = min(rows, shape.vocabulary) if folding and folds(cell, inputs) else rows
    with_gradient = _differentiable(plan, inputs)
    total = 0.0
    for i in plan.live:
        if plan.node(i).op not in MATRIX_OPS:
            continue
        for arg in plan.args(i):
            passes = 1
            if backward:
                passes += is_learned(plan.node(i)) + (arg in with_gradient)
            in_loop = arg in plan.depth
            total += passes * _once(plan, i, arg, dense=in_loop) * (rows if in_loop else outside)
    return total


def folds(cell: Cell, inputs: Input) -> bool:
    """Whether all nodes that read no state depend on the symbol alone."""
    return inputs == "tokens" and not any(n.op in ("step", "vertical") for n in cell.nodes)


def _once(plan: Plan, i: int, arg: int, *, dense: bool) -> float:
    """Operations of one row's product; the loop multiplies blocks as one matrix with zeros."""
    n, whole = plan.node(i), 2.0 * plan.sizes[i] * plan.sizes[arg]
    return whole if dense or n.op != "block_diagonal" else whole / n.number("blocks")


def _differentiable(plan: Plan, inputs: Input) -> set[int]:
    """The nodes whose gradient the backward pass computes."""
    nodes: set[int] = set()
    for i in sorted(plan.live):
        n = plan.node(i)
        leaf = n.op == "input" and inputs == "tokens"
        if leaf or is_learned(n) or i in plan.depth or nodes.intersection(plan.args(i)):
            nodes.add(i)
    return nodes
