"""What a space is: the cells that may be searched, as choices that a sampler makes.

To add a kind of space, write a file like `gates.py`, list its class in `nas/spaces/__init__.py`,
and hand a space of it to `nas.testing.spaces.check_space`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from nas.cell import Cell

if TYPE_CHECKING:  # optuna takes half a second to import, and a space is read by commands at once
    from optuna.trial import BaseTrial

Scalar = str | int | float | bool
Params = dict[str, Scalar]
"""What was suggested, by the name of the choice: `trial.params` of Optuna."""


class Space(ABC):
    """The cells that may be searched.

    Subclasses are final frozen dataclasses whose fields are the open choices, so that equal spaces
    are equal values and a space can be sent to another process.
    """

    name: str

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
        """Digest of all that determines which cells are inside and how they are asked for."""

    @abstractmethod
    def propose(self, trial: "BaseTrial") -> Cell:
        """Turn the trial's suggestions into a cell that is inside.

        The cell follows from `trial.params` alone, so `FixedTrial(trial.params)` gives it again. A
        name is suggested with the same choices in every trial, as Optuna demands.
        """

    @abstractmethod
    def contains(self, cell: Cell) -> bool:
        """Whether the cell, however it is written, is inside: compared by key."""

    @abstractmethod
    def params_of(self, cell: Cell) -> Params | None:
        """The suggestions that give a cell of this key, to enqueue it as a trial.

        None if it is outside, or if the space cannot tell.
        """

    def vary(self, params: Params, seed: int) -> Params | None:
        """The suggestions of a cell one mutation away from another one's, for samplers that evolve.

        None: the space has no mutations of its own, and one choice is changed.
        """
        return None

    def recall(self, params: Params, text: str) -> None:
        """Note that these suggestions gave the cell of this text, if that saves deriving it."""
        return None

    @abstractmethod
    def size(self) -> int | None:
        """The number of distinct cells, by key; None if it is unbounded or unknown."""

    @abstractmethod
    def describe(self) -> str:
        """One line for people: the size and what is open."""
