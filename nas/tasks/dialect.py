"""How the text of a table is written: its separator, its decimal sign and its encoding.

What the user does not say is found out from the first rows; what may be either is refused.
"""

import csv
import gzip
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from nas.errors import UserError
from nas.tasks.files import encoding_of

SEPARATORS = (",", ";", "\t", "|")
TABS = ("tab", "\\t")
"""What a user may write for a tab, which is hard to type."""
N_ROWS = 1000
"""The rows that are looked at."""
COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
"""A number with a decimal comma."""
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
"""A number with commas that may as well part its thousands."""
POINT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?")
"""A number with a decimal point."""


@dataclass(frozen=True)
class Dialect:
    """The signs of a table; those that are empty are found out."""

    separator: str = ""
    decimal: str = ""
    encoding: str = ""
    skipped: int = 0
    """Lines before the one with names: Excel's "sep=;"."""

    @property
    def keywords(self) -> dict[str, Any]:
        """The arguments of `pandas.read_csv`."""
        return {
            "sep": self.separator,
            "decimal": self.decimal,
            "encoding": self.encoding,
            "skiprows": self.skipped,
            "index_col": False,
        }

    def __str__(self) -> str:
        sign = "a tab" if self.separator == "\t" else f'"{self.separator}"'
        return f'{sign} between fields and "{self.decimal}" in numbers'


def found(field: str, place: Path, given: Dialect) -> Dialect:
    """Return the dialect of a file: what is given, and the rest as its first rows show it.

    Raises:
        UserError: if the given signs are none, or the file may be read in two ways.
        UnicodeError: if the rows are not of the encoding.
    """
    with _bytes(place) as start:
        encoding = given.encoding or encoding_of(start.read(2))
    try:
        "".encode(encoding)
    except LookupError:
        raise UserError(
            f'tasks.csv.encoding must be one that Python knows, such as cp1252, got "{encoding}".'
        ) from None
    with _opened(place, encoding) as file:
        excel = re.fullmatch(r"sep=(.)\s*", file.readline(100))
    dialect = replace(given, encoding=encoding, skipped=int(excel is not None))
    separator = "\t" if given.separator in TABS else given.separator
    if len(separator) > 1 or separator in ('"', "\n", "\r"):
        raise UserError(
            f'tasks.csv.separator must be one character, or tab, got "{given.separator}".'
        )
    if not separator:
        separator = excel[1] if excel else _separator(field, place, dialect)
    dialect = replace(dialect, separator=separator)
    return replace(dialect, decimal=given.decimal or _decimal(place, dialect))


def usual_separator(name: str) -> str:
    """Return what a file's ending says of its separator."""
    return "\t" if name.lower().removesuffix(".gz").endswith(".tsv") else ","


def rows(place: Path, dialect: Dialect) -> Iterator[list[str]]:
    """Yield the fields of the line of names, then of each row that is not blank."""
    with _opened(place, dialect.encoding) as file:
        lines = itertools.islice(file, dialect.skipped, None)
        reader = csv.reader(lines, delimiter=dialect.separator)
        try:
            for fields in reader:
                if len(fields) > 1 or (fields and fields[0].strip()):
                    yield fields
        except csv.Error:  # such as a quote that is never closed: pandas says what is wrong
            return


def undecodable(place: Path, encoding: str) -> str:
    """Say where the bytes of a file are none of the encoding."""
    with _bytes(place) as file:
        content = file.read()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return f"line {line} has the byte 0x{content[error.start]:02x}"
    except UnicodeError:
        pass
    return "its first bytes are of another encoding"


def _bytes(place: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(place) if place.name.lower().endswith(".gz") else place.open("rb")


def _opened(place: Path, encoding: str) -> IO[str]:
    return io.TextIOWrapper(_bytes(place), encoding=encoding, newline="")


def _separator(field: str, place: Path, dialect: Dialect) -> str:
    """Return the separator that divides the names and every row into as many fields."""
    usual = usual_separator(place.name)
    regular, longer = [], []
    for sign in sorted(SEPARATORS, key=lambda sign: sign != usual):
        read = itertools.islice(rows(place, replace(dialect, separator=sign)), N_ROWS)
        names, *widths = [*map(len, read)] or [0]
        if names > 1 and all(width == names for width in widths):
            regular.append(sign)
        elif names > 1 and all(width >= names for width in widths):
            longer.append(sign)
    if len(regular) > 1 and not regular[0] == usual == "\t":
        raise UserError(
            f'{field}: fields of "{place.name}" may be parted by "{regular[0]}" or "{regular[1]}", '
            "both divide every row alike: say which in tasks.csv.separator."
        )
    return [*regular, *longer, usual][0]


def _decimal(place: Path, dialect: Dialect) -> str:
    """Return "," if some numbers have one before their decimals, and none has a point."""
    read = itertools.islice(rows(place, dialect), 1, N_ROWS)
    fields = [field.strip() for row in read for field in row]
    has_commas = any(COMMA.fullmatch(f) and not THOUSANDS.fullmatch(f) for f in fields)
    return "," if has_commas and not any(POINT.fullmatch(f) for f in fields) else "."
