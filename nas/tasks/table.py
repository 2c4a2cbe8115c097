"""Tables of a user: CSV and Parquet files as columns, with errors that name the row."""

import functools
import hashlib
import itertools
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError, counted, unknown
from nas.tasks import dialect
from nas.tasks.dates import moments
from nas.tasks.dialect import Dialect
from nas.tasks.files import file_bytes

CSV, TSV, PARQUET = (".csv", ".csv.gz"), (".tsv", ".tsv.gz"), (".parquet", ".pq")
KINDS = "a .csv, .tsv or .parquet file"
NAMELESS = re.compile(r"Unnamed: \d+(\.\d+)?|__index_level_\d+__")
"""What pandas and pyarrow call a column that has no name."""
DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}.*|\d{1,2}:\d\d.*")
"""What looks like a date or a time of day."""
THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:[.,' \u2019]\d{3})+(?:[.,]\d+)?")
"""What looks like a number with signs between its thousands."""


@dataclass(frozen=True)
class Table:
    """A file's columns, all of one length."""

    path: str
    columns: Mapping[str, NDArray[Any]]
    """As pandas reads them: numbers, or objects with None for nothing."""
    sha256: str
    """The digest of the file."""
    dialect: Dialect | None = None
    """How the text is written; None for Parquet, whose columns have types."""
    index: tuple[str, ...] = ()
    """The columns that are the index of a Parquet file."""

    @property
    def n_rows(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def nameless(self) -> tuple[str, ...]:
        """The columns without a name, such as an index that was saved."""
        return tuple(name for name in self.columns if NAMELESS.fullmatch(name))

    @property
    def _decimal(self) -> str:
        return self.dialect.decimal if self.dialect else "."

    def column(self, field: str, name: str) -> NDArray[Any]:
        """Return a column as it was read.

        Raises:
            UserError: if the file has no such column; `field` is the field that names it.
        """
        if name not in self.columns:
            raise UserError(f"{field}: {unknown('column', name, self.columns)}")
        return self.columns[name]

    def words(self, field: str, name: str) -> NDArray[np.str_]:
        """Return a column as text, without spaces around it; nothing is "".

        A text such as NA or 007 stays as it is written; of a Parquet file, whole numbers are so.
        """
        column = self.column(field, name)
        if self.dialect is not None:
            return np.char.strip(self._texts(name))
        return words_of(column)

    def _texts(self, name: str) -> NDArray[np.str_]:
        """Read a column of a text file as it is written."""
        import pandas

        assert self.dialect is not None
        keywords = {**self.dialect.keywords, "dtype": str, "na_filter": False}
        place = list(self.columns).index(name)
        frame = pandas.read_csv(Path(self.path).expanduser(), usecols=[place], **keywords)
        texts: NDArray[np.str_] = frame.iloc[:, 0].to_numpy(dtype=np.str_)
        return texts

    def labels(self, field: str, name: str) -> NDArray[np.str_]:
        """Return a column of names or whole numbers, without gaps, as text."""
        words = self.words(field, name)
        if (missing := words == "").any():
            raise UserError(
                f'{field}: column "{name}" has nothing in row {_row(missing)} of {self.path}: fill '
                "it in, or leave the row out."
            )
        return words

    def divided_otherwise(self, name: str, labels: NDArray[np.str_], ordered: bool) -> bool:
        """Return whether the labels of a column divide the rows otherwise than in first studies.

        Labels that look like numbers were numbers then: 7 and 007 were one. `ordered` says that the
        order of the labels matters.
        """
        if self.dialect is None:
            return False
        then = _as_whole(self.columns[name]).astype(np.str_)
        return not np.array_equal(_codes(then, ordered), _codes(labels, ordered))

    def numbers(self, field: str, names: Sequence[str], gaps: bool) -> NDArray[np.float64]:
        """Return columns of finite numbers, (rows, columns); with `gaps`, NaN where nothing is."""
        columns = [self._numbers(field, name, gaps) for name in names]
        return np.stack(columns, axis=1) if columns else np.empty((self.n_rows, 0))

    def _numbers(self, field: str, name: str, gaps: bool = False) -> NDArray[np.float64]:
        column = self.column(field, name)
        if column.dtype.kind not in "iufb":
            column = self._as_numbers(field, name, column)
        values = column.astype(np.float64)
        wrong = np.isinf(values) if gaps else ~np.isfinite(values)
        if wrong.any():
            is_gap = bool(np.isnan(values[wrong][0]))
            kind = "no number" if is_gap else "an infinite number"
            ways_out = "fill them in, or leave them out"
            if is_gap and field != "tasks.csv.time":
                ways_out = (
                    "fill them in, leave them out, or set tasks.csv.missing_values to fill or mark"
                )
            rows = _rows((np.flatnonzero(wrong) + 1).tolist())
            raise UserError(
                f'{field}: column "{name}" has {kind} in {rows} of {self.path}: {ways_out}.'
            )
        return values

    def _as_numbers(self, field: str, name: str, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the numbers of a column of objects.

        Raises:
            UserError: if one is something else, with what can be done about such a thing.
        """
        import pandas

        known = [self._known(value) for value in column]
        numbers = pandas.to_numeric(pandas.Series(known, dtype=object), errors="coerce")
        values: NDArray[np.float64] = numbers.to_numpy(np.float64)
        wrong = np.isnan(values) & (column != np.array(None)) & (column == column)
        if not wrong.any():
            return values
        shown = " ".join(str(column[int(wrong.argmax())]).split())[:80]
        raise UserError(
            f'{field}: column "{name}" must be numbers, got "{shown}" in row {_row(wrong)} of '
            f"{self.path}: {self._way_out(field, shown)}."
        )

    def _known(self, value: object) -> object:
        """Return a number, or a text that may be one with a decimal point; None for all else."""
        if isinstance(value, str) and self._decimal == ",":
            return None if "." in value else value.replace(",", ".")
        return value if isinstance(value, str | Number) else None

    def _way_out(self, field: str, shown: str) -> str:
        """Say what can be done about a field that should be a number."""
        if dialect.COMMA.fullmatch(shown) and self._decimal != ",":
            return 'set tasks.csv.decimal to "," if decimals follow it; else leave it out'
        if THOUSANDS.fullmatch(shown):
            return "leave out the signs between thousands"
        if dialect.POINT.fullmatch(shown):
            return 'set tasks.csv.decimal to "."'
        rest = "mend it, or name the columns to read in tasks.csv.columns"
        if field == "tasks.csv.target":
            return "mend it, or set tasks.csv.goal to classify and name the column in label"
        if DATE.fullmatch(shown):
            return f"if it tells the order of the rows, name it in tasks.csv.time; else {rest}"
        return f"if its words tell kinds, name it in tasks.csv.categories; else {rest}"

    def ranks(self, field: str, name: str, form: str) -> Any:
        """Return a column to sort rows by: numbers, or dates of a form, ISO 8601 if it is empty."""
        column = self.column(field, name)
        if column.dtype.kind in "iufb" and not form:
            return self._numbers(field, name)
        if self.dialect is not None or column.dtype.kind in "iufb":
            column = self.words(field, name).astype(object)
            column[column == ""] = None
        return moments(f'{field}: column "{name}" of {self.path}', column, form)


def words_of(column: NDArray[Any]) -> NDArray[np.str_]:
    """Return values as text, whole numbers without a point; nothing is ""."""
    if column.dtype.kind == "O":
        return np.where(column == np.array(None), "", column).astype(np.str_)
    missing = column != column
    return np.where(missing, "", _as_whole(np.where(missing, 0, column)).astype(np.str_))


def _codes(labels: NDArray[np.str_], ordered: bool) -> NDArray[np.int64]:
    """Return the place of each row's label in their order, or in that of their first rows."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    return codes if ordered else first[codes]


def _as_whole(column: NDArray[Any]) -> NDArray[Any]:
    """Return floating-point numbers that are all whole as whole numbers."""
    if column.dtype.kind == "f" and (column == np.round(column)).all():
        with np.errstate(invalid="ignore"):
            return column.astype(np.int64)
    return column


def _row(where: NDArray[np.bool_]) -> int:
    """Return the first such row, counted from 1 without the line of names."""
    return int(where.argmax()) + 1


def table(field: str, path: str, written: Dialect) -> Table:
    """Read the file that `field` names, once in a process.

    Raises:
        UserError: if it is not there, no table, or has no rows.
    """
    if not path:
        raise UserError(f"{field} must name {KINDS}, got nothing.")
    return _read(field, path, written)


@functools.lru_cache(maxsize=4)
def _read(field: str, path: str, written: Dialect) -> Table:
    place = Path(path).expanduser()
    content = file_bytes(field, path, f"give the path of {KINDS}")
    name = place.name.lower()
    if not name.endswith((*CSV, *TSV, *PARQUET)):
        raise UserError(f'{field} must name {KINDS}, by its ending, got "{path}".')
    try:
        if name.endswith(PARQUET):
            known, (frame, index) = None, _parquet(place)
        else:
            known = dialect.found(field, place, written)
            frame, index = _text(field, path, place, known), ()
    except UserError:
        raise
    except UnicodeError:
        encoding = written.encoding or "UTF-8"
        where = dialect.undecodable(place, encoding)
        raise UserError(
            f'{field}: "{path}" is not {encoding}, {where}: name its encoding in '
            "tasks.csv.encoding, such as cp1252."
        ) from None
    except (ValueError, OSError, EOFError, zlib.error) as error:  # pandas' are ValueErrors
        raise UserError(f'{field}: "{path}" is no table: {_reason(error)}.') from None
    columns = {str(name): plain(frame[name]) for name in frame.columns}
    if not columns or not len(frame):
        raise UserError(f'{field}: "{path}" has no rows: give names in the first line, then rows.')
    return Table(path, columns, hashlib.sha256(content).hexdigest(), known, index)


def _parquet(place: Path) -> tuple[Any, tuple[str, ...]]:
    """Read a Parquet file; the levels of its index that have names of their own become columns."""
    import pandas

    frame = pandas.read_parquet(place)
    names = [n for n in frame.index.names if n is not None and n not in frame.columns]
    levels = {name: frame.index.get_level_values(name) for name in names}
    return frame.assign(**{str(n): level for n, level in levels.items()}), tuple(map(str, names))


def _text(field: str, path: str, place: Path, known: Dialect) -> Any:
    """Read a text file.

    Raises:
        UserError: naming the rows, if some have more fields than there are names.
    """
    import pandas

    names, *first = [*map(len, itertools.islice(dialect.rows(place, known), 2))] or [0]
    try:
        if first and first[0] > names:
            raise pandas.errors.ParserError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pandas.errors.DtypeWarning)  # of columns of words
            return pandas.read_csv(place, **known.keywords)
    except pandas.errors.ParserError:
        widths = enumerate(map(len, dialect.rows(place, known)))
        if not (long := [row for row, width in widths if width > names and row]):
            raise
        sign = "tab" if known.separator == "\t" else f'"{known.separator}"'
        raise UserError(
            f'{field}: "{path}" has {counted(names, "name")} in its first line, and more fields in '
            f"{_rows(long)}: remove the {sign} at their end, write a field that holds a {sign} in "
            "quotes, name every column, or say in tasks.csv.separator what parts fields."
        ) from None


def _rows(rows: list[int]) -> str:
    """Name rows, the first ones if there are many."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    if len(rows) == rows[-1] - rows[0] + 1:
        return f"rows {rows[0]} to {rows[-1]}"
    shown, rest = rows[:3], len(rows) - 3
    return f"rows {', '.join(map(str, shown))}" + (f" and {rest:,} more" if rest > 0 else "")


def plain(column: Any) -> NDArray[Any]:
    """Return a column of pandas: numbers as numbers, all else as objects with None for nothing."""
    if getattr(column.dtype, "kind", "O") in "iufb":
        own = isinstance(column.dtype, np.dtype)  # else one of pandas', where NA is no number
        values: NDArray[Any] = column.to_numpy() if own else column.to_numpy(float, na_value=np.nan)
        return values
    objects = np.array(column.astype(object), dtype=object)
    objects[np.asarray(column.isna())] = None
    return objects


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
