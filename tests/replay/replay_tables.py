"""Made-up tables for the tests of replays: cells on walks of mutations, with any values."""

from collections.abc import Sequence
from functools import cache
from random import Random

from nas.cell import Cell
from nas.cell.distance import distance, features
from nas.cell.mutation import random_walk
from nas.replay.bench import Bench, make_bench
from nas.replay.table import Header, Recorded, Table
from nas.zoo import ZOO

RUNS = 4
"""Of each made-up visit."""


@cache
def walked(n_walks: int, length: int) -> tuple[Cell, ...]:
    """Cells on walks from the LSTM and from the GRU."""
    walks = (
        random_walk(ZOO[start], length, f"{start} {walk}")
        for start in ("lstm", "gru")
        for walk in range(n_walks)
    )
    return tuple(mutant.cell for walk in walks for mutant in walk)


def visit(number: int, kind: str, cell: Cell, value: float) -> Recorded:
    about = (number, kind, cell.name, cell.key, str(cell), "scored", value, value)
    return Recorded(*about, ratios={"task": value}, runs=RUNS)


def table(cells: Sequence[Cell], values: Sequence[float]) -> Table:
    """The GRU and the LSTM, then these."""
    given = [visit(k, "given", ZOO[name], 0.0) for k, name in enumerate(("gru", "lstm"))]
    pairs = zip(cells, values, strict=True)
    drawn = [visit(k, "drawn", cell, value) for k, (cell, value) in enumerate(pairs, start=2)]
    return Table(Header("made"), (*given, *drawn))


def smooth(n_walks: int, length: int, best: int) -> Bench:
    """The nearer to a hidden best cell, the better."""
    cells = walked(n_walks, length)
    counted = [features(cell) for cell in cells]
    return make_bench(table(cells, [1 - distance(one, counted[best]) for one in counted]))


def independent(n_walks: int, length: int) -> Bench:
    """Values that have nothing to do with the cells."""
    cells = walked(n_walks, length)
    rng = Random(0)
    return make_bench(table(cells, [rng.random() for _ in cells]))
