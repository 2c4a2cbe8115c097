"""Passes that place every node before the loop, in a stage, or in a region."""

from collections.abc import Sequence
from dataclasses import replace

from nas.cell.ops import INPUTS
from nas.compile.plan import MATRIX_OPS, Plan, Product, Stage, Target

GIVEN = (*INPUTS, "step", "constant")
"""What is there before a step."""


def hoist(plan: Plan) -> Plan:
    """Values that depend on no state leave the loop; the others get their depth."""
    return replace(plan, depth=plan.from_states)


def hoist_parameters(plan: Plan) -> Plan:
    """Values of parameters alone leave the loop; the others, of x alone too, get their depth.

    For C: each value that is computed before the loop is some operations of torch, there and back,
    which take longer than the C of a small layer.
    """
    vectors, depth = hoist(plan).vectors, dict[int, int]()
    for i in sorted(plan.live):
        op = plan.node(i).op
        if op == "state":
            depth[i] = 0
        elif i not in vectors and op not in GIVEN:
            below = [depth[arg] for arg in plan.args(i) if arg in depth]
            depth[i] = max(below, default=0) + (op in MATRIX_OPS)
    return replace(plan, depth=depth)


def join_stages(plan: Plan) -> Plan:
    """Linear maps of one depth become the columns of one matrix."""
    deepest = max(plan.depth.values(), default=0)
    return replace(plan, stages=tuple(_stage(plan, s) for s in range(1, deepest + 1)))


def _stage(plan: Plan, s: int) -> Stage:
    nodes = [i for i, d in plan.depth.items() if d == s and plan.node(i).op in MATRIX_OPS]
    # Maps that read the same values lie side by side, so that each product is one block.
    nodes.sort(key=lambda i: (plan.loop_args(i), plan.input_args(i), i))
    targets, column = [], 0
    for i in nodes:
        targets.append(Target(i, column, plan.sizes[i], plan.whole(plan.sizes[i])))
        column += targets[-1].padded
    read = sorted({arg for i in nodes for arg in plan.args(i)})
    products = [product for arg in read for product in _products(plan, arg, targets)]
    return Stage(
        tuple(targets),
        tuple(p for p in products if p.arg not in plan.depth),
        tuple(p for p in products if p.arg in plan.depth),
        column,
    )


def _products(plan: Plan, arg: int, targets: Sequence[Target]) -> list[Product]:
    """The runs of neighbouring columns whose maps read `arg`."""
    runs: list[list[Target]] = []
    for target in targets:
        if arg not in plan.args(target.node):
            continue
        if runs and runs[-1][-1].column + runs[-1][-1].padded == target.column:
            runs[-1].append(target)
        else:
            runs.append([target])
    return [
        Product(arg, tuple(run), run[0].column, sum(target.padded for target in run))
        for run in runs
    ]


def group_regions(plan: Plan) -> Plan:
    """Elementwise and row operations are computed as soon as the stage below them is."""
    regions: list[list[int]] = [[] for _ in range(len(plan.stages) + 1)]
    for i in sorted(plan.depth):
        if plan.node(i).op not in MATRIX_OPS and plan.node(i).op != "state":
            regions[plan.depth[i]].append(i)
    return replace(plan, regions=tuple(map(tuple, regions)))
