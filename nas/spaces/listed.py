"""A space of given cells, such as the nine of the LSTM odyssey: one choice among names."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from nas.cell import Cell
from nas.errors import UserError, unknown
from nas.spaces.base import Params, Space
from nas.spaces.file import cell_of

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

REVISION = 1
"""Raised whenever the same fields and suggestions would give other cells."""


@dataclass(frozen=True)
class Listed(Space):
    """The cells of a list; `search_spaces/odyssey.yaml` explains the field."""

    name: str
    cells: tuple[Cell, ...]

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        for field in fields:
            if field != "cells":
                raise UserError(unknown("field", field, ["cells"]))
        given = fields.get("cells", [])
        cells = tuple(
            cell_of("cells", one) for one in (given if isinstance(given, list) else [given])
        )
        if not cells:
            raise UserError("cells must name at least one cell, got none.")
        by_key: dict[str, Cell] = {}
        for cell in cells:
            if other := by_key.get(cell.key):
                raise UserError(
                    f"cells must be different, but {cell.name} is {other.name} as well."
                )
            if cell.name in {one.name for one in by_key.values()}:
                raise UserError(f"cells must have a name each, got {cell.name} twice.")
            by_key[cell.key] = cell
        return cls(name, cells)

    @property
    def version(self) -> str:
        parts = [REVISION, [str(cell) for cell in self.cells]]
        return f"cells-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"

    def propose(self, trial: "BaseTrial") -> Cell:
        names = tuple(cell.name for cell in self.cells)
        if len(names) == 1:
            return self.cells[0]
        return self.cells[names.index(trial.suggest_categorical("cell", names))]

    def contains(self, cell: Cell) -> bool:
        return self.params_of(cell) is not None

    def params_of(self, cell: Cell) -> Params | None:
        for one in self.cells:
            if one.key == cell.key:
                return {"cell": one.name} if len(self.cells) > 1 else {}
        return None

    def size(self) -> int:
        return len(self.cells)

    def describe(self) -> str:
        names = ", ".join(cell.name for cell in self.cells)
        return f"{self.name}: {len(self.cells)} given cells, {names}"
