"""The files of a report."""

from pathlib import Path

from nas.errors import UserError
from nas.report.document import Document
from nas.report.html import html
from nas.report.markdown import FIGURES, markdown


def write(document: Document, folder: Path) -> list[Path]:
    """Write report.html, report.md and its pictures, and return their paths, the page's first.

    Pictures of a report that was there before and are not in this one are removed.

    Raises:
        UserError: if a file cannot be written.
    """
    files: dict[str, bytes] = {
        "report.html": html(document).encode(),
        "report.md": markdown(document).encode(),
        **{f"{FIGURES}/{one.name}.png": one.png for one in document.figures()},
        **{f"{FIGURES}/{one.name}.svg": one.svg.encode() for one in document.cards() if one.svg},
    }
    try:
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            fresh = folder / f"{name}.part"
            fresh.write_bytes(data)
            fresh.replace(folder / name)  # whoever reads it meanwhile has the old one whole
        for path in (folder / FIGURES).iterdir():
            if f"{FIGURES}/{path.name}" not in files and path.suffix in (".png", ".svg"):
                path.unlink()
    except OSError as error:
        raise UserError(f"report {folder} cannot be written: {error.strerror}.") from None
    return [folder / name for name in files]
