"""Shows how far an evaluation has come, while it is trained."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from nas.protocol.look import OF_PROCESS, Look
from nas.tasks.base import Task
from nas.training.training_run import Run

EVERY_S = 0.2
"""Seconds between two looks, which take some 20 microseconds each."""
LEAST_SHARE = 0.02
"""Share of the training that must be done before its pace is told."""


@dataclass
class Watcher:
    """Is called after each batch and epoch of the training of an evaluation's runs."""

    task: Task
    runs: Sequence[Run]
    n_epochs: int
    fold: int = 0
    """The fold of the task that is trained, from 0 on."""
    n_folds: int = 1
    shown: float = 0.0
    """When it was shown last, on time.perf_counter."""
    first: tuple[float, float] | None = None
    """The time and the share of the first look: what comes before, such as compiling the cell, is
    no part of the pace."""

    def __call__(self) -> None:
        now = time.perf_counter()
        if OF_PROCESS.board is not None and now - self.shown >= EVERY_S:
            self.shown = now
            OF_PROCESS.show(self.look(now))

    def look(self, now: float) -> Look:
        """How far the runs have come; one that is ended takes no more time."""
        planned = self.n_epochs * self.task.batches_per_epoch
        shares = [1.0 if run.ended else min(1.0, run.steps / planned) for run in self.runs]
        share = (self.fold + sum(shares) / len(shares)) / self.n_folds
        self.first = self.first or (now, share)
        done, whole_s = share - self.first[1], 0.0
        if done >= LEAST_SHARE / self.n_folds:
            whole_s = (now - self.first[0]) / done
        metric, best = self.task.metric, None
        for run in self.runs:
            value = run.schedule.best
            if value is not None and (best is None or metric.better(value, best)):
                best = value
        return Look(share, max(len(run.curve) for run in self.runs), best, whole_s)
