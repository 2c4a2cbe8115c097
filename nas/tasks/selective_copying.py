"""Selective copying: symbols scattered among blanks are given back in order."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from nas.errors import UserError
from nas.tasks import drawn
from nas.tasks.base import (
    ACCURACY,
    Baseline,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    generator,
)


@dataclass(frozen=True)
class SelectiveCopying(Task):
    """Read n symbols at random places among blanks, then n copy tokens, at which they are given.

    Gu & Dao 2023, arXiv:2312.00752, section 4.1.1: unlike in copy memory, the time between symbols
    varies, so that a cell must choose what it keeps. The places are any n of the `length` first
    steps with equal probability; the last may be followed by blanks. The n copy tokens, and not the
    blanks, are scored. Inputs are the symbols, the blank and the copy token, in this order; outputs
    are the symbols. No string of symbols is in two splits, wherever its symbols lie. A window is
    one minibatch of whole, independent examples: the field `window` is not used.
    """

    name: ClassVar[str] = "selective_copying"
    forced: ClassVar[bool] = False
    perfect: ClassVar[float] = 1.0

    n_symbols: int = 5
    """Symbols to keep in memory."""
    alphabet: int = 14
    """Different symbols; the blank and the copy token come on top."""
    length: int = 30
    """Steps among which the symbols are scattered."""
    batches_per_epoch: int = field(default=400, kw_only=True)

    @property
    def metric(self) -> Metric:
        return replace(ACCURACY, unit="share of copied symbols")

    @property
    def interface(self) -> Interface:
        return Interface(self.alphabet + 2, self.alphabet)

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        random, n = generator(self, split, seed, epoch), self.n_symbols
        for batch in drawn.rows(self, split, random, drawn.strings(n, self.alphabet)):
            # The n first places of a random order are n places without replacement.
            order = random.random((self.batch_size, self.length)).argsort(1)
            places = np.sort(order[:, :n], axis=1).T
            inputs = np.full((self.length + n, self.batch_size), self.alphabet, dtype=np.int64)
            inputs[places, np.arange(self.batch_size)] = batch.T
            inputs[-n:] = self.alphabet + 1
            targets = np.zeros_like(inputs)
            targets[-n:] = batch.T
            scored = np.zeros(inputs.shape, dtype=np.bool_)
            scored[-n:] = True
            yield Window(inputs, targets, scored, fresh=True)

    def chance(self, split: Split = "validation") -> float:
        return 1 / self.alphabet

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Right at the last step, and elsewhere as often as two symbols are equal: exact."""
        n = self.n_symbols
        return Baseline("last symbol", (1 + (n - 1) / self.alphabet) / n)

    def legend(self) -> dict[str, Any]:
        return {"blank": self.alphabet, "copy": self.alphabet + 1}

    def check(self) -> None:
        super().check()
        drawn.check_strings(self, self.n_symbols, self.alphabet)
        if self.length < self.n_symbols:
            raise UserError(
                f"tasks.{self.name}.length must be at least n_symbols, of which each has a step, "
                f"got {self.length} and {self.n_symbols}."
            )
