"""Selective copying: symbols scattered among blanks are given back in order."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from nas.tasks.base import ACCURACY, Baseline, Interface, Split, Window, at_the_end
from nas.tasks.drawn import Rows, SymbolsTask


@dataclass(frozen=True)
class SelectiveCopying(SymbolsTask):
    """Read n symbols at random places among blanks, then n copy tokens, at which they are given.

    Gu & Dao 2023, arXiv:2312.00752, section 4.1.1: unlike in copy memory, the time between symbols
    varies, so that a cell must choose what it keeps. The places are any n of the `length` first
    steps with equal probability; the last may be followed by blanks. The n copy tokens, and not the
    blanks, are scored. Inputs are the symbols, the blank and the copy token, in this order; outputs
    are the symbols. No string of symbols is in two splits, wherever its symbols lie. The field
    `window` is not used.
    """

    name: ClassVar[str] = "selective_copying"
    metric = replace(ACCURACY, unit="share of copied symbols")

    n_symbols: int = 5
    """Symbols to keep in memory."""
    alphabet: int = 14
    """Different symbols; the blank and the copy token come on top."""
    length: int = 30
    """Steps among which the symbols are scattered."""

    @property
    def interface(self) -> Interface:
        return Interface(self.alphabet + 2, self.alphabet)

    def laid_out(self, examples: Rows, random: np.random.Generator) -> Window:
        n = self.n_symbols
        # The n first places of a random order are n places without replacement.
        order = random.random((self.batch_size, self.length)).argsort(1)
        places = np.sort(order[:, :n], axis=1).T
        inputs = np.full((self.length + n, self.batch_size), self.alphabet, dtype=np.int64)
        inputs[places, np.arange(self.batch_size)] = examples.T
        inputs[-n:] = self.alphabet + 1
        targets = np.zeros_like(inputs)
        targets[-n:] = examples.T
        return at_the_end(inputs, targets, n)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Right at the last step, and elsewhere as often as two symbols are equal: exact."""
        n = self.n_symbols
        return Baseline("last symbol", (1 + (n - 1) / self.alphabet) / n)

    def legend(self) -> dict[str, Any]:
        return {"blank": self.alphabet, "copy": self.alphabet + 1}

    def check(self) -> None:
        super().check()
        if self.length < self.n_symbols:
            rule = f"at least n_symbols = {self.n_symbols}, so that each symbol has a step"
            raise self.refused("length", rule, self.length)
