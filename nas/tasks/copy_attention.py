"""Copying with attention: symbols are read, and written again in their order."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Annotated, Any, ClassVar

import numpy as np

from nas.errors import UserError
from nas.tasks.attended import Attended, Pair, interface, lay
from nas.tasks.base import ACCURACY, Baseline, Interface, Split, Task, Window, generator
from nas.tasks.drawn import of_split

MOST_SYMBOLS = 256
"""A symbol of a string is a byte."""


@dataclass(frozen=True)
class CopyAttention(Task):
    """Read a string of symbols and write it, and its end, while attending to it.

    The copy task of Graves, Wayne & Danihelka 2014, arXiv:1410.5401, section 4.1, with symbols
    instead of bits, and each written symbol given back as the next input. Lengths from
    `min_symbols` to `max_symbols` are equally frequent, and the symbols of a string independent and
    uniform, so that a model must know where it is in the source. Inputs are the symbols, the end,
    the divider and the padding, in this order; outputs are the symbols and the end. The field
    `window` is not used.
    """

    name: ClassVar[str] = "copy_attention"
    forced: ClassVar[bool] = False
    perfect: ClassVar[float | None] = 1.0
    metric = replace(ACCURACY, unit="share of written symbols")

    min_symbols: Annotated[int, "at least 1"] = 5
    """Fewest symbols of a string."""
    max_symbols: int = 20
    """Most symbols of a string."""
    alphabet: Annotated[int, f"in [2, {MOST_SYMBOLS}]"] = 8
    """Different symbols; the end, the divider and the padding come on top."""
    attention: Attended = "additive"
    """How a model attends: additive (its context is an input of the cell), general (computed from
    the output of the cell), or none, for a model that reads all steps in order."""

    @property
    def interface(self) -> Interface:
        return interface(self.alphabet + 1, self.alphabet + 3, self.attention, self._divider)

    @property
    def _divider(self) -> int:
        return self.alphabet + 1

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        pairs = self._pairs(split, generator(self, split, seed, epoch))
        longest = self.max_symbols, self.max_symbols + 1
        for _ in range(self.n_windows(split)):
            batch = list(islice(pairs, self.batch_size))
            yield lay(batch, longest, self._divider, self._divider + 1)

    def _pairs(self, split: Split, random: np.random.Generator) -> Iterator[Pair]:
        """Draw strings of all lengths in turn without end."""
        lengths = range(self.min_symbols, self.max_symbols + 1)
        strings = [of_split(self._strings(length, random), split, self) for length in lengths]
        for of_length in cycle(strings):
            symbols = list(next(of_length))
            yield symbols, [*symbols, self.alphabet]

    def _strings(self, length: int, random: np.random.Generator) -> Iterator[bytes]:
        while True:
            yield random.integers(self.alphabet, size=length, dtype=np.uint8).tobytes()

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Guess one symbol, or the end where it is more frequent: exact for these lengths."""
        n_symbols = (self.min_symbols + self.max_symbols) / 2
        return Baseline("one class always", max(n_symbols / self.alphabet, 1) / (n_symbols + 1))

    def legend(self) -> dict[str, Any]:
        return {"end": self.alphabet, "divider": self._divider, "padding": self._divider + 1}

    def check(self) -> None:
        super().check()
        if self.max_symbols < self.min_symbols:
            raise UserError(
                f"tasks.{self.name}: max_symbols must be at least min_symbols, got "
                f"{self.max_symbols} and {self.min_symbols}."
            )
        n = self.alphabet**self.min_symbols
        self.check_enough(n, f"alphabet ** min_symbols = {self.alphabet} ** {self.min_symbols}")
