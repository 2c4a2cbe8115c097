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
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from nas.cell import loads
from nas.errors import CellError, UserError, unknown
from nas.protocol.requests import REFERENCE
from nas.resources import find
from nas.spaces import load_space
from nas.spaces.base import Params
from nas.zoo import ZOO

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from nas.study.location import OpenedStudy
    from nas.study.visit import Visit

FORMAT: Literal["nas table 1"] = "nas table 1"
STRICT = {"extra": "forbid", "strict": True}
"""How pydantic reads a line: without conversions between types, and without unknown fields."""
UNEXPECTED = "unexpected_keyword_argument"
"""Pydantic's name for an unknown field."""


@dataclass(frozen=True)
class Header:
    """The first line: the study that all visits are of."""

    __pydantic_config__: ClassVar = STRICT
    study: str
    space: str = ""
    """The name of the space."""
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
    """Versions of the packages and of the code."""
    format: Literal["nas table 1"] = FORMAT


@dataclass(frozen=True)
class Recorded:
    """One judged visit of a cell."""

    __pydantic_config__: ClassVar = STRICT
    number: int
    """The number of the trial."""
    kind: str
    """"given" or "drawn"."""
    name: str
    key: str
    cell: str
    """The cell as text."""
    stage: str
    """"scored", or the task at which it was rejected."""
    value: float
    """The number that a sampler maximises: the score, or less for a rejected cell."""
    score: float | None = None
    best: dict[str, float | None] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    n_params: int = 0
    """Parameters of the largest model."""
    runs: int = 0
    """Training runs that this visit took; outcomes that were known already took none."""
    flops: float = 0.0
    seconds: float = 0.0
    """Seconds in training."""
    turn: int = 0
    """0 for the first visit; later visits are on further settings."""
    parent: int | None = None
    """The trial whose cell was mutated."""
    params: Params = field(default_factory=dict)
    """The suggestions of the sampler."""


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
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)  # the same table is the same file
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"table {path} cannot be written: {error.strerror}.") from None


def _fields(data: Header | Recorded) -> dict[str, Any]:
    """All fields but those that have their default."""
    fields = {}
    for of in dataclasses.fields(data):
        value, make = getattr(data, of.name), of.default_factory
        if value != (of.default if make is dataclasses.MISSING else make()):
            fields[of.name] = value
    return fields


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
    if not text:
        raise UserError(f"table {path} is empty: python -m nas.replay write STUDY FILE makes one.")
    first, *lines = text.removesuffix("\n").split("\n")  # splitlines would split at U+2028 too
    if not _begins(first):
        raise UserError(
            f'table {path}, line 1: a table begins with {{"format": "{FORMAT}", …}}, '
            f"got {first[:40]!r}."
        )
    header = _parsed(Header, f"table {path}, line 1", first)
    visits = (_visit(f"table {path}, line {n}", line) for n, line in enumerate(lines, start=2))
    return Table(header, tuple(visits))


def _begins(line: str) -> bool:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and header.get("format") == FORMAT


def _visit(where: str, line: str) -> Recorded:
    visit = _parsed(Recorded, where, line)
    try:
        loads(visit.cell)
    except CellError as error:
        raise UserError(f"{where}: {error}") from None
    if not math.isfinite(visit.value):
        raise UserError(f"{where}: value must be finite, got {visit.value}.")
    return visit


Line = TypeVar("Line", Header, Recorded)


def _parsed(kind: type[Line], where: str, line: str) -> Line:
    from pydantic import ValidationError

    try:
        parsed: Line = _readers()[kind].validate_json(line)
    except ValidationError as error:
        # A field that is misspelt is missing too: its name says more.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != UNEXPECTED)
        names = [field.name for field in dataclasses.fields(kind)]
        raise UserError(f"{where}: {_message(problems[0], line, names)}") from None
    return parsed


def _message(problem: "ErrorDetails", line: str, names: Sequence[str]) -> str:
    name = ".".join(map(str, problem["loc"]))
    if not name:
        return f"a line is a JSON object, got {line[:40]!r}."
    if problem["type"] == UNEXPECTED:
        return unknown("field", name, names)
    if problem["type"] == "missing":
        return f'the field "{name}" is missing.'
    return f"{name}: {problem['msg']}, got {problem['input']!r:.40}."


@cache
def _readers() -> dict[type, Any]:
    from pydantic import TypeAdapter

    return {kind: TypeAdapter(kind) for kind in (Header, Recorded)}


def table_of(seen: "OpenedStudy") -> Table:
    """All judged visits of a study, in trial order.

    Raises:
        UserError: if there is none.
    """
    visits = seen.study.finished()
    if not visits:
        raise UserError(f"study {seen.name} has no judged cell yet, so there is no table to write.")
    attrs = seen.study.attrs
    definition = dict(attrs.get("definition", {}))
    source = str(seen.config.get("space", ""))
    version = str(definition.get("space", ""))
    tasks = definition.get("tasks", {})
    header = Header(
        study=seen.name,
        space=Path(source).stem,
        space_version=version,
        space_file=_space_file(source, version),
        sampler=str(definition.get("sampler", "")),
        seed=int(definition.get("seed", 0)),
        tasks={
            name: str(tasks.get(name, {}).get("version", ""))
            for name in (used.rpartition(":")[2] for used in definition.get("tasks.use", ()))
        },
        reference=_reference(visits),
        definition=definition,
        versions=dict(attrs.get("provenance", {})),
    )
    return Table(header, tuple(map(_recorded, visits)))


def _space_file(source: str, version: str) -> str:
    """The text of the space's file, unless it has changed since the study was begun."""
    try:
        if not source or load_space(source).version != version:
            return ""
        return find("search_spaces", source).read_text(encoding="utf-8")
    except UserError:
        return ""


def _reference(visits: "Sequence[Visit]") -> dict[str, float]:
    for visit in visits:
        if visit.key == ZOO[REFERENCE].key and visit.kind == "given" and visit.judgement:
            best = visit.judgement.best
            return {task: value for task, value in best.items() if value is not None}
    return {}


def _recorded(visit: "Visit") -> Recorded:
    judgement, summaries = visit.judgement, visit.all_summaries()
    assert judgement is not None
    return Recorded(
        number=visit.number,
        kind=visit.kind,
        name=visit.name,
        key=visit.key,
        cell=visit.cell,
        stage=judgement.stage,
        value=judgement.value,
        score=judgement.score,
        best=judgement.best,
        ratios=judgement.ratios,
        n_params=max((summary.n_params for summary in visit.summaries()), default=0),
        runs=sum(summary.n_runs for summary in summaries),
        flops=sum(summary.flops for summary in summaries),
        seconds=sum(summary.wall_s for summary in summaries),
        turn=visit.turn,
        parent=visit.parent,
        params=visit.params,
    )
