"""Memorization: read a few symbols, then reproduce them in the same order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np

from nas.errors import UserError
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
    interface_of,
)
from nas.tasks.streams import n_windows, of_split

DRAWN_AT_ONCE = 1024


@dataclass(frozen=True)
class Memorization(Task):
    """Read n symbols and a "go" token, then the n symbols are predicted with teacher forcing.

    The first filter of Jozefowicz et al. 2015, section 3.2. The inputs are `a b c d e go a b c d`
    and the targets the next symbols; only the five reproduced ones are scored. A window is one
    minibatch of whole, independent examples of 2 n steps: the field `window` is not used.
    """

    name: ClassVar[str] = "memorization"
    perfect: ClassVar[float] = 1.0

    n_symbols: int = 5
    """Symbols to keep in memory."""
    alphabet: int = 26
    """Different symbols; the "go" token comes on top."""

    @property
    def metric(self) -> Metric:
        return ACCURACY

    @property
    def interface(self) -> Interface:
        return interface_of(self.alphabet + 1)

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        count = n_windows(self, split)
        drawn = of_split(self._examples(generator(self, split, seed, epoch)), split, self)
        encoded = b"".join(islice(drawn, count * self.batch_size))
        symbols = np.frombuffer(encoded, dtype="<u4").astype(np.int64)
        batches = symbols.reshape(count, self.batch_size, self.n_symbols).transpose(0, 2, 1)
        go = np.full((1, self.batch_size), self.alphabet, dtype=np.int64)
        for batch in batches:
            steps = np.concatenate([batch, go, batch])
            scored = np.zeros(steps[1:].shape, dtype=np.bool_)
            scored[self.n_symbols :] = True
            yield Window(steps[:-1], steps[1:], scored, fresh=True)

    def chance(self, split: Split = "validation") -> float:
        return 1 / self.interface.outputs

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        # Exact rather than measured: a count over some thousand positions could fall below chance.
        return Baseline("one symbol always", 1 / self.alphabet)

    def check(self) -> None:
        super().check()
        if self.n_symbols < 1 or self.alphabet < 1:
            raise UserError(
                f"tasks.{self.name}: n_symbols and alphabet must be at least 1, "
                f"got {self.n_symbols} and {self.alphabet}."
            )
        if self.alphabet**self.n_symbols < FEWEST_EXAMPLES:
            raise UserError(
                f"tasks.{self.name}: alphabet ** n_symbols must be at least {FEWEST_EXAMPLES}, so "
                f"that three splits can share nothing, got {self.alphabet} ** {self.n_symbols}: "
                f"raise one of them."
            )

    def _examples(self, random: np.random.Generator) -> Iterator[bytes]:
        """Yield the symbols of one example after another without end, 4 bytes each."""
        size = 4 * self.n_symbols
        while True:
            symbols = random.integers(self.alphabet, size=(DRAWN_AT_ONCE, self.n_symbols))
            encoded = symbols.astype("<u4").tobytes()
            for start in range(0, len(encoded), size):
                yield encoded[start : start + size]
