"""Lines of descent: the cell that mutations of given seeds, one a generation, make of an origin.

Spaces of mutants share the suggestions of a line and a cache of the cells on the way, since a
sampler that evolves cells proposes every parent again with each of its children.
"""

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from nas.cell import Cell, loads, renamed
from nas.cell.mutation import NoMutant, mutate
from nas.cell.mutation.rules import Mutations
from nas.spaces.base import Params
from nas.spaces.store import KEPT, Store
from nas.zoo import ZOO

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

LARGEST_SEED = 2**31 - 1


def suggested_seeds(trial: "BaseTrial", max_generation: int) -> tuple[int, ...]:
    """The seeds of a trial's mutations; a random number of them is log-uniform."""
    generation = trial.suggest_int("generation", 1, max_generation, log=True)
    return tuple(trial.suggest_int(_seed_of(k), 0, LARGEST_SEED) for k in range(2, generation + 1))


def seeds_of(params: Params) -> tuple[int, ...]:
    """The seeds of the mutations of a point."""
    return tuple(int(params[_seed_of(k)]) for k in range(2, int(params["generation"]) + 1))


def child_of(params: Params, seed: int, max_generation: int, n_mutations: int = 1) -> Params:
    """A point so many mutations further; a sibling of a point whose line has its full length."""
    rng = Random(seed)
    for _ in range(n_mutations):
        generation = min(int(params["generation"]) + 1, max_generation)
        own = rng.randint(0, LARGEST_SEED)
        params = {**params, "generation": generation, _seed_of(generation): own}
    return params


def _seed_of(generation: int) -> str:
    """The name of the suggestion that leads to a generation."""
    return f"mutation_{generation}"


def descendant(origin: Cell, seeds: Sequence[int], rules: Mutations) -> Cell:
    """The last cell of the line, under its name in the zoo if it is there.

    A seed that finds no acceptable mutant changes nothing.
    """
    line, seeds = _line(origin, rules), tuple(seeds)
    n_known = len(seeds)
    while n_known and not _STORE.get((line, seeds[:n_known])):
        n_known -= 1
    cell = (_STORE.get((line, seeds[:n_known])) if n_known else None) or origin
    for k in range(n_known, len(seeds)):
        try:
            cell = mutate(cell, seeds[k], rules).cell
        except NoMutant:
            pass
        _STORE.keep((line, seeds[: k + 1]), cell)
    known = ZOO.named(cell.key) if seeds else ""
    return renamed(cell, known) if known else cell


def keep_text(origin: Cell, seeds: Sequence[int], rules: Mutations, text: str) -> None:
    """Keep the line's last cell, read from its text, so that its children need no replay.

    A cell under its name in the zoo is not kept: the docs of its mutants name it otherwise.
    """
    line, seeds = _line(origin, rules), tuple(seeds)
    if seeds and not _STORE.get((line, seeds)):
        cell = loads(text)
        if cell.name not in ZOO:
            _STORE.keep((line, seeds), cell)


@lru_cache(maxsize=KEPT)
def _line(origin: Cell, rules: Mutations) -> object:
    """A token for the arguments, which is quicker to compare than cells and rules."""
    return object()


_STORE = Store[tuple[object, tuple[int, ...]]]()
"""The last cells of lines, by origin, rules and seeds."""
