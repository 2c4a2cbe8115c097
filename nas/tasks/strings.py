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
from nas.tasks.base import (
    FEWEST_EXAMPLES,
    SPLITS,
    Baseline,
    Split,
    Task,
    Window,
    at_the_end,
    generator,
    scored_rows,
)
from nas.tasks.drawn import of_split

Symbols = NDArray[np.int64]
DRAWN_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Strings(Task):
    """Whole strings; those of validation and test may be longer than in training.

    All strings of a window have one length, as in Deletang et al. 2022, so nothing is padded; the
    field `window` is not used. The lengths of an epoch are spread evenly over their range, in
    training in a random order, so the metric is the mean over lengths. A string belongs to the
    split that its hash says; where fewer than 1,000 strings have a length, training has them all.
    """

    forced: ClassVar[bool] = False
    perfect: ClassVar[float | None] = 1.0

    max_length: int = 40
    """Training strings have 1 to so many symbols."""
    validation_lengths: tuple[int, int] | None = None
    """Symbols of the shortest and the longest validation string; none: as in training. Lengths
    with fewer than 1,000 strings are left out."""
    test_lengths: tuple[int, int] = (41, 100)
    """Symbols of the shortest and the longest test string."""
    epochs: int = 30
    batch_size: int = 128

    @abstractmethod
    def n_strings(self, length: int) -> int:
        """Count the different strings of so many symbols."""

    @abstractmethod
    def strings(self, random: np.random.Generator, length: int) -> Iterator[bytes]:
        """Draw strings of a length that has some, without end; each symbol is a byte."""

    @abstractmethod
    def labelled(self, symbols: Symbols) -> Window:
        """Make the window of strings side by side, (time, batch)."""

    def lengths(self, split: Split) -> list[int]:
        """Return the lengths of a split's strings, ascending."""
        shortest, longest = self._range(split)
        least = _least(split)
        return [n for n in range(shortest, longest + 1) if self.n_strings(n) >= least]

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        random = generator(self, split, seed, epoch)
        lengths = spread(self.lengths(split), self.n_windows(split))
        for length in random.permutation(lengths).tolist() if split == "train" else lengths:
            strings = self.strings(random, length)
            if self.n_strings(length) >= FEWEST_EXAMPLES:
                strings = of_split(strings, split, self)
            encoded = b"".join(islice(strings, self.batch_size))
            symbols = np.frombuffer(encoded, dtype=np.uint8).astype(np.int64)
            yield self.labelled(np.ascontiguousarray(symbols.reshape(-1, length).T))

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Guess the commonest targets after each symbol; a blind guess if that is better."""
        targets, inputs = scored_rows(self.windows("train", seed))
        n_known = len(targets)
        held_targets, held_inputs = scored_rows(self.windows(split, seed))
        _, codes = np.unique(np.concatenate([targets, held_targets]), axis=0, return_inverse=True)
        codes = codes.reshape(-1)
        hits = 0
        for symbol in range(self.interface.inputs):
            known = Counter(codes[:n_known][inputs == symbol].tolist())
            if known:
                guess = known.most_common(1)[0][0]
                hits += int((codes[n_known:][held_inputs == symbol] == guess).sum())
        fitted = Baseline("last symbol", hits / len(held_targets))
        blind = Baseline("blind guess", self.chance(split))
        return fitted if fitted.value > blind.value else blind

    def check(self) -> None:
        super().check()
        for split in SPLITS:
            shortest, longest = self._range(split)
            field = _field(self, split)
            if field == "max_length" and longest < 1:
                raise self.refused(field, "at least 1", longest)
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
    """Return the field that determines the lengths of a split."""
    if split == "train" or (split == "validation" and not task.validation_lengths):
        return "max_length"
    return f"{split}_lengths"


def _least(split: Split) -> int:
    """Return how many strings a length must have to be in a split."""
    return 1 if split == "train" else FEWEST_EXAMPLES


def spread(lengths: list[int], n: int) -> list[int]:
    """Choose `n` of some ascending lengths, spread as evenly as possible."""
    return [lengths[(2 * k + 1) * len(lengths) // (2 * n)] for k in range(n)]


@dataclass(frozen=True, kw_only=True)
class UniformStrings(Strings):
    """Strings of independent, equally likely symbols."""

    def n_strings(self, length: int) -> int:
        return int(self.interface.inputs**length)

    def strings(self, random: np.random.Generator, length: int) -> Iterator[bytes]:
        size = (DRAWN_AT_ONCE, length)
        while True:
            for string in random.integers(self.interface.inputs, size=size, dtype=np.uint8):
                yield string.tobytes()


def at_end(symbols: Symbols, labels: Symbols) -> Window:
    """Make the window of a class for each string, (batch,), at its last symbol."""
    targets = np.zeros_like(symbols)
    targets[-1] = labels
    return at_the_end(symbols, targets, 1)
