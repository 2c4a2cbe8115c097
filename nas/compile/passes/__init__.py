"""The compiler's passes, which turn a cell into a plan; each is verified after it has run.

To add a pass, write a function `Plan -> Plan` and a line in REWRITING or PLACING with the
invariants of `nas/compile/passes/verify.py` that hold from then on. `NAS_DEBUG=passes` prints their
changes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nas.cell.cell import Cell
from nas.cell.count import size
from nas.compile.passes import place as place
from nas.compile.passes import rewrite as rewrite
from nas.compile.passes import verify as verify
from nas.compile.passes.verify import Invariant
from nas.compile.plan import Plan, unplanned


@dataclass(frozen=True)
class Pass:
    """A step from a cell to its plan."""

    name: str
    run: Callable[[Plan], Plan]
    holds: tuple[Invariant, ...]
    """Invariants of its result and of those of all later passes."""


REWRITING: tuple[Pass, ...] = (
    Pass("dead code", rewrite.remove_dead_code, (verify.every_node_is_needed,)),
    Pass("constants", rewrite.fold_constants, (verify.no_operation_is_of_constants,)),
    Pass("identities", rewrite.remove_identities, (verify.no_operation_is_an_identity,)),
    Pass("repetitions", rewrite.merge_repetitions, (verify.no_expression_is_there_twice,)),
)
HOISTING = Pass("hoisting", place.hoist, (verify.only_what_depends_on_a_state_is_in_the_loop,))
HOISTING_IN_C = Pass(
    "hoisting", place.hoist_parameters, (verify.only_what_all_rows_share_is_hoisted,)
)
PLACING: tuple[Pass, ...] = (
    Pass(
        "stages",
        place.join_stages,
        (
            verify.every_map_of_the_loop_is_in_one_stage,
            verify.columns_do_not_overlap,
            verify.products_are_what_the_maps_read,
        ),
    ),
    Pass(
        "regions",
        place.group_regions,
        (verify.every_node_of_the_loop_has_one_place, verify.values_are_there_when_read),
    ),
)


PASSES = (*REWRITING, HOISTING, *PLACING)
PASSES_IN_C = (*REWRITING, HOISTING_IN_C, *PLACING)


def make_plan(
    cell: Cell, input_size: int, hidden_size: int, lanes: int, *, in_c: bool = False
) -> Plan:
    """The plan of one layer in one direction: all passes, run on the cell as it is; with `in_c`
    that of the loop in C, whose steps compute what depends on x alone too.

    Raises:
        PassError: if a pass breaks an invariant, which is an error of the compiler.
    """
    sizes = tuple(size(width, input_size, hidden_size) for width in cell.widths)
    plan = unplanned(cell, sizes, lanes, in_c=in_c)
    for _, after in steps(plan):
        plan = after
    return plan


def steps(plan: Plan) -> Iterator[tuple[Pass, Plan]]:
    """Each pass with its result, verified."""
    held: list[Invariant] = list(verify.ALWAYS)
    for step in PASSES_IN_C if plan.in_c else PASSES:
        plan = step.run(plan)
        held += step.holds
        verify.verify(plan, step.name, held)
        yield step, plan
