"""Tables of a user: CSV and Parquet files as columns, with errors that name the row."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError, unknown
from nas.tasks.files import file_bytes

CSV, TSV, PARQUET = (".csv", ".csv.gz"), (".tsv", ".tsv.gz"), (".parquet", ".pq")
KINDS = "a .csv, .tsv or .parquet file"


@dataclass(frozen=True)
class Table:
    """A file's columns, all of one length."""

    path: str
    columns: Mapping[str, NDArray[Any]]
    sha256: str
    """The digest of the file."""

    @property
    def n_rows(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, field: str, name: str) -> NDArray[Any]:
        """Return a column as it was read.

        Raises:
            UserError: if the file has no such column; `field` is the field that names it.
        """
        if name not in self.columns:
            raise UserError(f"{field}: {unknown('column', name, self.columns)}")
        return self.columns[name]

    def labels(self, field: str, name: str) -> NDArray[np.str_]:
        """Return a column of names or whole numbers, without gaps, as text."""
        column = self.column(field, name)
        missing = column != column if column.dtype.kind == "f" else column == np.array(None)
        if missing.any():
            raise UserError(
                f'{field}: column "{name}" has nothing in row {_row(missing)} of {self.path}: fill '
                "it in, or leave the row out."
            )
        if column.dtype.kind == "f" and (column == np.round(column)).all():
            column = column.astype(np.int64)
        return column.astype(np.str_)

    def numbers(self, field: str, names: Sequence[str]) -> NDArray[np.float64]:
        """Return columns of finite numbers, (rows, columns)."""
        return np.stack([self._numbers(field, name) for name in names], axis=1)

    def _numbers(self, field: str, name: str) -> NDArray[np.float64]:
        column = self.column(field, name)
        if column.dtype.kind not in "iufb":
            wrong = np.array([not _is_number(value) for value in column])
            shown = column[int(wrong.argmax())]
            raise UserError(
                f'{field}: column "{name}" must be numbers, got "{shown}" in row {_row(wrong)} of '
                f"{self.path}: mend it, or name the columns to read in tasks.csv.columns."
            )
        values = column.astype(np.float64)
        missing = ~np.isfinite(values)
        if missing.any():
            kind = "no number" if np.isnan(values[missing][0]) else "an infinite number"
            raise UserError(
                f'{field}: column "{name}" has {kind} in row {_row(missing)} of {self.path} and '
                f"{int(missing.sum()) - 1} further rows: fill them in, or leave them out."
            )
        return values

    def ranks(self, field: str, name: str) -> Any:
        """Return a column to sort rows by: numbers, or dates as nanoseconds."""
        column = self.column(field, name)
        if column.dtype.kind in "iufb":
            return self._numbers(field, name)
        import pandas

        try:
            dates = pandas.to_datetime(column, format="ISO8601")
        except (ValueError, TypeError) as error:
            raise UserError(
                f'{field}: column "{name}" of {self.path} must be numbers or dates such as '
                f"2024-05-31 12:00: {_reason(error)}."
            ) from None
        if dates.isna().any():
            gap = _row(np.asarray(dates.isna()))
            raise UserError(f'{field}: column "{name}" of {self.path} has no date in row {gap}.')
        return dates.asi8


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return value is None
    return True


def _row(where: NDArray[np.bool_]) -> int:
    """Return the first such row, counted from 1 without the line of names."""
    return int(where.argmax()) + 1


def table(field: str, path: str) -> Table:
    """Read the file that `field` names, once in a process.

    Raises:
        UserError: if it is not there, no table, or has no rows.
    """
    if not path:
        raise UserError(f"{field} must name {KINDS}, got nothing.")
    return _read(field, path)


@functools.lru_cache(maxsize=4)
def _read(field: str, path: str) -> Table:
    place = Path(path).expanduser()
    content = file_bytes(field, path, f"give the path of {KINDS}")
    name = place.name.lower()
    if not name.endswith((*CSV, *TSV, *PARQUET)):
        raise UserError(f'{field} must name {KINDS}, by its ending, got "{path}".')
    import pandas

    try:
        if name.endswith(PARQUET):
            frame = pandas.read_parquet(place)
        else:
            frame = pandas.read_csv(place, sep="\t" if name.endswith(TSV) else ",")
    except (ValueError, OSError, EOFError) as error:  # pandas' and pyarrow's own are ValueErrors
        raise UserError(f'{field}: "{path}" is no table: {_reason(error)}.') from None
    columns = {str(name): _plain(frame[name]) for name in frame.columns}
    if not columns or not len(frame):
        raise UserError(f'{field}: "{path}" has no rows: give names in the first line, then rows.')
    return Table(path, columns, hashlib.sha256(content).hexdigest())


def _plain(column: Any) -> NDArray[Any]:
    """Return numbers as numbers, all else as objects with None for missing values."""
    if getattr(column.dtype, "kind", "O") in "iufb":
        own = isinstance(column.dtype, np.dtype)  # else one of pandas', where NA is no number
        values: NDArray[Any] = column.to_numpy() if own else column.to_numpy(float, na_value=np.nan)
        return values
    objects = np.array(column.astype(object), dtype=object)
    objects[np.asarray(column.isna())] = None
    return objects


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
