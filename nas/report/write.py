"""A report as files: written from the facts of a study, read back for MLflow."""

from pathlib import Path

from nas.errors import UserError
from nas.report.document import Document
from nas.report.facts import read_facts
from nas.report.html import html
from nas.report.markdown import FIGURES, markdown
from nas.report.sections import document
from nas.study.look import Seen


def write(made: Document, folder: Path) -> list[Path]:
    """Write report.html, report.md and its pictures, and return their paths, the page's first.

    Pictures of a report that was there before and are not in this one are removed.

    Raises:
        UserError: if a file cannot be written.
    """
    files: dict[str, bytes] = {
        "report.html": html(made).encode(),
        "report.md": markdown(made).encode(),
        **{f"{FIGURES}/{one.name}.png": one.png for one in made.figures()},
        **{f"{FIGURES}/{one.name}.svg": one.svg.encode() for one in made.cards() if one.svg},
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


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a report by their paths among the artifacts of a run."""
    paths = [folder / "report.html", folder / "report.md", *(folder / FIGURES).iterdir()]
    return {f"report/{one.relative_to(folder).as_posix()}": one.read_bytes() for one in paths}


def report(seen: Seen, against: Seen | None = None, folder: Path | None = None) -> list[Path]:
    """Write the report of a study, into its own folder if no other is given.

    Returns:
        the files, report.html first.

    Raises:
        UserError: if there is nothing to report, or a file cannot be written.
    """
    facts = read_facts(seen)
    made = document(facts, read_facts(against) if against else None)
    return write(made, folder or seen.folder / "report")
