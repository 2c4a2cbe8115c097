"""XML: predict the next character of nested tags with random names."""

from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_lowercase
from typing import ClassVar

import numpy as np

from nas.errors import UserError
from nas.tasks import ngram
from nas.tasks.base import (
    ACCURACY,
    Baseline,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    generator,
    interface_of,
)
from nas.tasks.streams import check_splits, cut, inside, lay, n_windows, of_split

SYMBOLS = ascii_lowercase + "<>/\n"
"""The 30 symbols; a token is a place in this string. A newline ends every document."""


@dataclass(frozen=True)
class Xml(Task):
    """Streams of documents like `<etdomp><zbhbmg></zbhbmg></etdomp>`, each ended by a newline.

    The generator is that of Jozefowicz et al. 2015, section 3.5: with `close_probability`, or after
    `max_iterations`, close the tag opened last, or stop if none is open; else open a new one. The
    rule could stop at once; we draw no empty documents, so the first iteration always opens. The
    end of a document is marked by a newline, which the paper does not mention. All positions are
    scored, though few can be predicted: the mark "closing" is the letters of closing tags.
    """

    name: ClassVar[str] = "xml"

    min_name_length: int = 2
    max_name_length: int = 10
    """Lengths of the tag names, drawn uniformly, in letters."""
    close_probability: float = 0.5
    max_iterations: int = 50
    """Iterations of a document before tags are only closed; also the deepest nesting."""

    @property
    def metric(self) -> Metric:
        return ACCURACY

    @property
    def interface(self) -> Interface:
        return interface_of(len(SYMBOLS))

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        length = n_windows(self, split) * self.window + 1
        examples = self._examples(split, generator(self, split, seed, epoch))
        streams = lay(examples, SYMBOLS, self.batch_size, length)
        closing = inside(streams[:-1], SYMBOLS.index("/"), SYMBOLS.index(">"))
        letters = streams[1:] < len(ascii_lowercase)
        return cut(streams, self.window, marks={"closing": closing & letters})

    def chance(self, split: Split = "validation") -> float:
        return 1 / self.interface.outputs

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return ngram.accuracy(self, seed, split, order=2)

    def check(self) -> None:
        super().check()
        if not 1 <= self.min_name_length <= self.max_name_length:
            raise UserError(
                f"tasks.{self.name}: 1 <= min_name_length <= max_name_length must hold, "
                f"got {self.min_name_length} and {self.max_name_length}."
            )
        if not 0 <= self.close_probability <= 1:
            raise UserError(
                f"tasks.{self.name}.close_probability is a probability and must be 0 to 1, "
                f"got {self.close_probability}."
            )
        if self.max_iterations < 1:
            raise UserError(
                f"tasks.{self.name}.max_iterations must be at least 1, got {self.max_iterations}."
            )
        check_splits(self, self._examples)

    def _examples(self, split: Split, random: np.random.Generator) -> Iterator[str]:
        return of_split(self._documents(random), split, self)

    def _documents(self, random: np.random.Generator) -> Iterator[str]:
        """Yield documents without end, each drawn anew from `random`."""
        while True:
            closes = random.random(self.max_iterations) < self.close_probability
            closes[0] = False
            lengths = random.integers(
                self.min_name_length, self.max_name_length + 1, size=self.max_iterations
            ).tolist()
            letters = random.integers(ord("a"), ord("z") + 1, size=sum(lengths), dtype=np.uint8)
            yield _document(closes.tolist(), lengths, letters.tobytes().decode("ascii"))


def _document(closes: list[bool], lengths: list[int], letters: str) -> str:
    """One document; after the last of the `closes`, all open tags are closed."""
    pieces: list[str] = []
    names: list[str] = []
    start = 0
    for close, length in zip(closes, lengths, strict=True):
        if not close:
            names.append(letters[start : start + length])
            pieces.append(f"<{names[-1]}>")
            start += length
        elif names:
            pieces.append(f"</{names.pop()}>")
        else:
            break
    pieces += [f"</{name}>" for name in reversed(names)]
    return "".join(pieces) + "\n"
