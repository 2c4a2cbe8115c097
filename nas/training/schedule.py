"""When the learning rate falls and when a run stops, from one validation metric an epoch.

Jozefowicz et al. 2015, section 3.6: a fixed learning rate; after 3 epochs without improvement on
validation it is halved at each of 4 more epochs, then the run stops.
"""

from dataclasses import dataclass, replace

from nas.tasks.base import Metric

PATIENCE = 3
"""Epochs without improvement before the learning rate falls (section 3.6)."""
DECAYS = 4
"""Epochs at each of which the learning rate is halved, before the run stops."""


@dataclass(frozen=True)
class Schedule:
    """The state of one training run after some epochs."""

    rate: float
    """The learning rate of the next epoch."""
    n_epochs: int = 0
    best: float | None = None
    best_epoch: int | None = None
    waited: int = 0
    """Epochs since the last improvement, or since the rate began to fall."""
    finished: bool = False

    @property
    def improved(self) -> bool:
        """Whether the last epoch is the best one."""
        return self.best_epoch is not None and self.best_epoch == self.n_epochs - 1


def advance(schedule: Schedule, value: float, metric: Metric, goal: float | None) -> Schedule:
    """Return the schedule after an epoch with this metric; a run that reaches the goal is finished.

    An improvement while the rate falls counts as the best, and does not stop the fall.
    """
    better = schedule.best is None or metric.better(value, schedule.best)
    falling = schedule.waited >= PATIENCE
    waited = 0 if better and not falling else schedule.waited + 1
    reached = goal is not None and (value == goal or metric.better(value, goal))
    after = replace(
        schedule,
        rate=schedule.rate / 2 if waited >= PATIENCE else schedule.rate,
        n_epochs=schedule.n_epochs + 1,
        waited=waited,
        finished=reached or waited >= PATIENCE + DECAYS,
    )
    return replace(after, best=value, best_epoch=schedule.n_epochs) if better else after
