"""The front of a search with several objectives: the cells that no other beats in all of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nas.protocol.objectives import SCORE, STEP_TIME, TWIN, front, losses_of

if TYPE_CHECKING:  # it imports Optuna, and --help must not wait for that
    from nas.study.leaderboard import Row

MOST_NAMED = 8


def front_of(rows: "Sequence[Row]", names: Sequence[str]) -> "list[Row]":
    """The rows of the front in their order, baselines among them; none with one objective.

    A cell on it has a score and breaks no constraint. What is measured is compared by its twin, so
    that the same seed gives the same front.
    """
    if len(names) == 1:
        return []
    able = [
        row
        for row in rows
        if row.score is not None
        and (judgement := row.visit.judgement)
        and judgement.sizes
        and not judgement.broken
    ]
    return front(able, lambda row: _losses(row, names))


def _losses(row: "Row", names: Sequence[str]) -> tuple[float, ...]:
    assert row.visit.judgement is not None
    return losses_of(row.visit.judgement, names)


def sizes(row: "Row", names: Sequence[str]) -> dict[str, float | None]:
    """The objectives beside the score, as they are told to people, and the twins of measured ones;
    a step time in microseconds."""
    known: Mapping[str, float] = row.visit.judgement.sizes if row.visit.judgement else {}
    wanted = dict.fromkeys(one for name in names[1:] for one in (name, TWIN.get(name, name)))
    values = {name: known.get(name) for name in wanted}
    if (seconds := values.get(STEP_TIME)) is not None:
        values[STEP_TIME] = 1e6 * seconds
    return values


def shown(name: str, value: float | None) -> str:
    """A size as text; "-" if it is not known."""
    if value is None:
        return "-"
    return f"{value:.3g}" if name == STEP_TIME else f"{value:,.0f}"


def sentence(rows: "Sequence[Row]", names: Sequence[str]) -> str:
    """The front in a line; empty with one objective."""
    if len(names) == 1:
        return ""
    found = front_of(rows, names)
    if not found:
        return f"Front of {', '.join(names)}: no cell has a score within the constraints."
    each = [
        f"{row.name} (score {row.score:.3f}, {_sized(row, names)})" for row in found[:MOST_NAMED]
    ]
    more = f" and {len(found) - MOST_NAMED:,} more" if len(found) > MOST_NAMED else ""
    twins = [f"{name} by its {TWIN[name]}" for name in names if name in TWIN]
    by = f" ({', '.join(twins)}, which a seed repeats)" if twins else ""
    return f"Front of {', '.join(names)}{by}: {', '.join(each)}{more}."


def _sized(row: "Row", names: Sequence[str]) -> str:
    values = sizes(row, names)
    return ", ".join(f"{short(name)} {shown(name, value)}" for name, value in values.items())


def short(name: str) -> str:
    """The name of an objective as the head of a column."""
    return {SCORE: SCORE, STEP_TIME: "step µs"}.get(name, name)
