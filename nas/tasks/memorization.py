"""Memorization: read a few symbols, then reproduce them in the same order."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nas.tasks.base import Baseline, Interface, Split, Window, at_the_end, interface_of
from nas.tasks.drawn import Rows, SymbolsTask


@dataclass(frozen=True)
class Memorization(SymbolsTask):
    """Read n symbols and a "go" token, then the n symbols are predicted with teacher forcing.

    The first filter of Jozefowicz et al. 2015, section 3.2. The inputs are `a b c d e go a b c d`
    and the targets the next symbols; only the five reproduced ones are scored. An example has 2 n
    steps; the field `window` is not used.
    """

    name: ClassVar[str] = "memorization"
    forced: ClassVar[bool] = True
    n_unused: ClassVar[int] = 0

    n_symbols: int = 5
    """Symbols to keep in memory."""
    alphabet: int = 26
    """Different symbols; the "go" token comes on top."""
    batches_per_epoch: int = field(default=100, kw_only=True)

    @property
    def interface(self) -> Interface:
        return interface_of(self.alphabet + 1)

    def draw(self, random: np.random.Generator, count: int) -> Rows:
        return super().draw(random, count).astype(np.uint32)

    def laid_out(self, examples: Rows, random: np.random.Generator) -> Window:
        symbols = examples.T.astype(np.int64)
        go = np.full((1, self.batch_size), self.alphabet, dtype=np.int64)
        steps = np.concatenate([symbols, go, symbols])
        return at_the_end(steps[:-1], steps[1:], self.n_symbols)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        # Exact rather than measured: a count over some thousand positions could fall below chance.
        return Baseline("one symbol always", 1 / self.alphabet)
