"""Adding: the sum of the two numbers of a long sequence that are marked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import drawn, sequences
from nas.tasks.base import (
    ERROR,
    Baseline,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    generator,
)

MEAN = 1.0
"""Of the sum of two numbers that are uniform in [0, 1)."""


@dataclass(frozen=True)
class Adding(Task):
    """Read T pairs (number, mark), and give the sum of the two marked numbers at the last step.

    After Hochreiter & Schmidhuber 1997, section 5.4, in the form that has become common (Bai,
    Kolter & Koltun 2018, arXiv:1803.01271, 5.2): numbers are uniform in [0, 1), and two of the T
    steps, any two with equal probability, are marked by 1, the others by 0. (The first form has
    numbers in [-1, 1], a mark among the first ten steps, another in the first half, and varying
    lengths.) Targets have their mean, 1, subtracted, which leaves the squared error what it is:
    1/6 for a constant, 1/12 for a memory of the second number alone. A window is one minibatch of
    whole, independent examples: the field `window` is not used.
    """

    name: ClassVar[str] = "adding"
    forced: ClassVar[bool] = False
    perfect: ClassVar[float] = 0.0

    length: int = 50
    """Steps of an example, T."""
    batches_per_epoch: int = field(default=400, kw_only=True)

    @property
    def metric(self) -> Metric:
        return ERROR

    @property
    def interface(self) -> Interface:
        return Interface(2, 1, "gaussian", tokens=False)

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        for batch in drawn.rows(self, split, generator(self, split, seed, epoch), self._draw):
            inputs = np.ascontiguousarray(batch.transpose(1, 0, 2))
            targets = np.zeros((self.length, self.batch_size, 1), dtype=np.float32)
            numbers, marks = inputs[..., 0].astype(np.float64), inputs[..., 1]
            targets[-1, :, 0] = (numbers * marks).sum(0) - MEAN
            scored = np.zeros((self.length, self.batch_size), dtype=np.bool_)
            scored[-1] = True
            yield Window(inputs, targets, scored, fresh=True)

    def chance(self, split: Split = "validation") -> float:
        # 1/6 but for the sampling of the split, here the one of seed 0.
        return sequences.chance(self.interface, self.metric, self.windows(split, seed=0))

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """The number that was marked last, and the mean in place of the one before it."""
        errors = []
        for window in self.windows(split, seed):
            steps = np.arange(self.length)[:, np.newaxis]
            last = np.where(window.inputs[..., 1] > 0, steps, 0).max(0)
            number = window.inputs[last, np.arange(self.batch_size), 0].astype(np.float64)
            errors.append((window.targets[-1, :, 0] - (number - MEAN / 2)) ** 2)
        return Baseline("last marked number", float(np.mean(errors)))

    def legend(self) -> dict[str, Any]:
        return {"features": ["number", "mark"], "target_mean": MEAN}

    def check(self) -> None:
        super().check()
        if self.length < 2:
            raise UserError(
                f"tasks.{self.name}.length must be at least 2, the number of marks, "
                f"got {self.length}."
            )

    def _draw(self, random: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Numbers and marks, (count, length, 2)."""
        examples = np.zeros((count, self.length, 2), dtype=np.float32)
        examples[..., 0] = random.random((count, self.length), dtype=np.float32)
        first = random.integers(self.length, size=count)
        # Any other place with equal probability: a step of 1 to length - 1, round the end.
        second = (first + random.integers(1, self.length, size=count)) % self.length
        examples[np.arange(count), first, 1] = 1
        examples[np.arange(count), second, 1] = 1
        return examples
