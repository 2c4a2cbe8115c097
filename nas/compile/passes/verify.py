"""What must hold between the compiler's passes, executable.

An invariant looks at each node, argument or column once and yields each way in which it is broken.
"""

from collections.abc import Callable, Iterator, Sequence

from nas.cell.graph import is_learned
from nas.cell.ops import INPUTS
from nas.compile.passes.rewrite import expression, folded, identity
from nas.compile.plan import MATRIX_OPS, Plan

Invariant = Callable[[Plan], Iterator[str]]


class PassError(AssertionError):
    """A pass has made a wrong plan: an error of the compiler, not of the cell."""


def verify(plan: Plan, name: str, invariants: Sequence[Invariant]) -> None:
    """Raise PassError if one of the invariants does not hold after the pass of this name."""
    for invariant in invariants:
        for fault in invariant(plan):
            rule = invariant.__name__.replace("_", " ")
            raise PassError(
                f'pass {name} of cell {plan.cell.name} breaks "{rule}": {fault}. This is an error '
                "of nas, not of the cell; please report it with the cell's text."
            )


def _label(plan: Plan, i: int) -> str:
    return f"node {i} ({plan.node(i).op})"


# Always.


def arguments_come_first_and_are_live(plan: Plan) -> Iterator[str]:
    for i in plan.live:
        for arg in plan.args(i):
            reads = f"{_label(plan, i)} reads {_label(plan, arg)}"
            if arg >= i:
                yield f"{reads}, which does not come before it"
            if arg not in plan.live:
                yield f"{reads}, which is dead"


def outputs_are_live(plan: Plan) -> Iterator[str]:
    for i in plan.outputs:
        if i not in plan.live:
            yield f"{_label(plan, i)} is an output and dead"


def a_node_stands_for_an_earlier_one_of_its_width(plan: Plan) -> Iterator[str]:
    for i, j in enumerate(plan.same):
        if j > i or plan.same[j] != j:
            yield f"{_label(plan, i)} stands for {_label(plan, j)}"
        if plan.sizes[i] != plan.sizes[j]:
            yield f"{_label(plan, i)} of width {plan.sizes[i]} stands for one of {plan.sizes[j]}"


def inputs_and_parameters_stay_their_own(plan: Plan) -> Iterator[str]:
    """Each is there as the cell has it, and so is the shape of its matrix."""
    for i in plan.cell.live:
        was, now = plan.cell.nodes[i], plan.node(i)
        if was.op in INPUTS and (plan.same[i] != i or now != was):
            yield f"{_label(plan, i)} was {was.op} {was.name}"
        if is_learned(was):
            if plan.same[i] != i or i not in plan.live:
                yield f"the parameters of {_label(plan, i)} are gone"
            if (now.op, now.attrs) != (was.op, was.attrs):
                yield f"{_label(plan, i)} was {was.op} with {was.attrs}"
            if [plan.sizes[arg] for arg in now.args] != [plan.sizes[arg] for arg in was.args]:
                yield f"the arguments of {_label(plan, i)} have other widths"


ALWAYS: tuple[Invariant, ...] = (
    arguments_come_first_and_are_live,
    outputs_are_live,
    a_node_stands_for_an_earlier_one_of_its_width,
    inputs_and_parameters_stay_their_own,
)


# After passes that rewrite nodes.


def every_node_is_needed(plan: Plan) -> Iterator[str]:
    read = {arg for i in plan.live for arg in plan.args(i)}
    for i in sorted(plan.live - read - set(plan.outputs)):
        yield f"nothing reads {_label(plan, i)}"


def no_operation_is_of_constants(plan: Plan) -> Iterator[str]:
    for i in plan.live:
        if folded(plan.nodes, i):
            yield f"{_label(plan, i)} is a number"


def no_operation_is_an_identity(plan: Plan) -> Iterator[str]:
    for i in plan.live:
        equal = identity(plan.nodes, i)
        if equal is not None:
            yield f"{_label(plan, i)} equals {_label(plan, equal)}"


def no_expression_is_there_twice(plan: Plan) -> Iterator[str]:
    first: dict[object, int] = {}
    for i in plan.live:
        other = first.setdefault(expression(plan.nodes, i), i)
        if other != i:
            yield f"{_label(plan, i)} computes what {_label(plan, other)} does"


# After passes that give nodes their places.


def only_what_depends_on_a_state_is_in_the_loop(plan: Plan) -> Iterator[str]:
    """And its depth is that of its deepest argument, and one more for a matrix."""
    yield from _misplaced(plan, "depends on no state", {"state"})


def only_what_all_rows_share_is_hoisted(plan: Plan) -> Iterator[str]:
    """What depends on a state, x, a vertical or the number of the step is in the loop, where it is
    not given; depths as above."""
    yield from _misplaced(plan, "is the same in all rows", {*INPUTS, "step"})


