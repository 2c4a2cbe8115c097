"""`nas.cell(...)`: a cell from a name, a text, a file, MLflow or another project's form."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.cell.cell import Cell
from nas.cell.json import from_json
from nas.cell.reader import loads
from nas.errors import CellError, unknown
from nas.zoo import ZOO, studied
from nas.zoo.imports import imported, imported_text


def cell(source: "Cell | str | Path | Mapping[str, object]") -> Cell:
    """Return a cell from a zoo name, equations as text, or a `.cell` or `.json` file.

    A folder that holds a `cell.cell`, such as a study's `winner/`, stands for that file. Any cell
    of a study is `studies/STUDY/NAME`, or `STUDY/NAME` in the folder that has `studies`. A cell of
    MLflow is `models:/NAME@ALIAS` or `models:/NAME/VERSION`, or `runs:/ID` for a recorded run.

    Forms of other projects are a recipe of NAS-Bench-NLP, as a mapping or as JSON; a genotype of
    DARTS as text, `Genotype(recurrent=[…], concat=…)`; and an arc of ENAS, `enas: 0 0 0 …` in the
    form of its authors' code or `enas_lm: 0 2 1 …` in that of google-research.

    Raises:
        CellError: with the nearest name if there is no such cell, or if the cell breaks a rule.
    """
    if isinstance(source, Cell):
        return source
    if isinstance(source, Mapping):
        return _from_data(source)
    text = str(source).removeprefix("\ufeff")  # some editors begin files with this mark
    if isinstance(source, str):
        if text.lstrip().startswith("{"):
            return _from_json("cell text", text)
        if foreign := imported_text(text):
            return _known(foreign)
        if "\n" in text or text.lstrip().startswith("def "):
            return loads(text)
    if text in ZOO:
        return ZOO[text]
    if text.startswith(("models:/", "runs:/")):
        return _from_record(text)
    if path := _file(text):
        return _from_file(path)
    if studied.is_cell_of_study(text):
        return studied.cell_of(text)
    raise CellError(unknown("cell", text, ZOO) + " A file ends in .cell or .json.")


def _from_record(source: str) -> Cell:
    from nas.zoo.tracking import fetch

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
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise CellError(f"cell file {path}: {reason}.") from None
    try:
        if path.suffix == ".json":
            return _from_json(f"cell file {path}", text)
        foreign = imported_text(text) if path.suffix != ".cell" else None
        return _known(foreign) if foreign else loads(text)
    except CellError as error:
        named = str(error).startswith("cell file")
        raise CellError(str(error) if named else f"{path}: {error}") from None


def _from_json(where: str, text: str) -> Cell:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CellError(f"{where}: not JSON, {error}.") from None
    return _from_data(data)


def _from_data(data: object) -> Cell:
    """A cell as `to_json` writes it, or as another project does."""
    if isinstance(data, Mapping) and "format" not in data:
        return _known(imported(data))
    return from_json(data)


def _known(cell: Cell) -> Cell:
    """The cell under its name in the zoo, if it is there."""
    return ZOO[name] if (name := ZOO.named(cell.key)) else cell


def unique_cells(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells without those whose key came before."""
    unique: dict[str, Cell] = {}
    for cell in cells:
        unique.setdefault(cell.key, cell)
    return tuple(unique.values())
