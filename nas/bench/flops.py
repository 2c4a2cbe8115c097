"""Floating-point operations of the matrix products that a C loop and what surrounds it execute."""

from nas.bench.config import Input, Shape
from nas.cell.cell import Cell
from nas.cell.graph import is_learned
from nas.compile.passes import make_plan
from nas.compile.plan import MATRIX_OPS, Plan


def matrix_flops(
    cell: Cell, shape: Shape, inputs: Input, *, backward: bool, folding: bool = True
) -> float:
    """Operations of all products of a sequence, 2 for a multiply-add, as they are executed.

    A product with weights has two more in the backward pass, for the weights and for what they are
    multiplied with; the second falls away for data, which needs no gradient. With `folding`,
    products of tokens are made once a symbol where that is less. Padding does not count.
    """
    plan = make_plan(cell, shape.hidden, shape.hidden, lanes=1)
    rows = shape.batch * shape.steps
    outside = min(rows, shape.vocabulary) if folding and folds(cell, inputs) else rows
    moving = _differentiable(plan, inputs)
    total = 0.0
    for i in plan.live:
        if plan.node(i).op not in MATRIX_OPS:
            continue
        for arg in plan.args(i):
            passes = 1
            if backward:
                passes += is_learned(plan.node(i)) + (arg in moving)
            in_loop = arg in plan.depth
            total += passes * _once(plan, i, arg, dense=in_loop) * (rows if in_loop else outside)
    return total


def folds(cell: Cell, inputs: Input) -> bool:
    """Whether what depends on no state depends on the symbol alone."""
    return inputs == "tokens" and not any(n.op in ("step", "vertical") for n in cell.nodes)


def _once(plan: Plan, i: int, arg: int, *, dense: bool) -> float:
    """One row's product; the loop multiplies independent blocks as one matrix with zeros."""
    n, whole = plan.node(i), 2.0 * plan.sizes[i] * plan.sizes[arg]
    return whole if dense or n.op != "block_diagonal" else whole / n.number("blocks")


def _differentiable(plan: Plan, inputs: Input) -> set[int]:
    """Nodes that the backward pass computes a gradient of."""
    found: set[int] = set()
    for i in sorted(plan.live):
        n = plan.node(i)
        leaf = n.op == "input" and inputs == "tokens"
        if leaf or is_learned(n) or i in plan.depth or found.intersection(plan.args(i)):
            found.add(i)
    return found
