"""Moments as users write them, in their order."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError

OFFSET = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)\s*$")
"""The offset from UTC behind a time of day."""


def moments(where: str, column: NDArray[Any], form: str) -> Any:
    """Return dates as whole numbers in their order, those with offsets from UTC in UTC.

    `column` holds texts or dates, None for nothing; `form` is that of `strftime`, or empty for ISO
    8601. `where` begins the messages.

    Raises:
        UserError: naming the row that has no date, or another kind of date than the first.
    """
    import pandas

    try:
        dates = pandas.to_datetime(column, format=form or "ISO8601")
    except (ValueError, TypeError, OverflowError):  # with two offsets, or with what is no date
        dates = _coerced(column, form)
        _check_offsets(where, column, np.asarray(dates.isna()))
    missing = np.asarray(dates.isna())
    if not missing.any():
        return dates.asi8
    row = int(missing.argmax())
    if column[row] is None:
        raise UserError(f"{where} has no date in row {row + 1}.")
    wanted = (
        f"dates written as {form}, as tasks.csv.time_format says"
        if form
        else ("numbers or dates such as 2024-05-31 12:00")
    )
    shown = " ".join(str(column[row]).split())[:80]
    raise UserError(
        f'{where} must be {wanted}, got "{shown}" in row {row + 1}: say how they are written '
        "in tasks.csv.time_format, such as %d.%m.%Y %H:%M or %m/%d/%Y %I:%M %p."
    )


def _coerced(column: NDArray[Any], form: str) -> Any:
    """Return dates in UTC, NaT for what is none.

    Raises:
        UserError: if the form is none of `strftime`.
    """
    import pandas

    try:
        return pandas.to_datetime(column, format=form or "ISO8601", utc=True, errors="coerce")
    except (ValueError, TypeError) as error:
        raise UserError(
            f'tasks.csv.time_format must be a form such as %d.%m.%Y %H:%M, got "{form}" ({error}).'
        ) from None


def _check_offsets(where: str, column: NDArray[Any], missing: NDArray[np.bool_]) -> None:
    """Raise UserError if some dates have an offset from UTC and others have none."""
    has_one = np.array([OFFSET.search(str(value)[10:]) is not None for value in column])
    if has_one[~missing].all() or not has_one[~missing].any():
        return
    row = int((~has_one & ~missing).argmax())
    raise UserError(
        f'{where} must have an offset from UTC in every row or in none, got "{column[row]}" in row '
        f"{row + 1}: write its offset, such as +01:00."
    )
