"""Streams of symbols cut into windows: generated strings laid end to end, such as `xml.py`."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.tasks import ngram
from nas.tasks.base import SPLITS, Baseline, Interface, Split, Task, Window, generator, interface_of

Tokens = NDArray[np.int64]
Positions = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class StringStreams(Task):
    """Strings of ASCII characters without end; the next character is predicted."""

    symbols: ClassVar[str]
    """All characters; a token is a place in this string."""

    @abstractmethod
    def examples(self, split: Split, random: np.random.Generator) -> Iterator[str]:
        """Draw the strings of a split without end."""

    @abstractmethod
    def positions(self, streams: Tokens) -> tuple[Positions | None, dict[str, Positions]]:
        """Return which steps of the streams but the last are scored (None: all), and marks."""

    @property
    def interface(self) -> Interface:
        return interface_of(len(self.symbols))

    @property
    def reads_pieces(self) -> bool:
        return True

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        length = self.n_windows(split) * self.window + 1
        examples = self.examples(split, generator(self, split, seed, epoch))
        streams = lay(examples, self.symbols, self.batch_size, length)
        return cut(streams, self.window, *self.positions(streams))

    def legend(self) -> dict[str, Any]:
        return {"characters": self.symbols}

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return ngram.accuracy(self, seed, split, order=2)

    def check(self) -> None:
        super().check()
        for split in SPLITS:  # each has an example
            next(self.examples(split, generator(self, split, seed=0)))


def lay(examples: Iterator[str], symbols: str, n_streams: int, length: int) -> Tokens:
    """Lay examples end to end into streams of exactly `length` symbols: (length, n_streams).

    A token is the place of its character in `symbols`. Each stream begins with a whole example;
    its last example is cut off.
    """
    codes = np.full(128, -1, dtype=np.int64)
    codes[np.frombuffer(symbols.encode("ascii"), dtype=np.uint8)] = np.arange(len(symbols))
    streams = np.empty((length, n_streams), dtype=np.int64)
    for stream in range(n_streams):
        pieces: list[str] = []
        missing = length
        while missing > 0:
            pieces.append(next(examples))
            missing -= len(pieces[-1])
        text = "".join(pieces)[:length]
        streams[:, stream] = codes[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]
    return streams


def inside(inputs: Tokens, start: int, end: int) -> Positions:
    """Return where the last of the tokens `start` and `end`, this step included, is `start`.

    The targets of these positions lie after `start` and not after `end`.
    """
    steps = np.arange(len(inputs))[:, np.newaxis]
    last_start = np.maximum.accumulate(np.where(inputs == start, steps, -1))
    last_end = np.maximum.accumulate(np.where(inputs == end, steps, -1))
    return last_start > last_end


def cut(
    streams: Tokens,
    window: int,
    scored: Positions | None = None,
    marks: dict[str, Positions] | None = None,
) -> Iterator[Window]:
    """Yield the windows of streams of (windows * window + 1) steps; only the first is fresh.

    `scored` (None is everywhere) and `marks` have one step less than the streams.
    """
    inputs, targets = streams[:-1], streams[1:]
    scored = np.ones(inputs.shape, dtype=np.bool_) if scored is None else scored
    for start in range(0, len(inputs), window):
        here = slice(start, start + window)
        marked = {name: mark[here] for name, mark in (marks or {}).items()}
        yield Window(inputs[here], targets[here], scored[here], start == 0, marked)
