"""Seconds from a cell to a loop: compiled alone, read from the cache, and many in one run."""

import os
import shutil
import tempfile
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from nas.cell.cell import Cell
from nas.compile.ahead import compile_ahead
from nas.compile.loop import source_of
from nas.compile.native import library

CACHED_LOADS = 3


@dataclass(frozen=True)
class CompileTime:
    """Seconds from a cell to a callable loop; the products that all loops share exist already."""

    cell: str
    hidden: int
    cold_s: float
    """With an empty cache: the C compiler runs."""
    cached_s: list[float]
    """From copies of the cache on disk, none of which the process has loaded before."""


@dataclass(frozen=True)
class AheadTime:
    """Seconds until the loops of some random mutants are in an empty cache."""

    hidden: int
    loops: int
    alone_s: float
    """Compiled one by one."""
    ahead_s: dict[int, float]
    """Compiled by `compile_ahead`, by the number of compilers that run at once."""


def compile_time(cell: Cell, hidden: int) -> CompileTime:
    """Compile a cell's loop into a cache of its own, then load it from copies of that.

    Raises:
        CompilerError: without a working C compiler.
    """
    _load(cell, hidden)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folders = [Path(place) / str(number) for number in range(1 + CACHED_LOADS)]
        cold_s = _time_with(folders[0], lambda: _load(cell, hidden))
        for folder in folders[1:]:
            shutil.copytree(folders[0], folder)
        cached_s = [_time_with(folder, lambda: _load(cell, hidden)) for folder in folders[1:]]
    return CompileTime(cell.name, hidden, cold_s, cached_s)


def ahead_time(cells: Sequence[Cell], hidden: int, jobs: Sequence[int]) -> AheadTime:
    """Compile the loops of cells one by one, and ahead.

    Raises:
        CompilerError: without a working C compiler.
    """
    layers = [(cell, hidden, hidden, torch.float32) for cell in cells]

    def alone() -> None:
        for cell in cells:
            _load(cell, hidden)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        alone_s = _time_with(Path(place) / "alone", alone)
        ahead_s = {
            n: _time_with(Path(place) / str(n), partial(compile_ahead, layers, n)) for n in jobs
        }
    return AheadTime(hidden, len(cells), alone_s, ahead_s)


def _time_with(folder: Path, run: Callable[[], object]) -> float:
    """Seconds that a call takes with the cache of compiled loops at another place."""
    before = os.environ.get("NAS_CACHE_DIR")
    os.environ["NAS_CACHE_DIR"] = str(folder)
    try:
        return timeit.timeit(run, number=1)
    finally:
        del os.environ["NAS_CACHE_DIR"]
        if before is not None:
            os.environ["NAS_CACHE_DIR"] = before


def _load(cell: Cell, hidden: int) -> None:
    """Do what `nas.compile.loop.compiled` does for a cell that is new to the process."""
    _, source = source_of(cell, hidden, hidden, torch.float32)
    library(source.text, double=False)
