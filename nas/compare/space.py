"""A space of no points, for a study in which nothing is drawn."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, Self

from nas.cell import Cell
from nas.spaces.base import Params, Space

if TYPE_CHECKING:  # it takes half a second to import
    from optuna.trial import BaseTrial


class NoSpace(Space):
    """Every cell is outside."""

    name = "none"

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        return cls()

    @property
    def version(self) -> str:
        return "none"

    def propose(self, trial: "BaseTrial") -> NoReturn:
        raise AssertionError("nothing is drawn in a comparison")

    def contains(self, cell: Cell) -> bool:
        return False

    def params_of(self, cell: Cell) -> Params | None:
        return None

    def size(self) -> int:
        return 0

    def describe(self) -> str:
        return "no points"
