"""Generated examples laid end to end into parallel streams, and streams cut into windows.

Shared by the tasks whose examples are strings of ASCII characters, such as `arithmetic.py`.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.base import Split, Task, Window, generator, split_of

Example = TypeVar("Example", str, bytes)

MOST_REJECTIONS = 10_000
"""A split takes 1 draw in 10, so that this many rejections in a row mean that it has no example."""


def n_windows(task: Task, split: Split) -> int:
    """The number of windows that one epoch of a split has."""
    return task.batches_per_epoch if split == "train" else task.validation_batches


def of_split(examples: Iterator[Example], split: Split, task: Task) -> Iterator[Example]:
    """Keep the examples that `split_of` gives to this split."""
    rejections = 0
    for example in examples:
        encoded = example.encode() if isinstance(example, str) else example
        if split_of(encoded) == split:
            rejections = 0
            yield example
        elif (rejections := rejections + 1) >= MOST_REJECTIONS:
            raise UserError(
                f"tasks.{task.name}: its fields allow so few different examples that the {split} "
                f"split has none after {rejections} draws: widen their ranges."
            )


def check_splits(
    task: Task, examples: Callable[[Split, np.random.Generator], Iterator[str]]
) -> None:
    """Raise UserError unless each split has an example."""
    for split in get_args(Split):
        next(examples(split, generator(task, split, seed=0)))


def lay(examples: Iterator[str], symbols: str, n_streams: int, length: int) -> NDArray[np.int64]:
    """Lay examples end to end into streams of exactly `length` symbols: (length, n_streams).

    A token is the place of its character in `symbols`. Each stream begins with a whole example;
    its last one is cut off.
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


def inside(inputs: NDArray[np.int64], start: int, end: int) -> NDArray[np.bool_]:
    """Where the last of the tokens `start` and `end` read so far, this step included, is `start`.

    These are the positions whose target lies after `start` and not after `end`.
    """
    steps = np.arange(len(inputs))[:, np.newaxis]
    last_start = np.maximum.accumulate(np.where(inputs == start, steps, -1))
    last_end = np.maximum.accumulate(np.where(inputs == end, steps, -1))
    return last_start > last_end


def cut(
    streams: NDArray[np.int64],
    window: int,
    scored: NDArray[np.bool_] | None = None,
    marks: dict[str, NDArray[np.bool_]] | None = None,
) -> Iterator[Window]:
    """Yield the windows of streams of (windows * window + 1) steps; only the first is fresh.

    `scored` (None is everywhere) and `marks` have one step less than the streams.
    """
    inputs, targets = streams[:-1], streams[1:]
    scored = np.ones(inputs.shape, dtype=np.bool_) if scored is None else scored
    marks = marks or {}
    for start in range(0, len(inputs), window):
        here = slice(start, start + window)
        yield Window(
            inputs[here],
            targets[here],
            scored[here],
            fresh=start == 0,
            marks={name: mark[here] for name, mark in marks.items()},
        )
