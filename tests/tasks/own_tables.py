"""Tables as users have them, written for a test, and what a task reads of them."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from nas.tasks import Csv
from tests.tasks.own_data import SMALL

RANDOM = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {"time": range(60), "load": RANDOM.normal(size=60), "room": RANDOM.normal(size=60)}
).round(4)
PLAIN = FRAME.to_csv(index=False)


def csv(text: str | bytes, name: str = "t.csv", **fields: Any) -> Csv:
    """A task on a file of this text."""
    data = text if isinstance(text, bytes) else text.encode()
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return task(name, **fields)


def task(name: str, **fields: Any) -> Csv:
    """By its whole path, under which it is kept in memory."""
    return Csv(str(Path(name).absolute()), **{**SMALL, "window": 5, "normalise": False, **fields})  # type: ignore[arg-type]


def inputs(of: Csv) -> np.ndarray:
    """What is read, (rows, features)."""
    of.check()
    return of.data.parts["train"].inputs


def lines(row: Callable[[int], Sequence[object]], names: str, n: int = 60) -> str:
    rows = (",".join(map(str, row(k))) for k in range(n))
    return "\n".join([names, *rows, ""])
