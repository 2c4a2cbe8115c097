"""The space of the recorded cells that a replay has not seen, for samplers that draw whole cells.

A point is the number of a cell, so random draws are uniform, and since such samplers draw again
what the study knows, without replacement. A child is one of the nearest unseen cells of its parent:
a real mutant would hardly ever be recorded, and where it is replaced by what is next to it, it says
no more than which side of the parent to look at; that is drawn instead, a thousand times quicker.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Self

from nas.cell import Cell
from nas.errors import UserError
from nas.replay.bench import Bench
from nas.spaces.base import Params, Space

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

CHOICE = "cell"
"""Name of the one suggestion."""
NEIGHBOURS = 5
"""Among cells on random walks of mutations, two others were nearer to a cell than its mutant was,
in the mean over 132 mutations (nas/replay/README.md)."""


@dataclass(frozen=True)
class RecordedSpace(Space):
    """The cells of a bench; made anew for every trial, as what is seen grows."""

    bench: Bench
    seen: frozenset[int] | set[int]
    """Candidates that are not to be drawn again."""
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
        return self.bench.cells[trial.suggest_int(CHOICE, 0, len(self.bench.cells) - 1)]

    def contains(self, cell: Cell) -> bool:
        return cell.key in {one.key for one in self.bench.cells}

    def params_of(self, cell: Cell) -> Params | None:
        for index, one in enumerate(self.bench.cells):
            if one.key == cell.key:
                return {CHOICE: index}
        return None

    def vary(self, params: Params, seed: int) -> Params:
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
