"""The recorded cells that a replay draws from, their distances, and the spaces to draw them in.

A sampler that draws whole cells does so in `RecordedSpace`, whose points are the numbers of the
cells. A sampler that suggests choice by choice needs the space that was recorded: `recorded_space`.
"""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from nas.cell import Cell, loads
from nas.cell.distance import Features, features
from nas.errors import UserError
from nas.replay.table import Recorded, Table
from nas.spaces import load_space
from nas.spaces.base import Params, Space

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

CHOICE = "cell"
"""The name of the one suggestion in a space of recorded cells."""
NEIGHBOURS = 5
"""Among cells on random walks of mutations, two others were nearer to a cell than its mutant was,
in the mean over 132 mutations (nas/replay/README.md)."""


class Nearness:
    """The recorded cells by their distance to any cell; their features are indexed once."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._features = [features(cell) for cell in cells]
        self._totals = np.array([counts.total() for counts in self._features], dtype=np.int64)
        places: dict[str, list[tuple[int, int]]] = {}
        for index, counts in enumerate(self._features):
            for label, count in counts.items():
                places.setdefault(label, []).append((index, count))
        self._places = {label: np.array(pairs).T for label, pairs in places.items()}
        # The order among equally far cells must not depend on when they were recorded.
        self._ties = np.argsort(np.argsort(np.array([cell.key for cell in cells])))
        self._orders: dict[int, list[int]] = {}

    def distances(self, cell: Features) -> NDArray[np.float64]:
        """The distance of each recorded cell to any cell, as in `nas/cell/distance.py`."""
        common = np.zeros(len(self._totals), dtype=np.int64)
        for label, count in cell.items():
            if label in self._places:
                indices, counts = self._places[label]
                common[indices] += np.minimum(counts, count)
        return 1.0 - common / (self._totals + cell.total() - common)

    def order(self, index: int) -> list[int]:
        """All cells by their distance to a recorded one, which comes first itself."""
        if index not in self._orders:
            self._orders[index] = self.order_of(self._features[index])
        return self._orders[index]

    def order_of(self, cell: Features) -> list[int]:
        """All cells by their distance to any cell."""
        order: list[int] = np.lexsort((self._ties, self.distances(cell))).tolist()
        return order


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
        """The value of each candidate."""
        return [visit.value for visit in self.visits[: self.n_candidates]]

    def costs(self, axis: str) -> list[float]:
        """The cost of each candidate: "runs", "flops" or "seconds"."""
        return [float(getattr(visit, axis)) for visit in self.visits[: self.n_candidates]]

    def shuffled(self, seed: int) -> "Bench":
        """A bench with the same cells and results, but the results are dealt out anew."""
        order = list(range(self.n_candidates))
        Random(seed).shuffle(order)
        old = self.visits
        results = [
            dataclasses.replace(old[new], params=old[index].params)
            for index, new in enumerate(order)
        ]
        return dataclasses.replace(self, visits=(*results, *old[self.n_candidates :]))


def make_bench(table: Table) -> Bench:
    """The cells of a table.

    A later visit of a cell has been trained more than others, and a search would judge the cell as
    new only once, so that its first visit counts.

    Raises:
        UserError: if no candidate was judged.
    """
    drawn: dict[str, tuple[Recorded, Cell]] = {}
    given: dict[str, tuple[Recorded, Cell]] = {}
    for visit in table.visits:
        cell = loads(visit.cell)
        (given if visit.kind == "given" else drawn).setdefault(cell.key, (visit, cell))
    candidates = [pair for key, pair in drawn.items() if key not in given]
    if not candidates:
        raise UserError(f"the table of study {table.header.study} holds no candidate to replay.")
    visits, cells = zip(*candidates, *given.values(), strict=True)
    return Bench(table, visits, cells, len(candidates), Nearness(cells))


@dataclass(frozen=True)
class RecordedSpace(Space):
    """The cells of a bench that a replay has not seen, for samplers that draw whole cells.

    A point is the number of a cell, so random draws are uniform, and since such samplers draw again
    what the study knows, without replacement. A child is one of the nearest unseen cells of its
    parent: a real mutant would hardly ever be recorded, and the recorded cell beside it says no
    more than which side of the parent to look at. Such a draw is a thousand times quicker.
    """

    bench: Bench
    seen: frozenset[int] | set[int]
    """Candidates that are not to be drawn again; the replay adds to them."""
    neighbours: int = NEIGHBOURS
    """Unseen cells that a child is drawn from."""
    name: str = "recorded"

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        raise UserError("a space of recorded cells is made from a table, not from a YAML file.")

    @property
    def version(self) -> str:
        return f"recorded-{self.bench.table.header.study}"

    def propose(self, trial: "BaseTrial") -> Cell:
        return self.bench.cells[trial.suggest_int(CHOICE, 0, self.size() - 1)]

    def contains(self, cell: Cell) -> bool:
        return self.params_of(cell) is not None

    def params_of(self, cell: Cell) -> Params | None:
        keys = [known.key for known in self.bench.cells]
        return {CHOICE: keys.index(cell.key)} if cell.key in keys else None

    def vary(self, params: Params, seed: int, n_mutations: int = 1) -> Params:
        near: list[int] = []
        for index in self.bench.nearness.order(int(params[CHOICE])):
            if index < self.bench.n_candidates and index not in self.seen:
                near.append(index)
                if len(near) == self.neighbours:
                    break
        return {CHOICE: Random(seed).choice(near)} if near else params

    def size(self) -> int:
        return len(self.bench.cells)

    def describe(self) -> str:
        return f"{self.name}: {self.size()} recorded cells"


def recorded_space(bench: Bench, sampler: str) -> Space:
    """The space in which the table's study searched, for a sampler that suggests choice by choice.

    Raises:
        UserError: if the table does not hold it, or if it has become another one since.
    """
    header = bench.table.header
    needs = f"sampler {sampler} suggests points of the recorded space {header.space or '(unknown)'}"
    if not header.space_file:
        raise UserError(f"{needs}, which the table does not hold.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{header.space}.yaml"
        path.write_text(header.space_file, encoding="utf-8")
        space = load_space(str(path))
    if space.version != header.space_version:
        raise UserError(
            f"{needs}, which is {header.space_version} in the table and {space.version} now: "
            "replay it with the version of nas that recorded it."
        )
    if any(not visit.params for visit in bench.visits[: bench.n_candidates]):
        raise UserError(f"{needs}, but the table has candidates without suggestions.")
    return space
