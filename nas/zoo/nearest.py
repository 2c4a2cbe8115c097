"""The known cell that is nearest to a cell, and the difference in words.

The difference is a list of edits (`nas/cell/edits.py`) after which both cells have one key, so it
is the whole difference. A beam search along the distance of cells finds them; where it finds none,
the difference is a number of operations.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from nas.cell.cell import Cell
from nas.cell.distance import Features, distance, features
from nas.cell.edits import edits
from nas.zoo import ZOO

CANDIDATES = 6
"""Nearest known cells from which the search begins."""
BEAM = 5
MOST_EDITS = 4
MOST_TERMS = 24
"""Most terms by which cells differ that the search compares: a gate with its product is six."""
MOST_NODES = 120_000
"""Most nodes of pairs that a search visits, some 1.5 s. Half of that finds the edits of known cells
that differ in few."""
SAME = 1e-12
"""Distance below which it is worth comparing keys."""


@dataclass(frozen=True)
class Nearest:
    """A known cell, and the difference of another cell from it."""

    name: str
    distance: float
    """The distance of `nas/cell/distance.py`, from 0 to 1."""
    difference: tuple[str, ...]
    """Edits that make the known cell this one; empty if both have one key."""
    is_all: bool = True
    """Whether the edits are the whole difference; else one sentence has numbers of operations."""

    def __str__(self) -> str:
        if not self.difference:
            return f"the same cell as {self.name}"
        return f"{self.name}: {'; '.join(self.difference)}"


@dataclass(frozen=True)
class _Pair:
    """A known cell and a cell, each changed towards the other by the edits in `words`."""

    name: str
    known: Cell
    cell: Cell
    features: tuple[Features, Features]
    distance: float
    words: tuple[str, ...] = ()


def nearest(cell: Cell, among: Iterable[str] | None = None) -> Nearest:
    """The nearest known cell: one of the same key, else one from which few edits lead to the cell.

    Of the nearest cells by distance, the result has the fewest edits, or is the nearest itself if
    the search finds no edits. `among` are names of the zoo, all of them by default.
    """
    names = [name for name in ZOO if among is None or name in set(among)]
    for name in names:
        if ZOO[name].key == cell.key:
            return Nearest(name, 0.0, ())
    own = features(cell)
    pairs = [_pair(name, ZOO[name], cell, _features(ZOO[name]), own) for name in names]
    pairs.sort(key=lambda pair: (pair.distance, names.index(pair.name)))
    first = pairs[0]
    near = [pair for pair in pairs[:CANDIDATES] if sum(_more_and_fewer(pair)) <= MOST_TERMS]
    starts = {pair.name: pair for pair in near}
    if solved := _search(list(starts.values())):
        return Nearest(solved.name, starts[solved.name].distance, solved.words)
    return Nearest(first.name, first.distance, (_count(first),), is_all=False)


@lru_cache(maxsize=1 << 10)  # pairs that a search visits have half of their cells in common
def _features(cell: Cell) -> Features:
    return features(cell)


def _pair(
    name: str, known: Cell, cell: Cell, one: Features, other: Features, words: tuple[str, ...] = ()
) -> _Pair:
    return _Pair(name, known, cell, (one, other), distance(one, other), words)


def _search(beam: list[_Pair]) -> _Pair | None:
    """The first pair whose cells have one key, after as few edits as possible."""
    visited: set[tuple[int, int]] = set()
    n_nodes = 0
    for _ in range(MOST_EDITS):
        children: list[_Pair] = []
        for child in (child for pair in beam for child in _children(pair, visited)):
            children.append(child)
            n_nodes += len(child.known.nodes) + len(child.cell.nodes)
            if n_nodes > MOST_NODES:
                return None
        children.sort(key=lambda pair: (pair.distance, len("; ".join(pair.words))))
        for child in children:
            if child.distance < SAME and child.known.key == child.cell.key:
                return child
        beam = children[:BEAM]
    return None


def _children(pair: _Pair, visited: set[tuple[int, int]]) -> Iterable[_Pair]:
    """The pairs after one more edit, of either cell."""
    one, other = pair.features
    sides = [(True, edit) for edit in edits(pair.known, pair.cell)]
    sides += [(False, edit) for edit in edits(pair.cell, pair.known) if edit.undone]
    for is_known, edit in sides:
        new = _features(edit.cell)
        both = (new, other) if is_known else (one, new)
        mark = (hash(frozenset(both[0].items())), hash(frozenset(both[1].items())))
        if mark in visited:
            continue
        visited.add(mark)
        words = (*pair.words, edit.made if is_known else edit.undone)
        cells = (edit.cell, pair.cell) if is_known else (pair.known, edit.cell)
        yield _pair(pair.name, *cells, *both, words)


def _more_and_fewer(pair: _Pair) -> tuple[int, int]:
    """Numbers of operations that only the cell and only the known cell has, whatever they read."""
    known, cell = (features(side, rounds=0) for side in (pair.known, pair.cell))
    return (cell - known).total(), (known - cell).total()


def _count(pair: _Pair) -> str:
    more, fewer = _more_and_fewer(pair)
    return f"{more} operations more and {fewer} fewer, beside what they read"
