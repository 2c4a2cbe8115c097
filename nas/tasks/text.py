"""Text: predict the next character of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import ngram
from nas.tasks.base import (
    ACCURACY,
    LOSS,
    Baseline,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    generator,
    interface_of,
)
from nas.tasks.corpus import Corpus, corpus
from nas.tasks.streams import cut, n_windows

FEWEST_CHARACTERS = 100
BASELINE_ORDER = 5


@dataclass(frozen=True)
class Text(Task):
    """The characters of one text, cut into contiguous training, validation and test parts.

    An epoch reads `batch_size` streams from equally distant places of the training part, which is
    taken as a circle: each epoch goes on where the one before stopped, and the seed says where the
    first begins. Validation and test have as many of their windows as their part fills. All
    characters are kept and all positions scored. The text is read at first use, once in a process.
    """

    name: ClassVar[str] = "text"

    path: str = ""
    """A UTF-8 file, "tinyshakespeare" (found in the folder that the environment variable
    NAS_DATA_DIR names, else fetched), or nothing: Python's own documentation."""
    metric_name: Literal["loss", "accuracy"] = "loss"
    validation_share: float = 0.05
    """Share of the characters, after the training part."""
    test_share: float = 0.05
    """Share of the characters at the end; 0 leaves no test split."""

    @property
    def metric(self) -> Metric:
        return LOSS if self.metric_name == "loss" else ACCURACY

    @property
    def interface(self) -> Interface:
        return interface_of(len(self.corpus.characters))

    @property
    def corpus(self) -> Corpus:
        """The text and its characters, in the order of their tokens."""
        return corpus(self.path)

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        part = self._part(split)
        n_steps = n_windows(self, split) * self.window
        if split == "train":
            apart = len(part) // self.batch_size
            first = int(generator(self, split, seed).integers(len(part))) + epoch * n_steps
        else:
            apart = (len(part) - 1) // self.batch_size
            first, n_steps = 0, min(n_steps, apart // self.window * self.window)
        starts = first + apart * np.arange(self.batch_size)
        steps = np.arange(n_steps + 1)[:, np.newaxis]
        return cut(part[(starts + steps) % len(part)], self.window)

    def chance(self) -> float:
        n_characters = self.vocabulary_size
        return float(np.log(n_characters)) if self.metric_name == "loss" else 1 / n_characters

    def baseline(self, seed: int) -> Baseline:
        part = self._part("train")[:, np.newaxis]
        whole = cut(part, window=len(part) - 1)
        model = ngram.fit(*ngram.examples(whole, BASELINE_ORDER), self.vocabulary_size)
        held_out = ngram.examples(self.windows("validation", seed), BASELINE_ORDER)
        if self.metric_name == "loss":
            return Baseline(f"{BASELINE_ORDER}-gram", float(model.losses(*held_out).mean()))
        return Baseline(
            f"{BASELINE_ORDER}-gram", float(np.mean(model.guesses(held_out[0]) == held_out[1]))
        )

    def check(self) -> None:
        super().check()
        if self.metric_name not in ("loss", "accuracy"):
            raise UserError(
                f'tasks.{self.name}.metric_name must be "loss" or "accuracy", '
                f'got "{self.metric_name}".'
            )
        validation, test = self.validation_share, self.test_share
        if not (validation > 0 and test >= 0 and validation + test < 1):
            raise UserError(
                f"tasks.{self.name}: validation_share > 0, test_share >= 0 and a sum below 1 must "
                f"hold, got {validation} and {test}."
            )
        if (length := len(self.corpus.tokens)) < FEWEST_CHARACTERS:
            raise UserError(
                f'tasks.{self.name}.path: "{self.path}" has {length} characters, fewer than '
                f"{FEWEST_CHARACTERS}: give a longer text."
            )
        self._part("train")
        self._part("validation")
        if test:
            self._part("test")

    def content(self) -> str:
        return self.corpus.sha256

    def _part(self, split: Split) -> NDArray[np.int64]:
        """The tokens of one split; a part too short for one window of all streams is an error."""
        tokens = self.corpus.tokens
        n_test = round(len(tokens) * self.test_share)
        n_validation = round(len(tokens) * self.validation_share)
        bounds = [0, len(tokens) - n_validation - n_test, len(tokens) - n_test, len(tokens)]
        place = ("train", "validation", "test").index(split)
        part = tokens[bounds[place] : bounds[place + 1]]
        if split == "test" and not self.test_share:
            raise UserError(
                f"tasks.{self.name} has no test split, since test_share is 0: raise it."
            )
        if len(part) <= (needed := self.batch_size * self.window):
            raise UserError(
                f"tasks.{self.name}: the {split} split has {len(part)} characters, but one window "
                f"takes batch_size * window + 1 = {self.batch_size} * {self.window} + 1 = "
                f"{needed + 1}: lower batch_size or window, or give a longer text."
            )
        return part
