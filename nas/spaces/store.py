"""A store of cells by any key, of which the least recently used go."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

from nas.cell import Cell

KEPT = 4096
"""Cells in a store."""

K = TypeVar("K", bound=Hashable)


class Store(Generic[K]):
    """Cells that a space would otherwise derive again."""

    def __init__(self) -> None:
        self._cells: OrderedDict[K, Cell] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> Cell | None:
        with self._lock:
            if cell := self._cells.get(key):
                self._cells.move_to_end(key)
            return cell

    def keep(self, key: K, cell: Cell) -> None:
        with self._lock:
            self._cells[key] = cell
            if len(self._cells) > KEPT:
                self._cells.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._cells.clear()
