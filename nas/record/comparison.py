"""Comparisons in MLflow: read cells from recorded runs, and record the results.

The results are recorded at once, since no search runs beside that must not wait.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nas.cell.cell import Cell
from nas.errors import SearchError, UserError, hidden
from nas.record.entry import Entry
from nas.record.store import open_store
from nas.record.view import where_to_look
from nas.zoo.lookup import cell as look_up
from nas.zoo.tracking import check_tracking_uri, fetch, place, quiet

logger = logging.getLogger(__name__)

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
            files = fetch(run, Path(folder), RECORDED, place(tracking_uri, directory).uri)
            return look_up(str(files / RECORDED))
    except (UserError, OSError) as error:
        reason = str(error).removeprefix(f"{run}: ").rstrip(".")
        raise UserError(
            f"cell {source}: {reason}: give the ID of a cell's run, and the store "
            "with --tracking-uri."
        ) from None


def record(
    tracking_uri: str, study: str, entries: Sequence[Entry], view: str, directory: Path = Path()
) -> list[str]:
    """Write a run for each entry into the experiment of the study; recorded runs stay.

    `view` is what MLflow shows of it at first. Return lines on where a browser shows it.

    Raises:
        SearchError: if the store does not answer; the study holds everything.
    """
    check_tracking_uri(tracking_uri)
    where = place(tracking_uri, directory)
    try:
        with quiet():
            about = "Cells compared on fresh seeds, on the test split."
            store = open_store(where, study, about, view)
            for entry in entries:
                if not store.holds(entry.key, entry.kind, int(entry.tags["nas.turn"])):
                    store.write(entry)
            return where_to_look(where.uri, store.experiment_id)
    except Exception as error:  # MLflow's, SQLAlchemy's, requests': none hides the comparison
        logger.debug("MLflow does not take the record", exc_info=True)
        reason = (hidden(str(error)).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SearchError(
            f"MLflow at {hidden(where.uri)} does not take the record ({reason}): the same command "
            "tries again."
        ) from None
