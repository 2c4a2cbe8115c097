"""The space of bred cells: children of cells that a study knows, by mutation and by crossover.

A point is a random walk from a start cell, as in the space of free graphs, or a child: it names its
parents by the first 48 bits of their keys, which Optuna's floats hold exactly. The parents' texts
are given to the space by `recall`, so that a child costs one step however long its ancestry is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, ClassVar, Self

from nas.cell import Cell, loads, renamed
from nas.cell.mutation import MUTATIONS, Mutant, NoMutant, cross, mutate
from nas.errors import UserError
from nas.spaces.base import Params, Space, digest
from nas.spaces.descent import LARGEST_SEED
from nas.spaces.file import listed, once, text_of
from nas.spaces.graph import Graph
from nas.spaces.store import KEPT, Store
from nas.zoo import ZOO

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

ORIGINS = ("walk", "child")
PARENTS = ("parent", "mate")
DIGITS = 12
"""Hexadecimal digits of a key by which a point names a parent: 48 bits."""
NOBODY = 0
"""The mate of a child of one parent."""
MOST_STEPS = 16
"""Most mutations and crossovers between a child and its parent."""


@dataclass(frozen=True)
class Bred(Space):
    """Children of known cells; `search_spaces/discover.yaml` explains the fields."""

    name: str = "bred"
    walks: Graph = field(default_factory=Graph)
    """The start cells, the random walks from them, and the rules of all children."""

    by_choice: ClassVar[bool] = False

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        walks = Graph.read(name, {k: v for k, v in fields.items() if k != "crossovers"})
        if "crossovers" in fields:
            given = listed(fields["crossovers"])
            crossovers = once("crossovers", [text_of("crossovers", one) for one in given])
            walks = replace(walks, rules=replace(walks.rules, crossovers=crossovers))
            walks.rules.check(tuple(MUTATIONS))
        return cls(name, walks)

    @property
    def version(self) -> str:
        return digest("bred", 1, self.walks.version)

    def propose(self, trial: "BaseTrial") -> Cell:
        if trial.suggest_categorical("origin", ORIGINS) == "walk":
            cell = self.walks.propose(trial)
        else:
            parent, mate = (trial.suggest_int(name, 0, 16**DIGITS - 1) for name in PARENTS)
            n_steps = trial.suggest_int("mutations", 1, MOST_STEPS)
            seed = trial.suggest_int("seed", 0, LARGEST_SEED)
            cell = self._child(_point(parent, mate, n_steps, seed))
        return _noted(cell)

    def _at(self, params: Params) -> Cell:
        """The cell of a point."""
        return self.walks.at(params) if params["origin"] == "walk" else self._child(params)

    def _child(self, params: Params) -> Cell:
        """The cell of a point that is a child, recalled or made of its parents.

        It is the parent itself if no step finds an acceptable child.
        """
        point = _ordered(params)
        if recalled := _CHILDREN.get((self, *point.values())):
            return recalled
        parent, seeds = self._known(int(point["parent"])), Random(int(point["seed"]))
        mate = self._known(int(point["mate"])) if point["mate"] != NOBODY else None
        names = parent.name if mate is None else f"{parent.name} and {mate.name}"
        child, steps = parent, list[str]()
        for _ in range(int(point["mutations"])):
            made = self._step(child, mate, seeds.getrandbits(32))
            mate = None
            if made:
                child = made.cell
                steps.append(", ".join(made.operators))
        if not steps:
            return parent
        return renamed(
            child, ZOO.named(child.key) or child.name, f"From {names}: {', then '.join(steps)}."
        )

    def _step(self, cell: Cell, mate: Cell | None, seed: int) -> Mutant | None:
        """A child of a cell, with its mate if it has one; None if none is acceptable."""
        rules = self.walks.rules
        try:
            return mutate(cell, seed, rules) if mate is None else cross(cell, mate, seed, rules)
        except NoMutant:
            return None

    def _known(self, number: int) -> Cell:
        if cell := _KNOWN.get(number):
            return cell
        raise UserError(
            f"space {self.name}: no cell is known whose key begins with {number:0{DIGITS}x}, a "
            "parent of this point: its text has to be recalled before a child of it is proposed."
        )

    def contains(self, cell: Cell) -> bool:
        return self.walks.contains(cell)

    def params_of(self, cell: Cell) -> Params | None:
        """The point of a start cell; nobody knows which parents and seeds lead to another one."""
        started = self.walks.params_of(cell)
        return None if started is None else {"origin": "walk", **started}

    def draw(self, seed: int) -> Params:
        return {"origin": "walk"}

    def vary(self, params: Params, seed: int, n_mutations: int = 1) -> Params:
        own = Random(seed).randint(0, LARGEST_SEED)
        return _point(self._number_of(params), NOBODY, n_mutations, own)

    def cross(self, params: Params, mate_params: Params, seed: int) -> Params | None:
        if not self.walks.rules.crossovers:
            return None
        own = Random(seed).randint(0, LARGEST_SEED)
        return _point(self._number_of(params), self._number_of(mate_params), 1, own)

    def _number_of(self, params: Params) -> int:
        return _number(_noted(self._at(params)))

    def recall(self, params: Params, text: str) -> None:
        cell = _read(text)
        _KNOWN.keep(_number(cell), cell)
        if params["origin"] == "walk":
            self.walks.recall(params, text)
        else:
            _CHILDREN.keep((self, *_ordered(params).values()), cell)

    def size(self) -> None:
        return None

    def describe(self) -> str:
        names = ", ".join(cell.name for cell in self.walks.start)
        rules = self.walks.rules
        crossed = f" and {len(rules.crossovers)} crossovers" if rules.crossovers else ""
        return (
            f"{self.name}: unbounded, cells bred from {names} by {len(rules.operators)} operators"
            f"{crossed}, up to {rules.max_operations} operations"
        )


def _point(parent: int, mate: int, n_steps: int, seed: int) -> Params:
    return {"origin": "child", "parent": parent, "mate": mate, "mutations": n_steps, "seed": seed}


def _ordered(params: Params) -> Params:
    """A child's suggestions in the order of `_point`."""
    parent, mate, n_steps, seed = (int(params[name]) for name in (*PARENTS, "mutations", "seed"))
    return _point(parent, mate, n_steps, seed)


@lru_cache(maxsize=KEPT)
def _read(text: str) -> Cell:
    """The cell of a text: a parent is recalled with each of its children, and keeps its key."""
    return loads(text)


def _number(cell: Cell) -> int:
    """The number by which points name a cell."""
    return int(cell.key[:DIGITS], 16)


def _noted(cell: Cell) -> Cell:
    """The cell, which is known from now on; a text that was recalled for its key stays."""
    number = _number(cell)
    if not _KNOWN.get(number):
        _KNOWN.keep(number, cell)
    return cell


_KNOWN = Store[int]()
"""Cells by the number that points give them."""
_CHILDREN = Store[tuple[object, ...]]()
"""Recalled cells by their space and point, which need no parents."""
