"""Adding: the sum of the two numbers of a long sequence that are marked."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from nas.tasks.base import ERROR, Baseline, Interface, Split, Window, at_the_end
from nas.tasks.drawn import DrawnTask, Rows

MEAN = 1.0
"""The mean of the sum of two numbers that are uniform in [0, 1)."""


@dataclass(frozen=True)
class Adding(DrawnTask):
    """Read T pairs (number, mark), and give the sum of the two marked numbers at the last step.

    After Hochreiter & Schmidhuber 1997, section 5.4, in the form that has become common (Bai,
    Kolter & Koltun 2018, arXiv:1803.01271, 5.2): numbers are uniform in [0, 1), and two of the T
    steps, any two with equal probability, are marked by 1, the others by 0. (The first form has
    numbers in [-1, 1], a mark among the first ten steps, another in the first half, and varying
    lengths.) Targets have their mean, 1, subtracted, which does not change the squared error: 1/6
    for a constant, 1/12 for a memory of the second number alone. The field `window` is not used.
    """

    name: ClassVar[str] = "adding"
    perfect: ClassVar[float | None] = 0.0
    metric = ERROR
    interface = Interface(2, 1, "gaussian", tokens=False)

    length: Annotated[int, "at least 2"] = 50
    """Steps of an example, T."""

    def laid_out(self, examples: Rows, random: np.random.Generator) -> Window:
        inputs = np.ascontiguousarray(examples.transpose(1, 0, 2))
        targets = np.zeros((self.length, self.batch_size, 1), dtype=np.float32)
        numbers, marks = inputs[..., 0].astype(np.float64), inputs[..., 1]
        targets[-1, :, 0] = (numbers * marks).sum(0) - MEAN
        return at_the_end(inputs, targets, 1)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Add the mean to the number that was marked last."""
        errors = []
        for window in self.windows(split, seed):
            steps = np.arange(self.length)[:, np.newaxis]
            last = np.where(window.inputs[..., 1] > 0, steps, 0).max(0)
            number = window.inputs[last, np.arange(self.batch_size), 0].astype(np.float64)
            errors.append((window.targets[-1, :, 0] - (number - MEAN / 2)) ** 2)
        return Baseline("last marked number", float(np.mean(errors)))

    def legend(self) -> dict[str, Any]:
        return {"features": ["number", "mark"], "target_mean": MEAN}

    def draw(self, random: np.random.Generator, count: int) -> Rows:
        """Draw numbers and marks, (count, length, 2)."""
        examples = np.zeros((count, self.length, 2), dtype=np.float32)
        examples[..., 0] = random.random((count, self.length), dtype=np.float32)
        first = random.integers(self.length, size=count)
        # Any other place with equal probability: a step of 1 to length - 1, round the end.
        second = (first + random.integers(1, self.length, size=count)) % self.length
        examples[np.arange(count), first, 1] = 1
        examples[np.arange(count), second, 1] = 1
        return examples
