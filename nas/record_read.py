"""A cell read back from the record of a search in MLflow."""

import logging
import os
import tempfile
from pathlib import Path

from nas.cell.graph import Cell
from nas.errors import UserError, hidden
from nas.lookup import cell as look_up
from nas.record_place import check_tracking_uri, place
from nas.record_store import QUIET

RECORDED = "cell.cell"
"""The artifact of a run that holds its cell."""


def recorded_cell(source: str, tracking_uri: str = "", directory: Path = Path()) -> Cell:
    """The cell of a run, named as runs:/ID; an empty URI is the default in `directory`.

    Raises:
        UserError: if MLflow has no such run, or it recorded no cell.
    """
    check_tracking_uri(tracking_uri)
    where = place(tracking_uri, directory)
    if where.database is not None and not where.database.is_file():
        raise UserError(f"cell {source}: there is no MLflow store {where.database}.")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    run_id = source.removeprefix("runs:/").split("/")[0]
    try:
        with tempfile.TemporaryDirectory() as folder:
            client = MlflowClient(tracking_uri=where.uri)
            return look_up(client.download_artifacts(run_id, RECORDED, folder))
    except (MlflowException, OSError) as error:
        reason = (hidden(str(error)).splitlines() or [""])[0].rstrip(".")
        raise UserError(
            f"cell {source}: MLflow at {hidden(where.uri)} has no run that recorded it "
            f"({reason}): give the ID of a cell's run, and the store with --tracking_uri."
        ) from None
