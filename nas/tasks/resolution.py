"""How finely a split tells networks apart: the examples that a metric rests on, and its step.

On 64 sequences an accuracy moves in steps of 1/64, and a cell that is ahead by one of them may be
so by chance. `Resolution` says differences in examples, and calls equal ones a tie.
"""

import functools
from dataclasses import dataclass
from fractions import Fraction

from nas.errors import UserError, counted
from nas.tasks.base import Metric, Split, Task

ENOUGH = 6
"""The fewest examples by which two cells must be apart for any evidence: if only one of them is
right wherever they differ, the sign test gives p = 2 / 2**5 = 0.06 for 5 examples, 0.03 for 6."""
COARSE = 0.01
"""An accuracy is coarse if so much of it is less than `ENOUGH` examples."""
FEW = 100
"""With fewer examples a mean loss is said to be of few."""


@dataclass(frozen=True)
class Resolution:
    """The examples of a split that a metric is measured on."""

    metric: Metric
    noun: str
    """The name of an example: a whole "sequence", or a "window" of a longer one."""
    n_examples: int
    """Examples with a scored step; the steps of one depend on one another."""
    n_scored: int
    """Scored steps, of all examples; the marked ones, where the metric is of them."""

    @property
    def step(self) -> float | None:
        """The smallest change of an accuracy; None for a loss, which has no steps."""
        return 1 / self.n_scored if self.metric.name == "accuracy" else None

    @property
    def is_coarse(self) -> bool:
        """Whether differences that matter may be those of a few examples."""
        if self.step is None:
            return self.n_examples < FEW
        return ENOUGH * self.step > COARSE

    def outweighs(self, share: Fraction) -> bool:
        """Whether one example weighs more than this share of the metric."""
        return Fraction(1, self.n_examples) > share

    @property
    def described(self) -> str:
        """A phrase such as "of 64 sequences, one weighs 0.0156"."""
        examples = counted(self.n_examples, self.noun)
        if self.n_scored > self.n_examples:
            examples = f"{self.n_scored:,} scored steps in {examples}"
        if self.step is None:
            return f"the mean over {examples}"
        one = "one" if self.n_scored == self.n_examples else "one step"
        return f"of {examples}, {one} weighs {self.step:.3g}"

    def apart(self, value: float, ratio: float) -> int | None:
        """Return the scored steps between an accuracy and the one that it has this ratio to; None
        for a loss, or where the other is not known."""
        if self.step is None or ratio <= 0:
            return None
        return round(abs(value - value / ratio) * self.n_scored)

    def shown(self, value: float, ratio: float) -> str:
        """Return "tie", a difference such as "1 of 64 sequences", or nothing if it is more than
        that of a few examples."""
        n_apart = self.apart(value, ratio)
        if ratio == 1 or n_apart == 0:
            return "tie"
        if n_apart is None or n_apart >= ENOUGH:
            return ""
        steps = f"{self.noun}s" if self.n_scored == self.n_examples else "scored steps"
        return f"{n_apart} of {self.n_scored:,} {steps}"

    def tied(self, value: float, other: float) -> bool:
        """Return whether two metrics are the same, as far as the split can tell."""
        if self.step is None:
            return value == other
        return round(abs(value - other) * self.n_scored) == 0


def resolution_of(task: Task, seed: int, split: Split = "validation") -> Resolution | None:
    """Count the examples of a split, with the data of one seed; None if the data are not here."""
    if task.missing():
        return None
    try:
        found = _counted(task, seed, split)
    except UserError:
        return None
    return found if found.n_examples else None


@functools.lru_cache(maxsize=64)
def _counted(task: Task, seed: int, split: Split) -> Resolution:
    n_examples = n_scored = 0
    mark = task.metric.mark
    # Folds are validated on parts of their own, and all are tested on the same split.
    for fold in task.in_folds() if split == "validation" else task.in_folds()[:1]:
        for window in fold.windows(split, seed):
            counts = window.scored & window.marks[mark] if mark else window.scored
            n_examples += int(counts.any(axis=0).sum())
            n_scored += int(counts.sum())
    noun = "window" if task.reads_pieces else "sequence"
    return Resolution(task.metric, noun, n_examples, n_scored)


def scored_steps(task: Task, seed: int, split: Split = "validation") -> int:
    """Return the number of steps that a task's metric is the mean over."""
    return _counted(task, seed, split).n_scored
