"""Strings of formal languages, whose lengths in training and in the other splits are fields.

A new language is a subclass of `Strings` like those in `regular.py`.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import sequences
from nas.tasks.base import (
    ACCURACY,
    FEWEST_EXAMPLES,
    Baseline,
    Metric,
    Split,
    Task,
    Window,
    generator,
)
from nas.tasks.sequences import SPLITS
from nas.tasks.streams import n_windows, of_split

Symbols = NDArray[np.int64]
DRAWN_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Strings(Task):
    """Whole strings, where longer ones than in training can be asked for: length generalisation.

    All strings of a window have one length, as in Deletang et al. 2022, so nothing is padded and
    the field `window` is not used. The lengths of an epoch are spread evenly over their range, in
    training in a random order, so the metric is the mean over lengths. A string belongs to the
    split that its hash says; where fewer than 1,000 strings have a length, training has them all.
    """

    forced: ClassVar[bool] = False
    perfect: ClassVar[float] = 1.0

    max_length: int = 40
    """Training strings have 1 to so many symbols."""
    validation_lengths: tuple[int, int] | None = None
    """Symbols of the shortest and the longest validation string; none: as in training. Lengths
    that fewer than 1,000 strings have are left out."""
    test_lengths: tuple[int, int] = (41, 100)
    """Symbols of the shortest and the longest test string."""
    epochs: int = 30
    batch_size: int = 128

    @abstractmethod
    def n_strings(self, length: int) -> int:
        """How many different strings of so many symbols there are."""

    @abstractmethod
    def strings(self, random: np.random.Generator, length: int) -> Iterator[bytes]:
        """Draw strings of a length that has some, without end; a symbol is a byte."""

    @abstractmethod
    def labelled(self, symbols: Symbols) -> Window:
        """The window of strings side by side, (time, batch)."""

    @property
    def metric(self) -> Metric:
        return ACCURACY

    def lengths(self, split: Split) -> list[int]:
        """The lengths of a split's strings, ascending."""
        shortest, longest = self._range(split)
        least = _least(split)
        return [n for n in range(shortest, longest + 1) if self.n_strings(n) >= least]

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        random = generator(self, split, seed, epoch)
        lengths = spread(self.lengths(split), n_windows(self, split))
        for length in random.permutation(lengths).tolist() if split == "train" else lengths:
            strings = self.strings(random, length)
            if self.n_strings(length) >= FEWEST_EXAMPLES:
                strings = of_split(strings, split, self)
            encoded = b"".join(islice(strings, self.batch_size))
            symbols = np.frombuffer(encoded, dtype=np.uint8).astype(np.int64)
            yield self.labelled(np.ascontiguousarray(symbols.reshape(-1, length).T))

    def chance(self, split: Split = "validation") -> float:
        return sequences.chance(self.interface, self.metric, iter(()))

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """The commonest targets after each symbol; a blind guess if that is better."""
        targets, inputs = sequences.scored_rows(self.windows("train", seed))
        n_known = len(targets)
        held_targets, held_inputs = sequences.scored_rows(self.windows(split, seed))
        _, codes = np.unique(np.concatenate([targets, held_targets]), axis=0, return_inverse=True)
        codes = codes.reshape(-1)
        hits = 0
        for symbol in range(self.interface.inputs):
            known = Counter(codes[:n_known][inputs == symbol].tolist())
            if known:
                guess = known.most_common(1)[0][0]
                hits += int((codes[n_known:][held_inputs == symbol] == guess).sum())
        found = Baseline("last symbol", hits / len(held_targets))
        return max(Baseline("blind guess", self.chance(split)), found, key=lambda one: one.value)

    def check(self) -> None:
        super().check()
        for split in SPLITS:
            shortest, longest = self._range(split)
            field = _field(self, split)
            if field == "max_length" and longest < 1:
                raise UserError(f"tasks.{self.name}.max_length must be at least 1, got {longest}.")
            if not 1 <= shortest <= longest:
                raise UserError(
                    f"tasks.{self.name}.{field}: 1 <= shortest <= longest must hold, got "
                    f"{shortest} and {longest}."
                )
            if not self.lengths(split):
                raise UserError(
                    f"tasks.{self.name}.{field}: {split} needs a length with at least "
                    f"{_least(split)} different strings, none of {shortest} to {longest} has: "
                    "raise it."
                )

    def _range(self, split: Split) -> tuple[int, int]:
        if split == "test":
            return self.test_lengths
        if split == "validation" and self.validation_lengths:
            return self.validation_lengths
        return 1, self.max_length


def _field(task: Strings, split: Split) -> str:
    """That determines the lengths of a split."""
    if split == "train" or (split == "validation" and not task.validation_lengths):
        return "max_length"
    return f"{split}_lengths"


def _least(split: Split) -> int:
    """Strings that a length of a split has."""
    return 1 if split == "train" else FEWEST_EXAMPLES


def spread(lengths: list[int], n: int) -> list[int]:
    """`n` of some lengths, ascending, spread as evenly as can be."""
    return [lengths[(2 * k + 1) * len(lengths) // (2 * n)] for k in range(n)]


def uniform(random: np.random.Generator, n_symbols: int, length: int) -> Iterator[bytes]:
    """Yield strings of independent, equally likely symbols without end."""
    while True:
        for string in random.integers(n_symbols, size=(DRAWN_AT_ONCE, length), dtype=np.uint8):
            yield string.tobytes()


def at_end(symbols: Symbols, labels: Symbols) -> Window:
    """A class for each string, (batch,), at its last symbol."""
    targets, scored = np.zeros_like(symbols), np.zeros(symbols.shape, dtype=np.bool_)
    targets[-1], scored[-1] = labels, True
    return Window(symbols, targets, scored, fresh=True)
