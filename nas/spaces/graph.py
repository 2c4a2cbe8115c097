"""The space of free graphs: cells that mutations lead to, from known cells on.

A point is a start cell and the seeds of the mutations that follow it, one a generation, so that a
trial's parameters give its cell again. Drawn at random, it is the end of a random walk whose length
is log-uniform; a sampler that evolves continues the walk of a good cell (`vary`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from nas.cell import Cell
from nas.cell.mutation import MUTATIONS
from nas.cell.mutation.rules import Mutations, idle_part
from nas.errors import UserError, unknown
from nas.spaces.base import Params, Space
from nas.spaces.descent import asked, descendant, longer, recall, seeds_of
from nas.spaces.file import cell_of, text_of
from nas.zoo import ZOO

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

REVISION = 1
"""Raised whenever the same fields and suggestions would give other cells."""


@dataclass(frozen=True)
class Graph(Space):
    """Mutants of known cells; `search_spaces/graph.yaml` explains the fields."""

    name: str = "graph"
    start: tuple[Cell, ...] = (ZOO["lstm"], ZOO["gru"])
    """The cells of generation 1."""
    max_generation: int = 64
    """How many mutants, one of the other, may follow a start cell, and 1."""
    rules: Mutations = field(default_factory=Mutations)

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        known = ("start", "max_generation", *(f.name for f in dataclasses.fields(Mutations)))
        for given in fields:
            if given not in known:
                raise UserError(unknown("field", given, known))
        values = {one: _read(one, given) for one, given in fields.items()}
        rules = Mutations(**{k: v for k, v in values.items() if k in known[2:]})
        rules.check(tuple(MUTATIONS))
        own = {k: v for k, v in values.items() if k in known[:2]}
        return dataclasses.replace(cls(name, rules=rules), **own)._checked()

    def _checked(self) -> Self:
        if self.max_generation < 2:
            raise UserError(f"max_generation must be at least 2, got {self.max_generation}.")
        names = [cell.name for cell in self.start]
        for cell in self.start:
            if names.count(cell.name) > 1:
                raise UserError(f"start must name each cell once, got {cell.name} twice.")
            if reason := idle_part(cell):
                raise UserError(f"start cell {cell.name} cannot be mutated: {reason}.")
        return self

    @property
    def version(self) -> str:
        rules = {**vars(self.rules), "library": [str(cell) for cell in self.rules.library]}
        parts = [REVISION, [str(cell) for cell in self.start], self.max_generation, rules]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"graph-{digest[:12]}"

    def propose(self, trial: "BaseTrial") -> Cell:
        start = self.asked_start(trial)
        return descendant(start, asked(trial, self.max_generation), self.rules)

    def asked_start(self, trial: "BaseTrial") -> Cell:
        """The start cell that the trial suggests."""
        names = tuple(cell.name for cell in self.start)
        if len(names) == 1:
            return self.start[0]
        return self.start[names.index(trial.suggest_categorical("start", names))]

    def start_of(self, params: Params) -> Cell:
        """The start cell of a point."""
        named = {cell.name: cell for cell in self.start}
        return named[str(params.get("start", self.start[0].name))]

    def contains(self, cell: Cell) -> bool:
        if cell.key in {start.key for start in self.start}:
            return True
        count = len(cell.states)
        fits = count <= self.rules.max_states
        if not self.rules.change_states:
            fits = count in {len(start.states) for start in self.start}
        return fits and not idle_part(cell)

    def params_of(self, cell: Cell) -> Params | None:
        for start in self.start:
            if start.key == cell.key:
                named: Params = {"start": start.name} if len(self.start) > 1 else {}
                return {**named, "generation": 1}
        return None

    def vary(self, params: Params, seed: int) -> Params:
        return longer(params, seed, self.max_generation)

    def recall(self, params: Params, text: str) -> None:
        recall(self.start_of(params), seeds_of(params), self.rules, text)

    def size(self) -> None:
        return None

    def describe(self) -> str:
        names = " and ".join(cell.name for cell in self.start)
        return (
            f"{self.name}: mutants of {names} without number, {len(self.rules.operators)} "
            f"operators, up to {self.rules.max_operations} operations"
        )


def _read(name: str, given: object) -> Any:
    """The value of a field of the file."""
    if name in ("start", "library"):
        return tuple(cell_of(name, source) for source in _listed(name, given))
    if name in ("operators", "activations", "combinations"):
        return _once(name, tuple(text_of(name, one) for one in _listed(name, given)))
    if name == "constants":
        return _once(name, tuple(_number(name, one) for one in _listed(name, given)))
    if name == "visits":
        return text_of(name, given)
    if name == "change_states":
        if not isinstance(given, bool):
            raise UserError(f"{name} must be true or false, got {given!r}.")
        return given
    if not isinstance(given, int) or isinstance(given, bool):
        raise UserError(f"{name} must be a whole number, got {given!r}.")
    return given


def _listed(name: str, given: object) -> list[object]:
    values = given if isinstance(given, list) else [given]
    if not values and name == "start":
        raise UserError(f"{name} needs at least one cell, got an empty list.")
    return values


def _once(name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"{name} must name each choice once, got {value} twice.")
    return values


def _number(name: str, given: object) -> float:
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise UserError(f"{name} must be numbers, got {given!r}.")
    return float(given)
