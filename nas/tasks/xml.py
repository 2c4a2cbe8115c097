"""XML: predict the next character of nested tags with random names."""

from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Annotated, ClassVar

import numpy as np

from nas.errors import UserError
from nas.tasks.base import Split
from nas.tasks.drawn import of_split
from nas.tasks.streams import Positions, StringStreams, Tokens, inside

SYMBOLS = ascii_lowercase + "<>/\n"
"""The 30 symbols; a token is a place in this string. A newline ends every document."""


@dataclass(frozen=True)
class Xml(StringStreams):
    """Streams of documents like `<etdomp><zbhbmg></zbhbmg></etdomp>`, each ended by a newline.

    The generator is that of Jozefowicz et al. 2015, section 3.5: with `close_probability`, or after
    `max_iterations`, close the tag opened last, or stop if none is open; else open a new one. The
    rule could stop at once; we draw no empty documents, so the first iteration always opens. The
    end of a document is marked by a newline, which the paper does not mention. All positions are
    scored, though few can be predicted: the mark "closing" is the letters of closing tags.
    """

    name: ClassVar[str] = "xml"
    symbols: ClassVar[str] = SYMBOLS

    min_name_length: int = 2
    max_name_length: int = 10
    """Lengths of the tag names, drawn uniformly, in letters."""
    close_probability: Annotated[float, "in [0, 1]"] = 0.5
    max_iterations: Annotated[int, "at least 1"] = 50
    """Iterations of a document before tags are only closed; also the deepest nesting."""

    def check(self) -> None:
        if not 1 <= self.min_name_length <= self.max_name_length:
            raise UserError(
                f"tasks.{self.name}: 1 <= min_name_length <= max_name_length must hold, "
                f"got {self.min_name_length} and {self.max_name_length}."
            )
        super().check()

    def positions(self, streams: Tokens) -> tuple[None, dict[str, Positions]]:
        closing = inside(streams[:-1], SYMBOLS.index("/"), SYMBOLS.index(">"))
        letters = streams[1:] < len(ascii_lowercase)
        return None, {"closing": closing & letters}

    def examples(self, split: Split, random: np.random.Generator) -> Iterator[str]:
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
    """Write one document; after the last of the `closes`, all open tags are closed."""
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
