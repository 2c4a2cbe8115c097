"""What the numbers of a task mean: blind guessing and a simple predictor, without any training.

Every table and picture of scores shows both. Who shows them asks `levels_of`, which never fetches
data: where they are not here, it says so.
"""

import functools
from dataclasses import dataclass

from nas.errors import UserError
from nas.tasks.base import Baseline, Split, Task

BLIND = "blind guess"


@dataclass(frozen=True)
class Levels:
    """What needs no network, measured on one split of a task."""

    chance: float | None
    """The metric of blind guessing."""
    baseline: Baseline | None
    why: str = ""
    """Why they are not computed; empty if they are."""
    others: tuple[Baseline, ...] = ()
    """Further simple predictors."""

    @property
    def missing(self) -> str:
        """What is said where they are not computed; else empty."""
        return f"simple predictors are not computed: {self.why}" if self.why else ""

    @property
    def shown(self) -> tuple[Baseline, ...]:
        """The simple predictors, then blind guessing unless that is the best simple one; nothing if
        they are not computed."""
        if self.chance is None or self.baseline is None:
            return ()
        blind = Baseline(BLIND, self.chance)
        return (blind,) if self.baseline.name == BLIND else (self.baseline, *self.others, blind)


def levels_of(task: Task, seed: int, split: Split = "validation") -> Levels:
    """The levels of a task on a split, of the data of one seed; computed once in a process.

    A second or two for a text, whose n-grams are counted; nothing is trained or fetched.
    """
    if why := task.missing():
        return Levels(None, None, why)
    try:
        return _computed(task, seed, split)
    except UserError as error:
        return Levels(None, None, str(error).rstrip("."))


@functools.lru_cache(maxsize=64)
def _computed(task: Task, seed: int, split: Split) -> Levels:
    first, *others = task.baselines(seed, split)
    return Levels(task.chance(split), first, others=tuple(others))
