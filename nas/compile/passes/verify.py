"""What must hold between the compiler's passes, executable.

An invariant looks at each node, argument or column once and returns how it is broken, or nothing.
"""

from collections.abc import Callable, Iterable, Sequence

from nas.cell.graph import is_learned
from nas.cell.ops import INPUTS
from nas.compile.passes.rewrite import expression, folded, identity
from nas.compile.plan import MATRIX_OPS, Plan, Product, Stage

Invariant = Callable[[Plan], str]


class PassError(AssertionError):
    """A pass has made a wrong plan: an error of the compiler, not of the cell."""


def verify(plan: Plan, name: str, invariants: Sequence[Invariant]) -> None:
    """Raise PassError if one of the invariants does not hold after the pass of this name."""
    for invariant in invariants:
        if broken := invariant(plan):
            rule = invariant.__name__.replace("_", " ")
            raise PassError(
                f'pass {name} of cell {plan.cell.name} breaks "{rule}": {broken}. This is an error '
                "of nas, not of the cell; please report it with the cell's text."
            )


def _said(plan: Plan, i: int) -> str:
    return f"node {i} ({plan.node(i).op})"


# Always.


def arguments_come_first_and_are_live(plan: Plan) -> str:
    for i in plan.live:
        for arg in plan.args(i):
            if arg >= i:
                return f"{_said(plan, i)} reads {_said(plan, arg)}, which does not come before it"
            if arg not in plan.live:
                return f"{_said(plan, i)} reads {_said(plan, arg)}, which is dead"
    return ""


def outputs_are_live(plan: Plan) -> str:
    dead = next((i for i in plan.outputs if i not in plan.live), None)
    return "" if dead is None else f"{_said(plan, dead)} is an output and dead"


def a_node_stands_for_an_earlier_one_of_its_width(plan: Plan) -> str:
    for i, j in enumerate(plan.same):
        if j > i or plan.same[j] != j:
            return f"{_said(plan, i)} stands for {_said(plan, j)}"
        if plan.sizes[i] != plan.sizes[j]:
            return f"{_said(plan, i)} of width {plan.sizes[i]} stands for one of {plan.sizes[j]}"
    return ""


def inputs_and_parameters_stay_their_own(plan: Plan) -> str:
    """Each is there as the cell has it, and so is the shape of its matrix."""
    for i in plan.cell.live:
        was = plan.cell.nodes[i]
        if was.op in INPUTS and (plan.same[i] != i or plan.node(i) != was):
            return f"{_said(plan, i)} was {was.op} {was.name}"
        if is_learned(was):
            now = plan.node(i)
            if plan.same[i] != i or i not in plan.live:
                return f"the parameters of {_said(plan, i)} are gone"
            if (now.op, now.attrs) != (was.op, was.attrs):
                return f"{_said(plan, i)} was {was.op} with {was.attrs}"
            if _widths(plan, now.args) != _widths(plan, was.args):
                return f"the arguments of {_said(plan, i)} have other widths"
    return ""


def _widths(plan: Plan, nodes: Iterable[int]) -> list[int]:
    return [plan.sizes[i] for i in nodes]


ALWAYS: tuple[Invariant, ...] = (
    arguments_come_first_and_are_live,
    outputs_are_live,
    a_node_stands_for_an_earlier_one_of_its_width,
    inputs_and_parameters_stay_their_own,
)


# After passes that rewrite nodes.


def every_node_is_needed(plan: Plan) -> str:
    read = {arg for i in plan.live for arg in plan.args(i)}
    idle = plan.live - read - set(plan.outputs)
    return f"nothing reads {_said(plan, min(idle))}" if idle else ""


def no_operation_is_of_constants(plan: Plan) -> str:
    found = next((i for i in plan.live if folded(plan.nodes, i)), None)
    return "" if found is None else f"{_said(plan, found)} is a number"


def no_operation_is_an_identity(plan: Plan) -> str:
    for i in plan.live:
        found = identity(plan.nodes, i)
        if found is not None:
            return f"{_said(plan, i)} equals {_said(plan, found)}"
    return ""


def no_expression_is_there_twice(plan: Plan) -> str:
    seen: dict[object, int] = {}
    for i in plan.live:
        other = seen.setdefault(expression(plan.nodes, i), i)
        if other != i:
            return f"{_said(plan, i)} computes what {_said(plan, other)} does"
    return ""


# After passes that give nodes their places.


