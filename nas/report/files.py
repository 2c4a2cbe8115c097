"""Results as files: CSV, JSON, PNG, SVG, PDF, and all of them written into a folder at once."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIGITS = 7
"""Digits of numbers in files, which are more than any clock or sample knows."""


def csv_text(rows: Sequence[Mapping[str, Any]], digits: int = DIGITS) -> str:
    """Rows as CSV, with a line of their names first; None is empty."""
    import pandas

    frame = pandas.DataFrame(rows)
    return str(frame.to_csv(index=False, lineterminator="\n", float_format=f"%.{digits}g"))


def json_text(data: Mapping[str, Any]) -> str:
    """The text of a JSON file."""
    return json.dumps(data, indent=1) + "\n"


def rounded(data: Any, digits: int = DIGITS) -> Any:
    """The same data with so many digits of every float."""
    if isinstance(data, float):
        return float(f"{data:.{digits}g}")
    if isinstance(data, Mapping):
        return {name: rounded(value, digits) for name, value in data.items()}
    return [rounded(item, digits) for item in data] if isinstance(data, list | tuple) else data


def png_of(figure: "Figure") -> bytes:
    """A figure of matplotlib as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def vector_files(figure: "Figure", name: str) -> dict[str, bytes]:
    """A figure as SVG and PDF, by suffix, for papers: text stays text, and the same figure gives
    the same bytes."""
    import matplotlib

    nothing = {"svg": ("Date", "Creator", "Format", "Type"), "pdf": ("CreationDate", "Creator",
               "Producer")}  # fmt: skip
    style: dict[Any, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": name}
    files = {}
    for suffix, names in nothing.items():
        file = io.BytesIO()
        with matplotlib.rc_context(style):
            figure.savefig(file, format=suffix, metadata=dict.fromkeys(names))
        files[suffix] = file.getvalue()
    return files


def write_file(path: Path, data: str | bytes, name: str = "") -> None:
    """Write one file into a folder that is there; `name` is what a message calls it.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        path.write_bytes(_bytes(data))
    except OSError as error:
        raise UserError(f"{name or path} cannot be written: {error.strerror}.") from None


def make_folder(folder: Path, name: str = "") -> None:
    """Make the folder for files that take long to compute, so that nothing is computed in vain.

    Raises:
        UserError: if it cannot be made, or nothing be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{name or folder} cannot be written: {error.strerror}.") from None


def write_files(folder: Path, files: Mapping[str, str | bytes], name: str = "") -> list[Path]:
    """Write files by their names into a folder, and return their paths.

    Whoever reads a file meanwhile has the old one whole. `name` is what a message calls the folder.

    Raises:
        UserError: if one of them cannot be written.
    """
    paths = [folder / file for file in files]
    try:
        for path, data in zip(paths, files.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.part")
            part.write_bytes(_bytes(data))
            part.replace(path)
    except OSError as error:
        raise UserError(f"{name or folder} cannot be written: {error.strerror}.") from None
    return paths


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data
