"""`nas.cell(...)`: a cell from whatever names it."""

import json
import tempfile
from pathlib import Path

from nas.cell.graph import Cell
from nas.cell.json import from_json
from nas.cell.text import loads
from nas.errors import CellError, unknown
from nas.zoo import ZOO


def cell(source: "Cell | str | Path") -> Cell:
    """Return a cell from a zoo name, equations as text, or a `.cell` or `.json` file.

    A folder that holds a `cell.cell`, such as a study's `winner/`, stands for that file. A cell of
    MLflow is `models:/NAME@ALIAS` or `models:/NAME/VERSION`, or `runs:/ID` for a recorded run.

    Raises:
        CellError: if nothing is found, with the nearest name, or the cell breaks a rule.
    """
    if isinstance(source, Cell):
        return source
    text = str(source)
    if isinstance(source, str) and ("\n" in text or text.lstrip().startswith("def ")):
        return loads(text)
    if text in ZOO:
        return ZOO[text]
    if text.startswith(("models:/", "runs:/")):
        return _from_record(text)
    if path := _file(text):
        return _from_file(path)
    raise CellError(unknown("cell", text, ZOO) + " A file ends in .cell or .json.")


def _from_record(source: str) -> Cell:
    from nas.record_model import fetch

    with tempfile.TemporaryDirectory() as folder:
        return _from_file(fetch(source, Path(folder), only="cell.json") / "cell.json")


def _file(text: str) -> Path | None:
    path = Path(text)
    try:
        if path.is_dir() and (path / "cell.cell").is_file():
            return path / "cell.cell"
        return path if path.suffix in (".cell", ".json") or path.is_file() else None
    except (OSError, ValueError):  # no path at all: too long, or with a NUL in it
        return None


def _from_file(path: Path) -> Cell:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise CellError(f"cell file {path}: {reason}.") from None
    try:
        if path.suffix != ".json":
            return loads(text)
        return from_json(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CellError(f"cell file {path}: not JSON, {error}.") from None
    except CellError as error:
        raise CellError(f"{path}: {error}") from None
