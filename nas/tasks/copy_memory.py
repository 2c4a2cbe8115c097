"""Copy memory: symbols are read, and given back in order after a long delay."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from nas.tasks.base import ACCURACY, Baseline, Interface, Split, Window
from nas.tasks.drawn import Rows, SymbolsTask


@dataclass(frozen=True)
class CopyMemory(SymbolsTask):
    """Read n symbols, T - 1 blanks and n + 1 delimiters; give T + n blanks and the n symbols.

    Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, section 4.1, after Hochreiter & Schmidhuber
    1997; with delimiters, not blanks, while the symbols are given back, as in Bai, Kolter & Koltun
    2018, arXiv:1803.01271. All T + 2 n steps are trained on, and what is compared is the accuracy
    of the last n alone, the mark "recall": blanks are right without any memory. Without memory the
    loss is n ln(alphabet) / (T + 2 n) nats a step. Inputs are the symbols, the blank and the
    delimiter, in this order; the delimiter is no class of the output. The field `window` is not
    used.
    """

    name: ClassVar[str] = "copy_memory"
    metric = replace(ACCURACY, unit="share of recalled symbols", mark="recall")

    n_symbols: int = 10
    """Symbols to keep in memory."""
    alphabet: int = 8
    """Different symbols; the blank and the delimiter come on top."""
    delay: Annotated[int, "at least 1"] = 5
    """T: a symbol is given back T + n_symbols steps after it was read."""

    @property
    def interface(self) -> Interface:
        return Interface(self.alphabet + 2, self.alphabet + 1)

    def laid_out(self, examples: Rows, random: np.random.Generator) -> Window:
        n, length = self.n_symbols, self.delay + 2 * self.n_symbols
        blank, delimiter = self.alphabet, self.alphabet + 1
        inputs = np.full((length, self.batch_size), blank, dtype=np.int64)
        targets = inputs.copy()
        inputs[:n] = targets[-n:] = examples.T
        inputs[-n - 1 :] = delimiter
        recall = np.zeros(inputs.shape, dtype=np.bool_)
        recall[-n:] = True
        return Window(inputs, targets, np.ones_like(recall), True, {"recall": recall})

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        # Exact rather than measured: a count over some thousand positions could fall below chance.
        return Baseline("one symbol always", 1 / self.alphabet)

    def legend(self) -> dict[str, Any]:
        return {"blank": self.alphabet, "delimiter": self.alphabet + 1}
