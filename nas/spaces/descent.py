"""Lines of descent: the cell that mutations of given seeds, one a generation, make of an origin.

Spaces of mutants share the suggestions of a line and a cache of the cells on the way, since a
sampler that evolves cells proposes every parent again with each of its children.
"""

from collections import OrderedDict
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
"""Cells in the cache."""


def suggested_seeds(trial: "BaseTrial", max_generation: int) -> tuple[int, ...]:
    """The seeds of a trial's mutations; a random number of them is log-uniform."""
    generation = trial.suggest_int("generation", 1, max_generation, log=True)
    return tuple(trial.suggest_int(_seed_of(k), 0, LARGEST_SEED) for k in range(2, generation + 1))


def seeds_of(params: Params) -> tuple[int, ...]:
    """The seeds of the mutations of a point."""
    return tuple(int(params[_seed_of(k)]) for k in range(2, int(params["generation"]) + 1))


def child_of(params: Params, seed: int, max_generation: int) -> Params:
    """A point one mutation further; a sibling of a point whose line has its full length."""
    generation = min(int(params["generation"]) + 1, max_generation)
    own = Random(seed).randint(0, LARGEST_SEED)
    return {**params, "generation": generation, _seed_of(generation): own}


def _seed_of(generation: int) -> str:
    """The name of the suggestion that leads to a generation."""
    return f"mutation_{generation}"


def descendant(origin: Cell, seeds: Sequence[int], rules: Mutations) -> Cell:
    """The last cell of the line, under its name in the zoo if it is there.

    A seed that finds no acceptable mutant changes nothing.
    """
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


def keep_text(origin: Cell, seeds: Sequence[int], rules: Mutations, text: str) -> None:
    """Keep the line's last cell, read from its text, so that its children need no replay.

    A cell under its name in the zoo is not kept: the docs of its mutants name it otherwise.
    """
    line, seeds = _line(origin, rules), tuple(seeds)
    if seeds and not _STORE.get(line, seeds):
        cell = loads(text)
        if cell.name not in ZOO:
            _STORE.keep(line, seeds, cell)


@lru_cache(maxsize=KEPT)
def _line(origin: Cell, rules: Mutations) -> object:
    """A token for the arguments, which is quicker to compare than cells and rules."""
    return object()


class _Store:
    """The last cells of lines, of which the least recently used go."""

    def __init__(self) -> None:
        self._cells: OrderedDict[tuple[object, tuple[int, ...]], Cell] = OrderedDict()
        self._lock = Lock()

    def get(self, line: object, seeds: tuple[int, ...]) -> Cell | None:
        with self._lock:
            if cell := self._cells.get((line, seeds)):
                self._cells.move_to_end((line, seeds))
            return cell

    def keep(self, line: object, seeds: tuple[int, ...], cell: Cell) -> None:
        with self._lock:
            self._cells[line, seeds] = cell
            if len(self._cells) > KEPT:
                self._cells.popitem(last=False)


_STORE = _Store()
