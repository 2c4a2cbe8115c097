"""The contract of a space: the cells that may be searched, as choices that a sampler makes.

To add a kind of space, write a file like `gates.py`, list its class in `nas/spaces/__init__.py`,
and hand a space of it to `nas.testing.spaces.check_space`.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar, cast

from nas.cell import Cell

if TYPE_CHECKING:  # optuna takes half a second to import, and commands read their space at once
    from optuna.trial import BaseTrial

Scalar = str | int | float | bool
Params = dict[str, Scalar]
"""The suggested values, by the name of the choice: `trial.params` of Optuna."""
Choice = TypeVar("Choice", bound=Scalar)


class Space(ABC):
    """The cells that may be searched.

    Subclasses are final frozen dataclasses whose fields are the open choices, so that equal spaces
    are equal values and a space can be sent to another process.
    """

    name: str
    by_choice: ClassVar[bool] = True
    """Whether a point may be made choice by choice, each drawn by itself, as Optuna's own samplers
    do. If not, its points come from `draw`, `vary` and `cross`."""

    @classmethod
    @abstractmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        """Make the space called `name` from the fields of its YAML file, without `kind`.

        Raises:
            UserError: naming the field, the rule, the value and what is allowed.
        """

    @property
    @abstractmethod
    def version(self) -> str:
        """Digest of all that determines which cells are inside and which suggestions give them."""

    @abstractmethod
    def propose(self, trial: "BaseTrial") -> Cell:
        """Turn the trial's suggestions into a cell that is inside.

        The cell follows from `trial.params` alone, so `FixedTrial(trial.params)` gives it again. A
        name is suggested with the same choices in every trial, as Optuna demands.
        """

    def contains(self, cell: Cell) -> bool:
        """Whether the cell, however it is written, is inside: compared by key."""
        return self.params_of(cell) is not None

    @abstractmethod
    def params_of(self, cell: Cell) -> Params | None:
        """The suggestions that give a cell of this key, to enqueue it as a trial.

        None if it is outside, or if the space cannot tell.
        """

    def draw(self, seed: int) -> Params:
        """The suggestions that a random point has fixed; the others are drawn, each by itself."""
        return {}

    def vary(self, params: Params, seed: int, n_mutations: int = 1) -> Params | None:
        """The suggestions of a cell so many mutations away, for samplers that evolve cells.

        None if the space has no mutations of its own; samplers then change one choice for each.
        """
        return None

    def cross(self, params: Params, mate_params: Params, seed: int) -> Params | None:
        """The suggestions of a child of two cells; None if the space has no crossover."""
        return None

    def recall(self, params: Params, text: str) -> None:
        """Keep the text of the cell that these suggestions gave, if that saves deriving it.

        Samplers recall a cell before they vary, cross or propose it again.
        """
        return None

    @abstractmethod
    def size(self) -> int | None:
        """The number of distinct cells, by key; None if it is unbounded or unknown."""

    @abstractmethod
    def describe(self) -> str:
        """One line for people: the size and the open choices."""


def digest(kind: str, revision: int, *parts: object) -> str:
    """The version of a space of this kind, from all that its cells and suggestions depend on.

    Raise the revision whenever the same fields and suggestions would give other cells.
    """
    text = json.dumps([revision, *parts], sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def suggested(trial: "BaseTrial", name: str, choices: tuple[Choice, ...]) -> Choice:
    """The trial's choice; a single choice is fixed and never suggested."""
    if len(choices) == 1:
        return choices[0]
    return cast(Choice, trial.suggest_categorical(name, choices))
