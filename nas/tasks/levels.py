"""Levels that scores are read against: blind guessing and a simple predictor, without training.

Every table and picture of scores shows both. `levels_of` never fetches data; if data are missing,
it says so.
"""

import functools
from dataclasses import dataclass

from nas.errors import UserError
from nas.tasks.base import Baseline, Split, Task

BLIND = "blind guess"


@dataclass(frozen=True)
class Levels:
    """Metrics that need no network, measured on one split of a task."""

    chance: float | None
    """The metric of blind guessing."""
    baseline: Baseline | None
    why: str = ""
    """Why the levels are not computed; empty if they are."""
    others: tuple[Baseline, ...] = ()
    """Further simple predictors."""

    @property
    def missing(self) -> str:
        """The message for levels that are not computed; else empty."""
        return f"simple predictors are not computed: {self.why}" if self.why else ""

    @property
    def shown(self) -> tuple[Baseline, ...]:
        """The simple predictors, then blind guessing unless it is the best of them; empty if they
        are not computed."""
        if self.chance is None or self.baseline is None:
            return ()
        blind = Baseline(BLIND, self.chance)
        return (blind,) if self.baseline.name == BLIND else (self.baseline, *self.others, blind)


def levels_of(task: Task, seed: int, split: Split = "validation") -> Levels:
    """Compute the levels of a task on a split, with the data of one seed, once in a process.

    This takes a second or two for a text, whose n-grams are counted; nothing is trained or fetched.
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
