"""XML: predict the next character of nested tags with random names."""

from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

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

    @property
    def best_possible(self) -> float:
        """The accuracy of a predictor that knows the generator and remembers the whole document, on
        streams without end: its expected right guesses a document over the expected symbols.

        It guesses the likelier of a new tag and a closing one, or of a letter and the end of a
        name; what a closing tag says it knows for certain. That documents of other splits never
        come is not taken into account.
        """
        return _right_guesses(self) / _symbols(self)

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


def _reached(task: Xml) -> NDArray[np.float64]:
    """Return the probability that a document gets to an iteration with so many open tags,
    (max_iterations + 1, max_iterations + 1); the last row is for the end of all iterations."""
    n, p = task.max_iterations, task.close_probability
    at = np.zeros((n + 1, n + 1))
    at[0, 0] = at[1, 1] = 1  # the first iteration always opens
    for k in range(1, n):
        at[k + 1, 1:] += (1 - p) * at[k, :-1]
        at[k + 1, :-1] += p * at[k, 1:]  # with no open tag it stops instead
    return at


def _symbols(task: Xml) -> float:
    """Return the expected symbols of a document: `<name>` and `</name>` of each tag, a newline."""
    n_tags = 1 + (1 - task.close_probability) * _reached(task)[1:-1].sum()
    return float(n_tags * (5 + task.min_name_length + task.max_name_length) + 1)


def _right_guesses(task: Xml) -> float:
    """Return the expected right guesses of `Xml.best_possible` in a document."""
    p, letter = task.close_probability, 1 / len(ascii_lowercase)
    at = _reached(task)
    root, deep = at[1:-1, 0].sum(), at[1:-1, 1:].sum()
    n_tags = 1 + (1 - p) * (root + deep)
    lengths = np.arange(task.min_name_length, task.max_name_length + 1)
    # After j letters of a new name: the end of the name, or one letter of 26.
    ends = [(lengths == j).mean() for j in range(1, task.max_name_length + 1)]
    more = [(lengths > j).mean() for j in range(1, task.max_name_length + 1)]
    in_new_name = np.maximum(ends, letter * np.array(more)).sum()
    in_closing = lengths.mean() + 1  # its letters and ">", after "</"
    guesses = n_tags * (in_new_name + in_closing)
    guesses += 1 + letter  # "<" and a letter, at the start of a document
    guesses += root * (max(p, 1 - p) + (1 - p) * letter)  # no tag is open: a newline, or "<"
    guesses += deep * (1 + max(p, (1 - p) * letter))  # "<", then "/" or a letter
    # After the last iteration all that is open is closed.
    return float(guesses + 2 * (at[-1] * np.arange(len(at))).sum() + at[-1].sum())


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
