"""Recall: pairs of keys and values are read, and a key later asks for its value."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks import drawn
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

BLANK = 0


@dataclass(frozen=True)
class Recall(Task):
    """Multi-query associative recall (MQAR): Arora et al. 2023, arXiv:2312.04927.

    The first 2 D steps are D pairs, a key and its value after it, all keys different and all values
    different. Each key comes once more, and its value is the target there. With S = (length - 2 D)
    // 2, key i asks at step 2 D + 2 (g_i - 1), where the gaps g_i in 1 … S are drawn one after
    another without replacement with p(g) ~ g^(power - 1): mostly soon, rarely late. Loss and
    accuracy are of these D steps alone. Tokens are the blank 0, keys 1 … V/2 - 1 and values V/2 …
    V - 1; the classes of the output are the V/2 values. Steps between questions are blank (random
    tokens there, as an option of the authors' code has it, could be keys). No list of pairs is in
    two splits, whatever its gaps. A window is one minibatch of whole, independent examples: the
    field `window` is not used.
    """

    name: ClassVar[str] = "recall"
    forced: ClassVar[bool] = False
    perfect: ClassVar[float] = 1.0

    n_pairs: int = 4
    """D."""
    tokens: int = 64
    """V, half of them values; even. The paper has 8192."""
    length: int = 32
    """Steps of an example; the paper has 64 for 4 pairs to 512 for 64."""
    power: float = 0.01
    """The paper's alpha: 1 for gaps that are uniform, smaller for short ones."""
    batches_per_epoch: int = field(default=400, kw_only=True)

    @property
    def metric(self) -> Metric:
        return replace(ACCURACY, unit="share of recalled values")

    @property
    def interface(self) -> Interface:
        return Interface(self.tokens, self._n_values)

    @property
    def _n_values(self) -> int:
        return self.tokens // 2

    @property
    def _n_gaps(self) -> int:
        return (self.length - 2 * self.n_pairs) // 2

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        random, context = generator(self, split, seed, epoch), 2 * self.n_pairs
        chances = np.arange(1.0, self._n_gaps + 1.0) ** (self.power - 1)
        streams = np.arange(self.batch_size)
        for batch in drawn.rows(self, split, random, self._draw):
            gaps = _without_replacement(random, chances, self.batch_size)[:, : self.n_pairs]
            asked = context + 2 * gaps.T
            inputs = np.full((self.length, self.batch_size), BLANK, dtype=np.int64)
            inputs[:context] = batch.T
            inputs[asked, streams] = batch[:, 0::2].T
            targets = np.zeros_like(inputs)
            targets[asked, streams] = batch[:, 1::2].T - self._n_values
            scored = np.zeros(inputs.shape, dtype=np.bool_)
            scored[asked, streams] = True
            yield Window(inputs, targets, scored, fresh=True)

    def chance(self, split: Split = "validation") -> float:
        return 1 / self._n_values

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Each value is asked for once, so one of those read is right once in D: exact."""
        return Baseline("last value read", 1 / self.n_pairs)

    def legend(self) -> dict[str, Any]:
        return {"blank": BLANK, "first_value": self._n_values}

    def check(self) -> None:
        super().check()
        if self.n_pairs < 1:
            raise UserError(f"tasks.{self.name}.n_pairs must be at least 1, got {self.n_pairs}.")
        if self.tokens % 2 or self.tokens < 2 * (self.n_pairs + 1):
            raise UserError(
                f"tasks.{self.name}.tokens must be even and at least 2 (n_pairs + 1) = "
                f"{2 * (self.n_pairs + 1)}, so that all keys differ, got {self.tokens}."
            )
        if self.length < 4 * self.n_pairs:
            raise UserError(
                f"tasks.{self.name}.length must be at least 4 n_pairs = {4 * self.n_pairs}, so "
                f"that all keys can ask, got {self.length}."
            )
        if not math.isfinite(self.power):
            raise UserError(f"tasks.{self.name}.power must be a number, got {self.power}.")
        n = math.perm(self._n_values - 1, self.n_pairs) * math.perm(self._n_values, self.n_pairs)
        if n < FEWEST_EXAMPLES:
            raise UserError(
                f"tasks.{self.name}: {self.n_pairs} pairs of {self.tokens} tokens are {n} lists, "
                f"but three splits that share nothing need {FEWEST_EXAMPLES}: raise tokens."
            )

    def _draw(self, random: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Keys and values by turns, (count, 2 n_pairs)."""
        lists = np.empty((count, 2 * self.n_pairs), dtype=np.int64)
        n_keys = self._n_values - 1
        lists[:, 0::2] = 1 + random.random((count, n_keys)).argsort(1)[:, : self.n_pairs]
        values = random.random((count, self._n_values)).argsort(1)[:, : self.n_pairs]
        lists[:, 1::2] = self._n_values + values
        return lists


def _without_replacement(
    random: np.random.Generator, chances: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Places drawn one after another in proportion to their chances: (count, places).

    The order in which exponential clocks of these rates ring, since each next one is the first of
    those that are left.
    """
    return (random.exponential(size=(count, len(chances))) / chances).argsort(1)
