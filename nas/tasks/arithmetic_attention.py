"""Arithmetic with attention: read a whole sum or difference, then write its value."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from nas.tasks.arithmetic import SYMBOLS, Arithmetic
from nas.tasks.attended import Attended, Pair, interface, lay
from nas.tasks.base import Interface, Split, Window, generator

DIVIDER, PADDING = SYMBOLS.index("="), len(SYMBOLS)


@dataclass(frozen=True)
class ArithmeticAttention(Arithmetic):
    """The examples of `arithmetic`: steps after "=" attend to the characters before it.

    The source is the text before "=", distracting letters included; the answer and its "." are
    written, each character given back as the next input. The symbol after the 40 is padding. The
    field `window` is not used.
    """

    name: ClassVar[str] = "arithmetic_attention"
    forced: ClassVar[bool] = False

    attention: Attended = field(default="additive", kw_only=True)
    """How a model attends: additive (its context is an input of the cell), general (computed from
    the output of the cell), or none, for a model that reads all steps in order."""

    @property
    def interface(self) -> Interface:
        return interface(len(SYMBOLS), PADDING + 1, self.attention, DIVIDER)

    @property
    def reads_pieces(self) -> bool:
        return False

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        examples = self.examples(split, generator(self, split, seed, epoch))
        n_characters = 2 * (self.max_digits + 1) + 1  # two signs, two numbers, the operator
        longest = n_characters * (1 + self.max_distractors), self.max_digits + 3
        for _ in range(self.n_windows(split)):
            pairs = [_pair(example) for example in islice(examples, self.batch_size)]
            yield lay(pairs, longest, DIVIDER, PADDING)

    def legend(self) -> dict[str, Any]:
        return {"symbols": SYMBOLS, "padding": PADDING}


def _pair(example: str) -> Pair:
    source, text = example.split("=")
    return list(map(SYMBOLS.index, source)), list(map(SYMBOLS.index, text))