def only_what_depends_on_a_state_is_in_the_loop(plan: Plan) -> str:
    """And its depth is that of its deepest argument, and one more for a matrix."""
    if strangers := set(plan.depth) - plan.live:
        return f"{_said(plan, min(strangers))} is dead"
    for i in plan.live:
        below = [plan.depth[arg] for arg in plan.args(i) if arg in plan.depth]
        depends = plan.node(i).op == "state" or bool(below)
        if depends != (i in plan.depth):
            return f"{_said(plan, i)} {'is hoisted' if depends else 'depends on no state'}"
        expected = max(below, default=0) + (plan.node(i).op in MATRIX_OPS)
        if depends and plan.depth[i] != expected:
            return f"{_said(plan, i)} has depth {plan.depth[i]} instead of {expected}"
    return ""


def every_map_of_the_loop_is_in_one_stage(plan: Plan) -> str:
    """That of its depth; so no map of a stage depends on another of it."""
    maps = [i for i in plan.depth if plan.node(i).op in MATRIX_OPS]
    placed = {t.node: s for s, stage in enumerate(plan.stages, 1) for t in stage.targets}
    n_placed = sum(len(stage.targets) for stage in plan.stages)
    if placed.keys() != set(maps) or n_placed != len(maps):
        return f"maps {sorted(maps)} are placed as {sorted(placed)}, in {n_placed} places"
    for i, s in placed.items():
        late = [arg for arg in plan.loop_args(i) if plan.depth[arg] >= s]
        if late:
            return (
                f"{_said(plan, i)} of stage {s} reads {_said(plan, late[0])} of depth {s} or more"
            )
    return ""


def columns_do_not_overlap(plan: Plan) -> str:
    """And they are whole vectors, side by side, as wide as their maps."""
    for s, stage in enumerate(plan.stages, 1):
        end = 0
        for target in stage.targets:
            if target.column != end:
                return (
                    f"stage {s}: columns of node {target.node} begin at {target.column}, not {end}"
                )
            width = plan.sizes[target.node]
            if (target.width, target.padded) != (width, plan.whole(width)):
                return f"stage {s}: {target} is not {width} columns in whole vectors"
            end += target.padded
        if stage.columns != end:
            return f"stage {s} has {stage.columns} columns for {end}"
    return ""


def products_are_what_the_maps_read(plan: Plan) -> str:
    for s, stage in enumerate(plan.stages, 1):
        wanted = {(t.node, arg) for t in stage.targets for arg in plan.args(t.node)}
        found = [(t.node, p.arg) for p in _products(stage) for t in p.targets]
        if len(found) != len(wanted) or set(found) != wanted:
            return f"stage {s} multiplies {sorted(found)} instead of {sorted(wanted)}"
        for product in _products(stage):
            end = product.first
            for target in product.targets:
                if target not in stage.targets or target.column != end:
                    return f"stage {s}: a product of {_said(plan, product.arg)} has gaps"
                end += target.padded
            if end != product.first + product.count:
                return f"stage {s}: a product of {_said(plan, product.arg)} ends at {end}"
        if any(p.arg in plan.depth for p in stage.inputs):
            return f"stage {s} multiplies a value of the loop before the loop"
        if any(p.arg not in plan.depth for p in stage.products):
            return f"stage {s} multiplies a hoisted value in the loop"
    return ""


def _products(stage: Stage) -> tuple[Product, ...]:
    return (*stage.inputs, *stage.products)


def every_node_of_the_loop_has_one_place(plan: Plan) -> str:
    """A stage for maps, a region for what is elementwise or by row, none for states."""
    if len(plan.regions) != len(plan.stages) + 1:
        return f"{len(plan.regions)} regions for {len(plan.stages)} stages"
    maps = [t.node for stage in plan.stages for t in stage.targets]
    others = [i for region in plan.regions for i in region]
    states = [i for i in plan.depth if plan.node(i).op == "state"]
    if sorted(maps + others + states) != sorted(plan.depth):
        return f"nodes {sorted(plan.depth)} are placed as {sorted(maps + others + states)}"
    return ""


def values_are_there_when_read(plan: Plan) -> str:
    """Region 0, stage 1, region 1, …, in their order."""
    known = {i for i in plan.live if i not in plan.depth or plan.node(i).op == "state"}
    for s, region in enumerate(plan.regions):
        maps = [t.node for t in plan.stages[s - 1].targets] if s else []
        for group in (maps, *([i] for i in region)):
            late = next(((i, arg) for i in group for arg in plan.args(i) if arg not in known), None)
            if late:
                return f"{_said(plan, late[0])} reads {_said(plan, late[1])} before it is there"
            known.update(group)
    return ""
