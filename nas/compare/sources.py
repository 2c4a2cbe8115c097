"""The cells of a comparison, from whatever names them."""

from collections.abc import Sequence

from nas.cell.cell import Cell
from nas.study.leaderboard import BASELINES
from nas.zoo.lookup import cell as look_up


def cells_of(sources: Sequence[str], tracking_uri: str = "") -> list[Cell]:
    """GRU and LSTM, then the cells that are named; each key once.

    `runs:/ID` is a run of MLflow that recorded a cell.

    Raises:
        UserError: if there is no such cell, with the nearest name.
    """
    found: dict[str, Cell] = {}
    for source in (*BASELINES, *sources):
        cell = cell_of(source, tracking_uri)
        found.setdefault(cell.key, cell)
    return list(found.values())


def cell_of(source: str, tracking_uri: str = "") -> Cell:
    """The cell that one name means; see `cells_of`."""
    if not source.startswith("runs:/"):
        return look_up(source)
    from nas.record.comparison import recorded_cell

    return recorded_cell(source, tracking_uri)
