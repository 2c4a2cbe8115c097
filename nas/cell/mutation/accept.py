"""Children of cells: drawn until one obeys the rules."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from nas.cell.cell import Cell, renamed
from nas.cell.mutation.delays import without_idle_delays
from nas.cell.mutation.draft import Draft, put_together
from nas.cell.mutation.rules import Mutations, broken_rule
from nas.errors import CellError


class NoMutant(CellError):
    """No child of a cell is accepted."""


@dataclass(frozen=True)
class Mutant:
    """A child, and how it came from its parent or parents."""

    cell: Cell
    operators: tuple[str, ...]
    """Names of the mutations or of the crossover, in the order in which they were made."""
    n_draws: int
    """Number of draws, of which only the last was accepted."""


Drawn = tuple[Draft, tuple[str, ...]]
"""A child that may break the rules, and the operators that made it."""


def first_accepted(
    parents: tuple[Cell, ...],
    draw: Callable[[], Drawn | str],
    rules: Mutations,
    known: Collection[str],
) -> Mutant:
    """Return the first drawn child that obeys the rules and whose key is no parent's nor `known`.

    A draw that makes no child gives the reason. The first parent's number of states counts.

    Raises:
        NoMutant: if none was accepted in `rules.max_draws` draws, with the last one's reason.
    """
    names = " and ".join(parent.name for parent in parents)
    n_states = rules.counted_states(parents[0])
    keys = {*(parent.key for parent in parents), *known}
    reason = ""
    for n_draws in range(1, rules.max_draws + 1):
        drawn = draw()
        if isinstance(drawn, str):
            reason = reason or drawn
            continue
        draft, operators = drawn
        if rules.opens_delays:
            draft = without_idle_delays(draft)
        try:
            child = put_together(draft, "mutant", f"From {names}: {', '.join(operators)}.")
        except CellError as error:
            reason = str(error)
            continue
        reason = broken_rule(child, rules, n_states)
        if not reason and child.key in keys:
            reason = f"its key {child.key} is known"
        if not reason:
            return Mutant(renamed(child, f"mutant_{child.key[:6]}"), operators, n_draws)
    raise NoMutant(
        f"cell {names}: none of {rules.max_draws} mutants was accepted, the last one because "
        f"{reason}: open more operators, or raise the limits."
    )
