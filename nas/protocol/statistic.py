"""One number of a cell on a task, from the outcomes of its settings: which value counts.

Two choices make a statistic. Of one training run: the best epoch, the last one, the area under the
learning curve, or the minibatches until a threshold is reached. Over the settings: the best, or the
mean. `Statistic()` is the best of the best, with which Jozefowicz et al. 2015 compare cells. Which
one repeats from one seed to the next, the report says of cells that were measured twice. To add a
statistic of a run, give it a name in `Of` and a line in `of_run`.

A run that ended before its last planned epoch still has a value for each of them. One that ended
well, or that was cut since others were preferred to it, keeps its last value: it had learnt that
much, and a mean without the runs that were cut would be of those that were chosen, which is the
best under another name. After a run has diverged, and where a run was vetoed, failed, crashed or
ended at a limit, its value is that of blind guessing. A value that is worse than blind guessing
counts as that, or one loss that explodes would outweigh all else. Only `best` of a run is taken as
it is, as scores always were.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import best_value
from nas.tasks.base import Task

Over = Literal["best", "mean"]
Of = Literal["best", "last", "area", "speed"]

KEEPS = ("ok", "cut")
"""Statuses of runs that keep their last value for the epochs that they were not trained."""
LEAST_RATIO, MOST_RATIO = 0.05, 20.0
"""The bounds of a ratio of shares: a task that a cell solves and the GRU does not says that it is
much better there, and not that no other task matters."""


@dataclass(frozen=True)
class Statistic:
    """Which number of a cell on a task is compared."""

    over: Over = "best"
    """Over the settings that it was tried on."""
    of: Of = "best"
    """Of each training run. best: the best epoch; last: the last planned epoch; area: the mean over
    all planned epochs; speed: minibatches until the threshold."""
    threshold: float = 0.7
    """For speed: the share of the way from blind guessing to perfect that must be reached."""

    @property
    def is_best(self) -> bool:
        """Whether it is the best metric of the best setting."""
        return self.over == self.of == "best"

    @property
    def is_metric(self) -> bool:
        """Whether it is in the unit of the task's metric; speed is in minibatches."""
        return self.of != "speed"

    @property
    def said(self) -> str:
        """What it is, in words."""
        of = {
            "best": "best epoch",
            "last": "last epoch",
            "area": "mean over all epochs, the area under the learning curve",
            "speed": f"minibatches until {self.threshold:.0%} of the way from blind guessing to "
            "perfect is reached",
        }[self.of]
        return f"the {self.over} of all settings, of each the {of}"

    def higher_is_better(self, task: Task) -> bool:
        """Return the direction of its values."""
        return self.is_metric and task.metric.higher_is_better

    def better(self, task: Task, value: float, than: float) -> bool:
        """Return whether one value is better than another."""
        return task.metric.better(value, than) if self.is_metric else value < than

    def ratio(self, task: Task, value: float, reference: float) -> float:
        """Return the value relative to the reference's: above 1 is better."""
        return task.metric.ratio(value, reference) if self.is_metric else reference / value


FAST = Statistic("mean", "area")
"""How fast a cell learns: the mean area over all settings."""
FINAL = Statistic("mean", "last")
"""Where a cell ends: the mean value at the last epoch over all settings."""


def planned_epochs(task: Task, fidelity: float = 1.0) -> int:
    """Return the most epochs that a run of a task is trained for at this fidelity."""
    return max(1, math.ceil(fidelity * task.epochs))


def value_of(
    task: Task, outcomes: Sequence[Outcome], statistic: Statistic, n_epochs: int
) -> float | None:
    """Return the statistic of a cell on a task.

    `n_epochs` are those that each run was planned for (`planned_epochs`). Return None if no run
    finished an epoch: nothing is known of the cell.
    """
    if all(outcome.best is None for outcome in outcomes):
        return None
    if statistic.is_best:
        return best_value(task, outcomes)
    values = [of_run(task, outcome, statistic, n_epochs) for outcome in outcomes]
    if statistic.over == "mean":
        return float(np.mean(values))
    return max(values) if statistic.higher_is_better(task) else min(values)


def of_run(task: Task, outcome: Outcome, statistic: Statistic, n_epochs: int) -> float:
    """Return the statistic of one training run."""
    if statistic.of == "best":
        return blind(task) if outcome.best is None else outcome.best
    path = after_each_epoch(task, outcome, n_epochs)
    if statistic.of == "last":
        return float(path[-1])
    if statistic.of == "area":
        return float(path.mean())
    return _minibatches(task, path, statistic.threshold)


def endpoints(task: Task, outcome: Outcome, n_epochs: int) -> tuple[float, float]:
    """Return how fast a run learns, its area, and where it ends, its last value."""
    path = after_each_epoch(task, outcome, n_epochs)
    return float(path.mean()), float(path[-1])


def after_each_epoch(task: Task, outcome: Outcome, n_epochs: int) -> NDArray[np.float64]:
    """Return the task's metric on validation after each planned epoch, [epochs].

    It is never worse than blind guessing; the docstring above says what counts after a run's end.
    """
    worst = blind(task)
    known = [epoch.value(task.metric) for epoch in outcome.curve[:n_epochs]]
    after = known[-1] if known and outcome.status in KEEPS else worst
    path = np.array([*known, *[after] * (n_epochs - len(known))], dtype=np.float64)
    path[~np.isfinite(path)] = worst
    return np.maximum(path, worst) if task.metric.higher_is_better else np.minimum(path, worst)


def _minibatches(task: Task, path: NDArray[np.float64], threshold: float) -> float:
    """Minibatches until the threshold; one epoch more than planned if it is never reached."""
    needed = blind(task) + threshold * (perfect(task) - blind(task))
    reached = path >= needed if task.metric.higher_is_better else path <= needed
    n_epochs = int(reached.argmax()) + 1 if reached.any() else len(path) + 1
    return float(n_epochs * task.batches_per_epoch)


@functools.lru_cache(maxsize=256)
def blind(task: Task) -> float:
    """Return the metric of blind guessing; for numbers it is measured on the data, once."""
    return task.chance()


def highest_drawn(task: Task) -> float:
    """Return the loss at which pictures of curves end: twice that of blind guessing.

    It is infinite where the data of a task are not here, which may decide how many outputs it has.
    """
    if task.missing():
        return math.inf
    outputs = task.interface.outputs
    if task.interface.head == "categorical":
        return 2 * math.log(max(2, outputs))
    if task.interface.head == "bernoulli":
        return 2 * outputs * math.log(2)
    return 2 * blind(task)


def perfect(task: Task) -> float:
    """Return the best possible metric; where it is not known, 1 if more is better, as of a share,
    and 0 for a loss."""
    if task.best_possible is not None:
        return task.best_possible
    return 1.0 if task.metric.higher_is_better else 0.0


def share(task: Task, value: float) -> float:
    """Return the share of the way from blind guessing, 0, to perfect, 1; 0 if it is worse.

    `value` is in the unit of the task's metric. Unlike a ratio of losses, of which that of a cell
    that solves a task has no bound, it is comparable between tasks.
    """
    start, end = blind(task), perfect(task)
    if start == end or not math.isfinite(value):
        return 0.0
    return max(0.0, (value - start) / (end - start))


def ratio_of_shares(value: float, reference: float) -> float:
    """Return one share relative to another, from `LEAST_RATIO` to `MOST_RATIO`.

    Where neither cell is better than blind guessing they are equal, 1.
    """
    if value <= 0 and reference <= 0:
        return 1.0
    if reference <= 0:
        return MOST_RATIO
    return min(MOST_RATIO, max(LEAST_RATIO, value / reference))
