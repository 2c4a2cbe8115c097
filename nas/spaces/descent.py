"""Lines of descent: the cell that mutations of given seeds, one a generation, make of an origin.

Spaces of mutants share what they ask a trial for and a store of the cells on the way, since a
sampler that evolves proposes every parent again with each of its children.
"""

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from threading import Lock
from typing import TYPE_CHECKING

from nas.cell import Cell, loads, renamed
from nas.cell.mutation import NoMutant, mutate
from nas.cell.mutation.rules import Mutations
from nas.spaces.base import Params
from nas.zoo import ZOO

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

LARGEST_SEED = 2**31 - 1
KEPT = 4096
"""Cells in the store."""


def asked(trial: "BaseTrial", max_generation: int) -> tuple[int, ...]:
    """The seeds of a trial's mutations; their number is log-uniform if it is drawn at random."""
    generation = trial.suggest_int("generation", 1, max_generation, log=True)
    return tuple(trial.suggest_int(_seed_of(k), 0, LARGEST_SEED) for k in range(2, generation + 1))


def seeds_of(params: Params) -> tuple[int, ...]:
    """The seeds of the mutations of a point."""
    return tuple(int(params[_seed_of(k)]) for k in range(2, int(params["generation"]) + 1))


def longer(params: Params, seed: int, max_generation: int) -> Params:
    """A point one mutation further; a sibling, if the line is as long as it may be."""
    generation = min(int(params["generation"]) + 1, max_generation)
    own = Random(seed).randint(0, LARGEST_SEED)
    return {**params, "generation": generation, _seed_of(generation): own}


def _seed_of(generation: int) -> str:
    """The name of the suggestion that leads to a generation."""
    return f"mutation_{generation}"


def descendant(origin: Cell, seeds: Sequence[int], rules: Mutations) -> Cell:
    """The last cell of the line; a known cell has its name there. A line that cannot go on ends."""
    line, seeds = _line(origin, rules), tuple(seeds)
    n_known = len(seeds)
    while n_known and not _STORE.get(line, seeds[:n_known]):
        n_known -= 1
    cell = (_STORE.get(line, seeds[:n_known]) if n_known else None) or origin
    for k in range(n_known, len(seeds)):
        try:
            cell = mutate(cell, seeds[k], rules).cell
        except NoMutant:
            pass
        _STORE.keep(line, seeds[: k + 1], cell)
    known = ZOO.named(cell.key) if seeds else ""
    return renamed(cell, known) if known else cell


def recall(origin: Cell, seeds: Sequence[int], rules: Mutations, text: str) -> None:
    """Note that this text is the line's last cell, so that its children need no replay.

    A known cell's name is not the one that its own mutants are described by: it is replayed.
    """
    line, seeds = _line(origin, rules), tuple(seeds)
    if seeds and not _STORE.get(line, seeds):
        cell = loads(text)
        if cell.name not in ZOO:
            _STORE.keep(line, seeds, cell)


@lru_cache(maxsize=KEPT)
def _line(origin: Cell, rules: Mutations) -> object:
    """A token, the same for the same arguments: quick to compare, where cells and rules are not."""
    return object()


class _Store:
    """The cells that were asked for last."""

    def __init__(self) -> None:
        self._cells: dict[tuple[object, tuple[int, ...]], Cell] = {}
        self._lock = Lock()

    def get(self, line: object, seeds: tuple[int, ...]) -> Cell | None:
        with self._lock:
            cell = self._cells.pop((line, seeds), None)
            if cell is not None:
                self._cells[line, seeds] = cell  # now the latest
            return cell

    def keep(self, line: object, seeds: tuple[int, ...], cell: Cell) -> None:
        with self._lock:
            self._cells[line, seeds] = cell
            while len(self._cells) > KEPT:
                del self._cells[next(iter(self._cells))]


_STORE = _Store()
