"""The space of free graphs: the mutants of known cells.

A point is a start cell and the seeds of the mutations that follow it, one a generation, so that a
trial's parameters give its cell again. Drawn at random, it is the end of a random walk whose length
is log-uniform; a sampler that evolves cells continues the walk of a good one (`vary`).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from nas.cell import Cell
from nas.cell.mutation import MUTATIONS
from nas.cell.mutation.rules import Mutations, idle_part
from nas.errors import UserError
from nas.spaces.base import Params, Space, digest, suggested
from nas.spaces.descent import child_of, descendant, keep_text, seeds_of, suggested_seeds
from nas.spaces.file import cell_of, check_names, flag_of, generations_of, listed, once, text_of
from nas.zoo import ZOO

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Graph(Space):
    """Mutants of known cells; `search_spaces/graph.yaml` explains the fields."""

    name: str = "graph"
    start: tuple[Cell, ...] = (ZOO["lstm"], ZOO["gru"])
    """The cells of generation 1."""
    max_generation: int = 64
    """Most generations of a line; a start cell is generation 1."""
    rules: Mutations = field(default_factory=Mutations)

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        rules = (f.name for f in dataclasses.fields(Mutations) if f.name != "crossovers")
        known = ("start", "max_generation", *rules)
        check_names(fields, known)
        values = {field: _read(field, given) for field, given in fields.items()}
        own = {k: v for k, v in values.items() if k in known[:2]}
        mutations = Mutations(**{k: v for k, v in values.items() if k in known[2:]})
        return cls(name, rules=mutations, **own)._checked()

    def _checked(self) -> Self:
        self.rules.check(tuple(MUTATIONS))
        generations_of(self.max_generation)
        names = [cell.name for cell in self.start]
        for cell in self.start:
            if names.count(cell.name) > 1:
                raise UserError(f"start must name each cell once, got {cell.name} twice.")
            if reason := idle_part(cell):
                raise UserError(f"start cell {cell.name} cannot be mutated: {reason}.")
        return self

    @property
    def version(self) -> str:
        start = [str(cell) for cell in self.start]
        return digest("graph", 1, start, self.max_generation, self.rules.described())

    def propose(self, trial: "BaseTrial") -> Cell:
        start = self.suggested_start(trial)
        return descendant(start, suggested_seeds(trial, self.max_generation), self.rules)

    @cached_property
    def _named(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.start}

    def suggested_start(self, trial: "BaseTrial") -> Cell:
        """The start cell that the trial suggests."""
        return self._named[suggested(trial, "start", tuple(self._named))]

    def at(self, params: Params) -> Cell:
        """The cell of a point."""
        return descendant(self.start_of(params), seeds_of(params), self.rules)

    def start_of(self, params: Params) -> Cell:
        """The start cell of a point."""
        return self._named[str(params.get("start", self.start[0].name))]

    def contains(self, cell: Cell) -> bool:
        if cell.key in {start.key for start in self.start}:
            return True
        count = self.rules.counted_states(cell)
        fits = count <= self.rules.max_states
        if not self.rules.change_states:
            fits = count in map(self.rules.counted_states, self.start)
        return fits and not idle_part(cell)

    def params_of(self, cell: Cell) -> Params | None:
        for start in self.start:
            if start.key == cell.key:
                named: Params = {"start": start.name} if len(self.start) > 1 else {}
                return {**named, "generation": 1}
        return None

    def vary(self, params: Params, seed: int, n_mutations: int = 1) -> Params:
        return child_of(params, seed, self.max_generation, n_mutations)

    def recall(self, params: Params, text: str) -> None:
        keep_text(self.start_of(params), seeds_of(params), self.rules, text)

    def size(self) -> None:
        return None

    def describe(self) -> str:
        names = " and ".join(cell.name for cell in self.start)
        return (
            f"{self.name}: unbounded, mutants of {names} by {len(self.rules.operators)} operators, "
            f"up to {self.rules.max_operations} operations"
        )


def _read(field: str, given: object) -> Any:
    """The value of a field of the file."""
    if field in ("start", "library"):
        if field == "start" and given == []:
            raise UserError("start needs at least one cell, got an empty list.")
        return tuple(cell_of(field, source) for source in listed(given))
    if field in ("operators", "activations", "combinations"):
        return once(field, [text_of(field, name) for name in listed(given)])
    if field == "constants":
        return once(field, [_number(field, value) for value in listed(given)])
    if field == "visits":
        return text_of(field, given)
    if field == "change_states":
        return flag_of(field, given)
    if not isinstance(given, int) or isinstance(given, bool):
        raise UserError(f"{field} must be a whole number, got {given!r}.")
    return given


def _number(field: str, given: object) -> float:
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise UserError(f"{field} must be numbers, got {given!r}.")
    return float(given)
