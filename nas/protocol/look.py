"""How far an evaluation has come that a worker trains now, which its coordinator may look at.

A worker process shares a few numbers with the process that made it. They say nothing of results: a
look is for whoever waits, and may be missing.
"""

import math
from collections.abc import MutableSequence
from dataclasses import dataclass

N_NUMBERS = 4
"""Numbers of a board: those of a look."""


@dataclass(frozen=True)
class Look:
    """How far an evaluation has come."""

    share: float
    """The share of the planned training that is done, in [0, 1]."""
    epoch: int = 0
    """Epochs that its runs have finished."""
    best: float | None = None
    """The best metric on validation so far; None before the first epoch."""
    whole_s: float = 0.0
    """Seconds that all of its training takes at this pace; 0 while that is unknown."""


class Shown:
    """What this process shows of its evaluation; nothing where nobody looks."""

    def __init__(self) -> None:
        self.board: MutableSequence[float] | None = None

    def show(self, look: Look) -> None:
        """Show how far the evaluation has come."""
        if self.board is not None:
            best = math.nan if look.best is None else look.best
            self.board[:] = [look.share, look.epoch, best, look.whole_s]


OF_PROCESS = Shown()
"""What this process shows; a worker is given its board when it starts."""


def read(board: MutableSequence[float]) -> Look | None:
    """Return the look that a board shows; None if no training has begun."""
    share, epoch, best, whole_s = board
    if not share:
        return None
    return Look(share, int(epoch), None if math.isnan(best) else best, whole_s)


def clear(board: MutableSequence[float]) -> None:
    """Show nothing any more."""
    board[:] = [0.0] * N_NUMBERS