def _misplaced(plan: Plan, outside: str, sources: set[str]) -> Iterator[str]:
    """Ways in which the loop is not what depends on an op of `sources`, which are `outside` of it
    but for the states."""
    for i in sorted(set(plan.depth) - plan.live):
        yield f"{_label(plan, i)} is dead"
    reached: set[int] = set()
    for i in sorted(plan.live):
        op, args = plan.node(i).op, plan.args(i)
        is_source = op in sources
        if is_source or not reached.isdisjoint(args):
            reached.add(i)
        belongs = op == "state" or (i in reached and not is_source)
        if belongs != (i in plan.depth):
            yield f"{_label(plan, i)} {'is hoisted' if belongs else outside}"
        below = [plan.depth[arg] for arg in args if arg in plan.depth]
        expected = max(below, default=0) + (op in MATRIX_OPS)
        if belongs and plan.depth.get(i, expected) != expected:
            yield f"{_label(plan, i)} has depth {plan.depth[i]} instead of {expected}"


def every_map_of_the_loop_is_in_one_stage(plan: Plan) -> Iterator[str]:
    """That of its depth; so no map of a stage depends on another of it."""
    maps = sorted(i for i in plan.depth if plan.node(i).op in MATRIX_OPS)
    placed = [(t.node, s) for s, stage in enumerate(plan.stages, 1) for t in stage.targets]
    if sorted(i for i, _ in placed) != maps:
        yield f"maps {maps} are placed as {sorted(placed)}"
    for i, s in placed:
        for arg in plan.loop_args(i):
            if plan.depth[arg] >= s:
                late = f"{_label(plan, arg)} of depth {s} or more"
                yield f"{_label(plan, i)} of stage {s} reads {late}"


def columns_do_not_overlap(plan: Plan) -> Iterator[str]:
    """And they are whole vectors, side by side, as wide as their maps."""
    for s, stage in enumerate(plan.stages, 1):
        end = 0
        for target in stage.targets:
            if target.column != end:
                begin = f"begin at {target.column}, not {end}"
                yield f"stage {s}: columns of node {target.node} {begin}"
            width = plan.sizes[target.node]
            if (target.width, target.padded) != (width, plan.whole(width)):
                yield f"stage {s}: {target} is not {width} columns in whole vectors"
            end += target.padded
        if stage.columns != end:
            yield f"stage {s} has {stage.columns} columns for {end}"


def products_are_what_the_maps_read(plan: Plan) -> Iterator[str]:
    for s, stage in enumerate(plan.stages, 1):
        products = (*stage.inputs, *stage.products)
        wanted = sorted({(t.node, arg) for t in stage.targets for arg in plan.args(t.node)})
        made = sorted((t.node, p.arg) for p in products for t in p.targets)
        if made != wanted:
            yield f"stage {s} multiplies {made} instead of {wanted}"
        for product in products:
            end, of_arg = product.first, f"stage {s}: a product of {_label(plan, product.arg)}"
            for target in product.targets:
                if target not in stage.targets or target.column != end:
                    yield f"{of_arg} has gaps"
                end += target.padded
            if end != product.first + product.count:
                yield f"{of_arg} ends at {end}"
        if any(p.arg in plan.depth for p in stage.inputs):
            yield f"stage {s} multiplies a value of the loop before the loop"
        if any(p.arg not in plan.depth for p in stage.products):
            yield f"stage {s} multiplies a hoisted value in the loop"


def every_node_of_the_loop_has_one_place(plan: Plan) -> Iterator[str]:
    """A stage for maps, a region for what is elementwise or by row, none for states."""
    if len(plan.regions) != len(plan.stages) + 1:
        yield f"{len(plan.regions)} regions for {len(plan.stages)} stages"
    placed = [t.node for stage in plan.stages for t in stage.targets]
    placed += [i for region in plan.regions for i in region]
    placed += [i for i in plan.depth if plan.node(i).op == "state"]
    if sorted(placed) != sorted(plan.depth):
        yield f"nodes {sorted(plan.depth)} are placed as {sorted(placed)}"


def values_are_there_when_read(plan: Plan) -> Iterator[str]:
    """Region 0, stage 1, region 1, …, in their order."""
    known = {i for i in plan.live if i not in plan.depth or plan.node(i).op == "state"}
    for s, region in enumerate(plan.regions):
        maps = [t.node for t in plan.stages[s - 1].targets] if s else []
        for group in (maps, *([i] for i in region)):
            for i in group:
                for arg in plan.args(i):
                    if arg not in known:
                        yield f"{_label(plan, i)} reads {_label(plan, arg)} before it is there"
            known.update(group)
