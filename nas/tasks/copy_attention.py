"""Copying with attention: symbols are read, and written again in their order."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, ClassVar

import numpy as np

from nas.errors import UserError
from nas.tasks.attended import Attended, Pair, check_attention, interface, lay
from nas.tasks.base import (
    ACCURACY,
    FEWEST_EXAMPLES,
    Baseline,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    generator,
)
from nas.tasks.streams import n_windows, of_split

MOST_SYMBOLS = 256
"""Strings are kept as bytes."""


@dataclass(frozen=True)
class CopyAttention(Task):
    """Read a string of symbols and write it, and its end, while attending to it.

    The copy task of Graves, Wayne & Danihelka 2014, arXiv:1410.5401, section 4.1, with symbols
    instead of bits, and each symbol that is written given back as the next input. Lengths from
    `min_symbols` to `max_symbols` are equally frequent, and the symbols of a string independent and
    uniform, so that a model must know where it is in the source. Inputs are the symbols, the end,
    the divider and the padding, in this order; outputs are the symbols and the end. A window is one
    minibatch of whole, independent examples: the field `window` is not used.
    """

    name: ClassVar[str] = "copy_attention"
    forced: ClassVar[bool] = False
    perfect: ClassVar[float] = 1.0

    min_symbols: int = 5
    """Fewest symbols of a string."""
    max_symbols: int = 20
    """Most symbols of a string."""
    alphabet: int = 8
    """Different symbols; the end, the divider and the padding come on top."""
    attention: Attended = "additive"
    """How a model attends: additive (its context is an input of the cell), general (computed from
    the output of the cell), or none, for a model that reads all steps in their turn."""

    @property
    def metric(self) -> Metric:
        return replace(ACCURACY, unit="share of written symbols")

    @property
    def interface(self) -> Interface:
        return interface(self.alphabet + 1, self.alphabet + 3, self.attention, self._divider)

    @property
    def _divider(self) -> int:
        return self.alphabet + 1

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        pairs = self._pairs(split, generator(self, split, seed, epoch))
        longest = self.max_symbols, self.max_symbols + 1
        for _ in range(n_windows(self, split)):
            batch = list(islice(pairs, self.batch_size))
            yield lay(batch, longest, self._divider, self._divider + 1)

    def _pairs(self, split: Split, random: np.random.Generator) -> Iterator[Pair]:
        """Strings of all lengths in turn without end."""
        lengths = range(self.min_symbols, self.max_symbols + 1)
        strings = [of_split(self._strings(length, random), split, self) for length in lengths]
        for of_length in cycle(strings):
            symbols = list(next(of_length))
            yield symbols, [*symbols, self.alphabet]

    def _strings(self, length: int, random: np.random.Generator) -> Iterator[bytes]:
        while True:
            yield random.integers(self.alphabet, size=length, dtype=np.uint8).tobytes()

    def chance(self, split: Split = "validation") -> float:
        return 1 / self.interface.outputs

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """A symbol, or the end where that is more frequent: exact for lengths equally frequent."""
        n_symbols = (self.min_symbols + self.max_symbols) / 2
        return Baseline("one class always", max(n_symbols / self.alphabet, 1) / (n_symbols + 1))

    def legend(self) -> dict[str, Any]:
        return {"end": self.alphabet, "divider": self._divider, "padding": self._divider + 1}

    def check(self) -> None:
        super().check()
        check_attention(self, self.attention)
        if not 2 <= self.alphabet <= MOST_SYMBOLS:
            raise UserError(
                f"tasks.{self.name}.alphabet must be 2 to {MOST_SYMBOLS}, got {self.alphabet}."
            )
        if self.min_symbols < 1 or self.max_symbols < self.min_symbols:
            raise UserError(
                f"tasks.{self.name}: min_symbols must be at least 1 and max_symbols at least "
                f"min_symbols, got {self.min_symbols} and {self.max_symbols}."
            )
        if self.alphabet**self.min_symbols < FEWEST_EXAMPLES:
            raise UserError(
                f"tasks.{self.name}: alphabet ** min_symbols must be at least {FEWEST_EXAMPLES}, "
                f"so that three splits can share nothing, got {self.alphabet} ** "
                f"{self.min_symbols}: raise one of them."
            )
