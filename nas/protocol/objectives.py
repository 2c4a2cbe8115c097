"""Several objectives: the score, and what a cell takes on a device; fronts of both.

A cell's sizes are those of the models with which it reached its score: for each task the model of
its best setting, and over the tasks the largest. A candidate that has no score has those of its
largest model. Times are measured and so differ from run to run: in their place, samplers and fronts
are told multiply-adds, so that a seed gives the same candidates and the same front.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from nas.errors import UserError, unknown
from nas.protocol.constraints import SIZES
from nas.protocol.judgement import Judgement

SCORE, STEP_TIME = "score", "step_time"
TWIN = {STEP_TIME: "macs"}
"""What is told in place of an objective that is measured."""
OBJECTIVES = (SCORE, STEP_TIME, *SIZES)
UNITS = {
    STEP_TIME: "step time, µs",
    "params": "parameters",
    "macs": "multiply-adds a step",
    "state_bytes": "state, bytes",
    "stages": "stages",
}
"""What objectives beside the score are called, with their units."""

T = TypeVar("T")


def check(names: Sequence[str]) -> None:
    """Raise UserError unless these are different objectives, the score first."""
    for name in names:
        if name not in OBJECTIVES:
            raise UserError(unknown("objective", name, OBJECTIVES))
    if names[:1] != (SCORE,) or len({*names}) < len(names):
        raise UserError(
            f"objectives must be score and then any of {', '.join(OBJECTIVES[1:])}, each once, got "
            f"{' '.join(names) or 'none'}."
        )


def told_name(name: str) -> str:
    """Return the name of what is told for an objective."""
    return TWIN.get(name, name)


def values_of(judgement: Judgement, names: Sequence[str]) -> list[float]:
    """Return what a sampler is told: the value, which it maximises, and sizes, which it
    minimises."""
    return [judgement.value, *(judgement.sizes[told_name(name)] for name in names[1:])]


def shortfall(judgement: Judgement) -> float:
    """Return how far a candidate is from a score, in (0, 1], less the further it came; 0 with one.

    Beside a small cell that learns nothing, no other would be on a front. So with several
    objectives a score is a constraint, which a rejected candidate breaks.
    """
    return 0.0 if judgement.score is not None else 1 / (1 + judgement.value)


def losses_of(judgement: Judgement, names: Sequence[str]) -> tuple[float, ...]:
    """Return what is told of a scored cell with every objective to be minimised."""
    first, *others = values_of(judgement, names)
    return (-first, *others)


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether losses are nowhere larger than others, and somewhere smaller."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def front(items: Sequence[T], losses: Callable[[T], Sequence[float]]) -> list[T]:
    """Return the items that no other dominates, in their order."""
    left: list[tuple[T, Sequence[float]]] = []
    for item in items:
        own = losses(item)
        if not any(dominates(other, own) for _, other in left):
            left = [(known, other) for known, other in left if not dominates(own, other)]
            left.append((item, own))
    return [item for item, _ in left]
