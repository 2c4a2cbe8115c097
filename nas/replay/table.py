"""A finished study as one compact text file: a header, then a line for each visit of a cell.

    {"format": "nas table 1", "study": "quickstart", "space": "gates", …}
    {"number": 0, "kind": "given", "name": "gru", "key": "…", "cell": "def gru(x, h):\\n …", …}

JSON lines in trial order, fields with their default left out; gzip if the name ends in .gz. Reading
gives back exactly what was written. A re-evaluation (`turn` above 0) is a line of its own.
"""

import dataclasses
import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from nas.cell import loads
from nas.errors import CellError, UserError
from nas.spaces.base import Params

FORMAT = "nas table 1"


@dataclass(frozen=True)
class Header:
    """What the lines have in common."""

    study: str
    space: str = ""
    """Its name."""
    space_version: str = ""
    space_file: str = ""
    """The text of its YAML file; empty if it was not there any more, or had changed."""
    sampler: str = ""
    seed: int = 0
    tasks: dict[str, str] = field(default_factory=dict)
    """The version of each task of the score, in the order of the protocol."""
    reference: dict[str, float] = field(default_factory=dict)
    """The GRU's best metric on each task, the unit of all ratios."""
    definition: dict[str, Any] = field(default_factory=dict)
    """All that outcomes depend on, as the study keeps it."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of the packages and of the code."""


@dataclass(frozen=True)
class Recorded:
    """One judged visit of a cell."""

    number: int
    """Of the trial."""
    kind: str
    """"given" or "drawn"."""
    name: str
    key: str
    cell: str
    """The cell as text."""
    stage: str
    """"scored", or the task at which it was rejected."""
    value: float
    """What a sampler maximises: the score, or less for a rejected cell."""
    score: float | None = None
    best: dict[str, float | None] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    n_params: int = 0
    """Of the largest model."""
    runs: int = 0
    """Training runs that this visit took; what was known already took none."""
    flops: float = 0.0
    seconds: float = 0.0
    """In training."""
    turn: int = 0
    """0 the first visit; later ones are on further settings."""
    parent: int | None = None
    """The trial whose cell was mutated."""
    params: Params = field(default_factory=dict)
    """What the sampler suggested."""


@dataclass(frozen=True)
class Table:
    """A recorded study."""

    header: Header
    visits: tuple[Recorded, ...]


def write_table(table: Table, path: Path) -> None:
    """Write a table; a file of this name is replaced.

    Raises:
        UserError: if it cannot be written.
    """
    lines = [{"format": FORMAT, **_fields(table.header)}, *map(_fields, table.visits)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)  # the same table is the same file
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"table {path} cannot be written: {error.strerror}.") from None


def read_table(path: Path) -> Table:
    """Read a table.

    Raises:
        UserError: naming the file, the line and what is wrong with it.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except UnicodeDecodeError:
        raise UserError(f"table {path} is not UTF-8 text.") from None
    except (OSError, EOFError, zlib.error) as error:  # gzip's own have no strerror
        reason = getattr(error, "strerror", None) or "not a gzip file"
        raise UserError(f"table {path} cannot be read: {reason}.") from None
    lines = text.removesuffix("\n").split("\n")  # splitlines would split at U+2028 too
    if not text:
        raise UserError(f"table {path} is empty: python -m nas.replay write STUDY FILE makes one.")
    first = _object(path, 1, lines[0], wanted=f'a table begins with {{"format": "{FORMAT}", …}}')
    if first.pop("format", None) != FORMAT:
        raise UserError(f'table {path}, line 1: a table begins with {{"format": "{FORMAT}", …}}.')
    header = Header(**_checked(Header, path, 1, first))
    visits = tuple(_visit(path, number, line) for number, line in enumerate(lines[1:], start=2))
    return Table(header, visits)


def _visit(path: Path, number: int, line: str) -> Recorded:
    given = _object(path, number, line, wanted="a line is a JSON object")
    visit = Recorded(**_checked(Recorded, path, number, given))
    try:
        loads(visit.cell)
    except CellError as error:
        raise UserError(f"table {path}, line {number}: {error}") from None
    if not math.isfinite(visit.value):
        raise UserError(f"table {path}, line {number}: value must be finite, got {visit.value}.")
    return visit


def _fields(data: Any) -> dict[str, Any]:
    """All fields of a dataclass but those that have their default."""
    found = {}
    for one in dataclasses.fields(data):
        value = getattr(data, one.name)
        made = one.default_factory
        default = one.default if made is dataclasses.MISSING else made()
        if value != default:
            found[one.name] = value
    return found


def _object(path: Path, number: int, line: str, wanted: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"table {path}, line {number}: {wanted}, got {line[:40]!r}.")
    return found


def _checked(owner: type, path: Path, number: int, given: dict[str, Any]) -> dict[str, Any]:
    where = f"table {path}, line {number}"
    kinds = _kinds(owner)
    for name in given:
        if name not in kinds:
            raise UserError(f'{where}: no field "{name}". Known: {", ".join(kinds)}.')
    for one in dataclasses.fields(owner):
        required = one.default is one.default_factory is dataclasses.MISSING
        if required and one.name not in given:
            raise UserError(f'{where}: the field "{one.name}" is missing.')
    for name, value in given.items():
        if not _fits(value, kinds[name]):
            raise UserError(f"{where}: {name} must be {_said(kinds[name])}, got {value!r}.")
    return given


@cache
def _kinds(owner: type) -> Mapping[str, Any]:
    return get_type_hints(owner)


def _fits(value: object, kind: Any) -> bool:
    if kind is Any:
        return True
    if get_origin(kind) is dict:
        of = get_args(kind)[1]
        return isinstance(value, dict) and all(_fits(one, of) for one in value.values())
    if options := get_args(kind):
        return any(_fits(value, option) for option in options)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _said(kind: Any) -> str:
    return " or ".join(_words(kind))


def _words(kind: Any) -> Iterator[str]:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if get_origin(kind) is dict:
        yield "an object of " + _said(get_args(kind)[1])
    elif options := get_args(kind):
        for option in options:
            yield from _words(option)
    else:
        yield names.get(kind, "null" if kind is type(None) else "anything")
