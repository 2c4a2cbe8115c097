"""A finished comparison in MLflow, at once: there is no search beside it that must not wait."""

import logging
from collections.abc import Sequence
from pathlib import Path

from nas.errors import SearchError, hidden
from nas.record.entry import Entry
from nas.record.store import open_store
from nas.zoo.tracking import check_tracking_uri, place

logger = logging.getLogger(__name__)


def record(
    tracking_uri: str, study: str, entries: Sequence[Entry], directory: Path = Path()
) -> None:
    """Write a run an entry into the experiment of the study; what is there already is left.

    Raises:
        SearchError: if the store does not answer; the study holds everything.
    """
    check_tracking_uri(tracking_uri)
    where = place(tracking_uri, directory)
    try:
        store = open_store(where, study, "Cells compared on fresh seeds, on the test split.")
        for entry in entries:
            if not store.holds(entry.key, entry.kind, int(entry.tags["nas.turn"])):
                store.write(entry)
    except Exception as error:  # MLflow's, SQLAlchemy's, requests': none hides what was compared
        logger.debug("MLflow does not take the record", exc_info=True)
        reason = (hidden(str(error)).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SearchError(
            f"MLflow at {hidden(where.uri)} does not take the record ({reason}): the same command "
            "tries again."
        ) from None
