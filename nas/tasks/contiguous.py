"""One long text as parallel streams of tokens, cut into contiguous parts: `text` and `words`."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import ngram
from nas.tasks.base import Baseline, Split, Task, Window, generator
from nas.tasks.streams import cut, n_windows

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Shares:
    """How much of the tokens the parts after the training part have."""

    validation: float
    test: float

    def check(self, task: Task) -> None:
        """Raise UserError unless there is a training and a validation part."""
        if not (self.validation > 0 and self.test >= 0 and self.validation + self.test < 1):
            raise UserError(
                f"tasks.{task.name}: validation_share > 0, test_share >= 0 and a sum below 1 must "
                f"hold, got {self.validation} and {self.test}."
            )

    def bounds(self, n: int) -> list[int]:
        """Where the parts of n tokens begin and end."""
        n_test, n_validation = round(n * self.test), round(n * self.validation)
        return [0, n - n_validation - n_test, n - n_test, n]

    def part(self, task: Task, tokens: Tokens, split: Split, kind: str) -> Tokens:
        """The tokens of one split; too few for one window of all streams is an error."""
        at = self.bounds(len(tokens))
        place = ("train", "validation", "test").index(split)
        part = tokens[at[place] : at[place + 1]]
        if split == "test" and not self.test:
            raise UserError(
                f"tasks.{task.name} has no test split, since test_share is 0: raise it."
            )
        check_length(task, part, split, kind)
        return part


def check_length(task: Task, part: Tokens, split: Split, kind: str) -> None:
    """Raise UserError unless a split has one window of all streams."""
    if len(part) <= (needed := task.batch_size * task.window):
        raise UserError(
            f"tasks.{task.name}: the {split} split has {len(part)} {kind}, but one window "
            f"takes batch_size * window + 1 = {task.batch_size} * {task.window} + 1 = "
            f"{needed + 1}: lower batch_size or window, or give a longer text."
        )


def windows(task: Task, part: Tokens, split: Split, seed: int, epoch: int) -> Iterator[Window]:
    """One epoch of streams from equally distant places of a part.

    The training part is taken as a circle: each epoch goes on where the one before stopped, and the
    seed says where the first begins. Validation and test have as many windows as their part fills.
    """
    n_steps = n_windows(task, split) * task.window
    if split == "train":
        apart = len(part) // task.batch_size
        first = int(generator(task, split, seed).integers(len(part))) + epoch * n_steps
    else:
        apart = (len(part) - 1) // task.batch_size
        first, n_steps = 0, min(n_steps, apart // task.window * task.window)
    starts = first + apart * np.arange(task.batch_size)
    steps = np.arange(n_steps + 1)[:, np.newaxis]
    return cut(part[(starts + steps) % len(part)], task.window)


def baseline(task: Task, train: Tokens, seed: int, split: Split, order: int) -> Baseline:
    """An n-gram model of all of the training part, measured on the windows of a split."""
    part = train[:, np.newaxis]
    whole = cut(part, window=len(part) - 1)
    model = ngram.fit(*ngram.examples(whole, order), task.interface.outputs)
    held_out = ngram.examples(task.windows(split, seed), order)
    if task.metric.name == "loss":
        return Baseline(f"{order}-gram", float(model.losses(*held_out).mean()))
    hits = model.guesses(held_out[0]) == held_out[1]
    return Baseline(f"{order}-gram", float(np.mean(hits)))


def chance(task: Task) -> float:
    """Of a guess that is uniform over the tokens."""
    n = task.interface.outputs
    return float(np.log(n)) if task.metric.name == "loss" else 1 / n
