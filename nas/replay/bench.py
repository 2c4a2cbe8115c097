"""The recorded cells that a replay draws from, and which of them are near to each other."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np

from nas.cell import Cell, loads
from nas.cell.distance import Features, features
from nas.errors import UserError
from nas.replay.distance import Distances
from nas.replay.table import Recorded, Table


class Nearness:
    """The order of the candidates by their distance to any cell, worked out when it is wanted."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._counted = [features(cell) for cell in cells]
        self._distances = Distances(self._counted)
        # Among equally far ones an order that says nothing of when they were recorded.
        keys = [cell.key for cell in cells]
        self._ties = np.argsort(np.argsort(np.array(keys)))
        self._orders: dict[int, list[int]] = {}

    def order(self, index: int) -> list[int]:
        """All cells from the nearest of one on, which is itself."""
        if index not in self._orders:
            self._orders[index] = self.order_of(self._counted[index])
        return self._orders[index]

    def order_of(self, counted: Features) -> list[int]:
        """All cells from the nearest of any cell on."""
        found: list[int] = np.lexsort((self._ties, self._distances.to(counted))).tolist()
        return found


@dataclass(frozen=True)
class Bench:
    """Each recorded cell once, with its first judgement; candidates first, then given cells."""

    table: Table
    visits: tuple[Recorded, ...]
    cells: tuple[Cell, ...]
    n_candidates: int
    nearness: Nearness

    @cached_property
    def values(self) -> list[float]:
        """Of the candidates."""
        return [visit.value for visit in self.visits[: self.n_candidates]]

    def costs(self, axis: str) -> list[float]:
        """Of the candidates: "runs", "flops" or "seconds"."""
        return [float(getattr(visit, axis)) for visit in self.visits[: self.n_candidates]]

    def shuffled(self, seed: int) -> "Bench":
        """The same cells and results, but which has which is drawn anew."""
        order = list(range(self.n_candidates))
        Random(seed).shuffle(order)
        old = self.visits
        results = [
            dataclasses.replace(old[one], params=old[k].params) for k, one in enumerate(order)
        ]
        return dataclasses.replace(self, visits=(*results, *old[self.n_candidates :]))


def make_bench(table: Table) -> Bench:
    """The cells of a table.

    A later visit of a cell has been trained more than others, and a search would judge it as new
    only once: what counts is the first.

    Raises:
        UserError: if no candidate was judged.
    """
    seen: dict[str, tuple[Recorded, Cell]] = {}
    given: dict[str, tuple[Recorded, Cell]] = {}
    for visit in table.visits:
        cell = loads(visit.cell)
        (given if visit.kind == "given" else seen).setdefault(cell.key, (visit, cell))
    drawn = [pair for key, pair in seen.items() if key not in given]
    if not drawn:
        raise UserError(f"the table of study {table.header.study} holds no candidate to replay.")
    pairs = [*drawn, *given.values()]
    cells = tuple(cell for _, cell in pairs)
    visits = tuple(visit for visit, _ in pairs)
    return Bench(table, visits, cells, len(drawn), Nearness(cells))
