"""Levels that scores are read against, without training: what is best possible, where it is known,
what a simple predictor reaches, and blind guessing.

Every table and picture of scores shows them. `levels_of` never fetches data; if data are missing,
it says so.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.errors import UserError, joined
from nas.tasks.base import Baseline, Split, Task
from nas.tasks.resolution import scored_steps

BLIND = "blind guess"
BEST = "best possible"


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
    best: float | None = None
    """The metric that no predictor can surpass (`Task.best_possible`); None if it is not known."""

    @property
    def missing(self) -> str:
        """The message for levels that are not computed; else empty."""
        return f"simple predictors are not computed: {self.why}" if self.why else ""

    @property
    def shown(self) -> tuple[Baseline, ...]:
        """What is best possible, if it is known; the simple predictors; blind guessing, unless it
        is the best of them. Empty if they are not computed."""
        if self.chance is None or self.baseline is None:
            return ()
        best = () if self.best is None else (Baseline(BEST, self.best),)
        blind = Baseline(BLIND, self.chance)
        simple = () if self.baseline.name == BLIND else (self.baseline, *self.others)
        return (*best, *simple, blind)


def below(task: Task, reached: Mapping[str, float], levels: Levels) -> str:
    """Say which networks are no better than the simple predictor on a task, and what may help;
    return "" if all are, or that predictor makes no mistake. `reached` are their metrics, by their
    names, on the split of the levels."""
    simple, metric = levels.baseline, task.metric
    if simple is None or (metric.name == "accuracy" and simple.value == 1):
        return ""
    worse = [name for name, value in reached.items() if not metric.better(value, simple.value)]
    if not worse:
        return ""
    flag = f"--tasks.{task.name}"
    return (
        f"{joined(worse)} {'is' if len(worse) == 1 else 'are'} no better on {task.name} than a "
        f"predictor without a network ({simple.name}, {task.metric.shown(simple.value)}): cells "
        "that have learnt so little may rank otherwise when they learn more. Train longer "
        f"({flag}.epochs {4 * task.epochs}), on more minibatches ({flag}.batches-per-epoch "
        f"{4 * task.batches_per_epoch}) or at other rates (--settings.learning-rate; "
        "--settings.optimizer adamw, if it is sgd), under a new --study name."
    )


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
    folds = task.in_folds()
    if len(folds) > 1:
        return _pooled(folds, seed, split)
    first, *others = task.baselines(seed, split)
    return Levels(task.chance(split), first, others=tuple(others), best=task.best_possible)


def _pooled(folds: Sequence[Task], seed: int, split: Split) -> Levels:
    """The levels of all folds together, weighted by what is scored in each."""
    weights = [scored_steps(fold, seed, split) for fold in folds]
    simple = [fold.baseline(seed, split) for fold in folds]
    names = dict.fromkeys(baseline.name for baseline in simple)
    chance = [fold.chance(split) for fold in folds]
    value = np.average([baseline.value for baseline in simple], weights=weights)
    mean = Baseline(" or ".join(names), float(value))
    return Levels(float(np.average(chance, weights=weights)), mean)
