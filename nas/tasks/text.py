"""Text: predict the next character of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import contiguous
from nas.tasks.base import (
    ACCURACY,
    LOSS,
    Baseline,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    interface_of,
)
from nas.tasks.contiguous import Shares
from nas.tasks.corpus import Corpus, corpus, missing

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
        return contiguous.windows(self, self._part(split), split, seed, epoch)

    def chance(self, split: Split = "validation") -> float:
        return contiguous.chance(self)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return contiguous.baseline(self, self._part("train"), seed, split, BASELINE_ORDER)

    def check(self) -> None:
        super().check()
        if self.metric_name not in ("loss", "accuracy"):
            raise UserError(
                f'tasks.{self.name}.metric_name must be "loss" or "accuracy", '
                f'got "{self.metric_name}".'
            )
        self._shares.check(self)
        if (length := len(self.corpus.tokens)) < FEWEST_CHARACTERS:
            raise UserError(
                f'tasks.{self.name}.path: "{self.path}" has {length} characters, fewer than '
                f"{FEWEST_CHARACTERS}: give a longer text."
            )
        self._part("train")
        self._part("validation")
        if self.test_share:
            self._part("test")

    def missing(self) -> str:
        return missing(self.path)

    def content(self) -> str:
        return self.corpus.sha256

    @property
    def _shares(self) -> Shares:
        return Shares(self.validation_share, self.test_share)

    def _part(self, split: Split) -> NDArray[np.int64]:
        return self._shares.part(self, self.corpus.tokens, split, "characters")
