"""A space of given cells, such as the nine of the LSTM odyssey: one choice among names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from nas.cell import Cell
from nas.errors import UserError
from nas.spaces.base import Params, Space, digest, suggested
from nas.spaces.file import cell_of, check_names, listed

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Listed(Space):
    """The cells of a list; `search_spaces/odyssey.yaml` explains the field."""

    name: str
    cells: tuple[Cell, ...]

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        check_names(fields, ["cells"])
        cells = tuple(cell_of("cells", source) for source in listed(fields.get("cells", [])))
        if not cells:
            raise UserError("cells must name at least one cell, got none.")
        by_key: dict[str, Cell] = {}
        for cell in cells:
            if other := by_key.get(cell.key):
                raise UserError(
                    f"cells must be different, but {cell.name} is {other.name} as well."
                )
            if cell.name in {known.name for known in by_key.values()}:
                raise UserError(f"cells must have a name each, got {cell.name} twice.")
            by_key[cell.key] = cell
        return cls(name, cells)

    @property
    def version(self) -> str:
        return digest("cells", 1, [str(cell) for cell in self.cells])

    def propose(self, trial: "BaseTrial") -> Cell:
        named = {cell.name: cell for cell in self.cells}
        return named[suggested(trial, "cell", tuple(named))]

    def params_of(self, cell: Cell) -> Params | None:
        name = next((known.name for known in self.cells if known.key == cell.key), None)
        if name is None:
            return None
        return {"cell": name} if len(self.cells) > 1 else {}

    def size(self) -> int:
        return len(self.cells)

    def describe(self) -> str:
        names = ", ".join(cell.name for cell in self.cells)
        return f"{self.name}: {len(self.cells)} given cells, {names}"
