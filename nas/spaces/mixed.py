"""The space of gated cells and of the mutants of any of them, with those of further start cells.

A point is an origin, a point of a space of gates or a start cell of a space of free graphs, and the
seeds of the mutations that follow it. Generation 1 of a gated origin is the gated cell itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Self

from nas.cell import Cell
from nas.cell.mutation.rules import idle_part
from nas.errors import UserError
from nas.spaces.base import Params, Space, digest
from nas.spaces.descent import child_of, descendant, keep_text, seeds_of, suggested_seeds
from nas.spaces.file import check_names, read_space
from nas.spaces.gates import Gates
from nas.spaces.graph import Graph

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

ORIGINS = ("gates", "graph")


@dataclass(frozen=True)
class Mixed(Space):
    """Gated cells and mutants; `search_spaces/mixed.yaml` explains the fields."""

    name: str = "mixed"
    gates: Gates = field(default_factory=Gates)
    graph: Graph = field(default_factory=Graph)

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        check_names(fields, ORIGINS)
        return cls(
            name,
            read_space(_source(fields, "gates"), {"gates": Gates}),
            read_space(_source(fields, "graph"), {"graph": Graph}),
        )

    @property
    def version(self) -> str:
        return digest("mixed", 1, self.gates.version, self.graph.version)

    def propose(self, trial: "BaseTrial") -> Cell:
        if trial.suggest_categorical("origin", ORIGINS) == "gates":
            origin = self.gates.propose(trial)
        else:
            origin = self.graph.suggested_start(trial)
        seeds = suggested_seeds(trial, self.graph.max_generation)
        return descendant(origin, seeds, self.graph.rules)

    def contains(self, cell: Cell) -> bool:
        if self.gates.contains(cell) or self.graph.contains(cell):
            return True
        if self.graph.rules.change_states:
            return False
        count = self.graph.rules.counted_states(cell)
        return count in _numbers_of_states(self.gates) and not idle_part(cell)

    def params_of(self, cell: Cell) -> Params | None:
        """The point of a cell; a gated start cell has a gated one, which has more neighbours."""
        gated = self.gates.params_of(cell)
        if gated is not None:
            return {"origin": "gates", **gated, "generation": 1}
        started = self.graph.params_of(cell)
        return None if started is None else {"origin": "graph", **started}

    def vary(self, params: Params, seed: int, n_mutations: int = 1) -> Params:
        """A mutant; of a gated cell, in one of two cases, the cell of another choice instead."""
        rng = Random(seed)
        for _ in range(n_mutations):
            params = self._neighbour(params, rng)
        return params

    def _neighbour(self, params: Params, rng: Random) -> Params:
        if params["origin"] == "gates" and params["generation"] == 1 and rng.random() < 0.5:
            if other := self.gates.neighbour(params, rng):
                return {"origin": "gates", **other, "generation": 1}
        return child_of(params, rng.getrandbits(32), self.graph.max_generation)

    def recall(self, params: Params, text: str) -> None:
        gated = params["origin"] == "gates"
        origin = self.gates.at(params) if gated else self.graph.start_of(params)
        keep_text(origin, seeds_of(params), self.graph.rules, text)

    def size(self) -> None:
        return None

    def describe(self) -> str:
        return f"{self.name}: {self.gates.describe()}, and their mutants; {self.graph.describe()}"


def _source(fields: Mapping[str, object], name: str) -> str:
    given = fields.get(name, name)
    if not isinstance(given, str):
        raise UserError(f"{name} must be the name or the path of a space, got {given!r}.")
    return given


@lru_cache(maxsize=8)
def _numbers_of_states(gates: Gates) -> frozenset[int]:
    """The numbers of states that gated cells have, and so their mutants."""
    return frozenset(outline.n_states for outline in gates.outlines())
