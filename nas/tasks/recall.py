"""Recall: pairs of keys and values are read, and a key later asks for its value."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.tasks.base import ACCURACY, Baseline, Interface, Split, Window
from nas.tasks.drawn import DrawnTask, Rows

BLANK = 0


@dataclass(frozen=True)
class Recall(DrawnTask):
    """Multi-query associative recall (MQAR): Arora et al. 2023, arXiv:2312.04927.

    The first 2 D steps are D pairs, a key and its value after it, all keys different and all values
    different. Each key comes once more, and its value is the target there. With S = (length - 2 D)
    // 2, key i asks at step 2 D + 2 (g_i - 1), where the gaps g_i in 1 … S are drawn one after
    another without replacement with p(g) ~ g^(power - 1): mostly soon, rarely late. Loss and
    accuracy are of these D steps alone. Tokens are the blank 0, keys 1 … V/2 - 1 and values V/2 …
    V - 1; the classes of the output are the V/2 values. Steps between questions are blank (random
    tokens there, as an option of the authors' code has it, could be keys). No list of pairs is in
    two splits, whatever its gaps. The field `window` is not used.
    """

    name: ClassVar[str] = "recall"
    metric = replace(ACCURACY, unit="share of recalled values")

    n_pairs: Annotated[int, "at least 1"] = 4
    """D."""
    tokens: int = 64
    """V, half of them values; even. The paper has 8192."""
    length: int = 32
    """Steps of an example; the paper has 64 for 4 pairs to 512 for 64."""
    power: float = 0.01
    """The paper's alpha: 1 for gaps that are uniform, smaller for short ones."""

    @property
    def interface(self) -> Interface:
        return Interface(self.tokens, self._n_values)

    @property
    def _n_values(self) -> int:
        return self.tokens // 2

    @property
    def _n_gaps(self) -> int:
        return (self.length - 2 * self.n_pairs) // 2

    def laid_out(self, examples: Rows, random: np.random.Generator) -> Window:
        context, streams = 2 * self.n_pairs, np.arange(self.batch_size)
        chances = np.arange(1.0, self._n_gaps + 1.0) ** (self.power - 1)
        gaps = _without_replacement(random, chances, self.batch_size)[:, : self.n_pairs]
        asked = context + 2 * gaps.T
        inputs = np.full((self.length, self.batch_size), BLANK, dtype=np.int64)
        inputs[:context] = examples.T
        inputs[asked, streams] = examples[:, 0::2].T
        targets = np.zeros_like(inputs)
        targets[asked, streams] = examples[:, 1::2].T - self._n_values
        scored = np.zeros(inputs.shape, dtype=np.bool_)
        scored[asked, streams] = True
        return Window(inputs, targets, scored, fresh=True)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Each value is asked for once, so one of those read is right once in D: exact."""
        return Baseline("last value read", 1 / self.n_pairs)

    def legend(self) -> dict[str, Any]:
        return {"blank": BLANK, "first_value": self._n_values}

    def check(self) -> None:
        super().check()
        if self.tokens % 2 or self.tokens < 2 * (self.n_pairs + 1):
            least = 2 * (self.n_pairs + 1)
            rule = f"even and at least 2 (n_pairs + 1) = {least}, so that all keys differ"
            raise self.refused("tokens", rule, self.tokens)
        if self.length < (least := 4 * self.n_pairs):
            rule = f"at least 4 n_pairs = {least}, so that all keys can ask"
            raise self.refused("length", rule, self.length)
        if not math.isfinite(self.power):
            raise self.refused("power", "a finite number", self.power)
        n = math.perm(self._n_values - 1, self.n_pairs) * math.perm(self._n_values, self.n_pairs)
        self.check_enough(n, f"n_pairs = {self.n_pairs} with tokens = {self.tokens}")

    def draw(self, random: np.random.Generator, count: int) -> Rows:
        """Draw keys and values by turns, (count, 2 n_pairs)."""
        lists = np.empty((count, 2 * self.n_pairs), dtype=np.int64)
        n_keys = self._n_values - 1
        lists[:, 0::2] = 1 + random.random((count, n_keys)).argsort(1)[:, : self.n_pairs]
        values = random.random((count, self._n_values)).argsort(1)[:, : self.n_pairs]
        lists[:, 1::2] = self._n_values + values
        return lists


def _without_replacement(
    random: np.random.Generator, chances: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Draw places one after another in proportion to their chances: (count, places).

    Exponential clocks of these rates ring in this order, since the next to ring is the first of
    those that are left.
    """
    return (random.exponential(size=(count, len(chances))) / chances).argsort(1)
