"""Examples of a fixed size, drawn at random and kept by the split that their hash gives them.

Shared by the tasks whose window is one minibatch of whole, independent examples.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.base import FEWEST_EXAMPLES, Split, Task
from nas.tasks.streams import n_windows, of_split

DRAWN_AT_ONCE = 256
Rows = NDArray[Any]
"""Examples one after another, (examples, ...)."""
Draw = Callable[[np.random.Generator, int], Rows]
"""Draws so many examples, of the same shape and type each time."""


def rows(task: Task, split: Split, random: np.random.Generator, draw: Draw) -> Rows:
    """The examples of one epoch of a split: (windows, batch_size, ...)."""
    first = draw(random, 1)  # of which only the shape is used
    count = n_windows(task, split)
    encoded = b"".join(
        islice(of_split(_encoded(random, draw), split, task), count * task.batch_size)
    )
    kept = np.frombuffer(encoded, dtype=first.dtype.newbyteorder("<")).astype(first.dtype)
    return kept.reshape(count, task.batch_size, *first.shape[1:])


def _encoded(random: np.random.Generator, draw: Draw) -> Iterator[bytes]:
    """The bytes of one example after another without end, the same on every machine."""
    while True:
        drawn = draw(random, DRAWN_AT_ONCE)
        for example in drawn.astype(drawn.dtype.newbyteorder("<")):
            yield example.tobytes()


def strings(n_symbols: int, alphabet: int) -> Draw:
    """Draws strings of independent, uniform symbols in [0, alphabet), (examples, n_symbols)."""
    return lambda random, count: random.integers(alphabet, size=(count, n_symbols))


def check_strings(task: Task, n_symbols: int, alphabet: int) -> None:
    """Raise UserError unless there are enough strings for three splits."""
    if n_symbols < 1 or alphabet < 2:
        raise UserError(
            f"tasks.{task.name}: n_symbols must be at least 1 and alphabet at least 2, "
            f"got {n_symbols} and {alphabet}."
        )
    if alphabet**n_symbols < FEWEST_EXAMPLES:
        raise UserError(
            f"tasks.{task.name}: alphabet ** n_symbols must be at least {FEWEST_EXAMPLES}, so "
            f"that three splits can share nothing, got {alphabet} ** {n_symbols}: raise one of "
            f"them."
        )
