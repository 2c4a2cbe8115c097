"""A cell read back from the record of a search in MLflow."""

import tempfile
from pathlib import Path

from nas.cell.cell import Cell
from nas.errors import UserError
from nas.zoo.lookup import cell as look_up
from nas.zoo.tracking import check_tracking_uri, fetch, place

RECORDED = "cell.cell"
"""The artifact of a run that holds its cell."""


def recorded_cell(source: str, tracking_uri: str = "", directory: Path = Path()) -> Cell:
    """The cell of a run, named as runs:/ID; an empty URI is the default in `directory`.

    Raises:
        UserError: if MLflow has no such run, or it recorded no cell.
    """
    check_tracking_uri(tracking_uri)
    run = source.removesuffix(f"/{RECORDED}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = fetch(run, Path(folder), RECORDED, place(tracking_uri, directory).uri)
            return look_up(str(found / RECORDED))
    except (UserError, OSError) as error:
        reason = str(error).removeprefix(f"{run}: ").rstrip(".")
        raise UserError(
            f"cell {source}: {reason}: give the ID of a cell's run, and the store "
            "with --tracking_uri."
        ) from None
