"""A report of a study: its sections in order, the document, and its files.

A section is a function of the facts of a study and of another arm. To say something more, add one
to `SECTIONS`.
"""

from collections.abc import Callable
from pathlib import Path

from nas.report import ancestry, checklist, cost, endings, results, settings
from nas.report.document import Card, Document, Figure, Section
from nas.report.facts import Facts, read_facts
from nas.report.files import write_files
from nas.report.html import html
from nas.report.text import markdown
from nas.study.location import OpenedStudy

SECTIONS: tuple[Callable[[Facts, Facts | None], Section], ...] = (
    results.standing,
    results.board,
    results.cells,
    cost.race,
    cost.trade_offs,
    endings.stages,
    ancestry.descent,
    settings.settings,
    endings.shortcuts,
    endings.endings,
    checklist.fairness,
    checklist.origin,
)
FIGURES = "figures"
"""The folder of the pictures, beside the pages."""


def document(facts: Facts, against: Facts | None = None) -> Document:
    """The whole report; the same studies give the same."""
    tasks = ", ".join(task.name for task in facts.protocol.tasks)
    lead = (
        f"A search for recurrent cells in the space {facts.config.space} with the sampler "
        f"{facts.config.sampler}, judged on {tasks} against the GRU; seed {facts.config.seed}."
    )
    sections = [section(facts, against) for section in SECTIONS]
    return Document(f"Study {facts.name}", lead, sections)


def write(made: Document, folder: Path) -> list[Path]:
    """Write report.html, report.md and its pictures, and return their paths, the page's first.

    Pictures of a report that was there before and are not in this one are removed.

    Raises:
        UserError: if a file cannot be written.
    """
    files: dict[str, str | bytes] = {
        "report.html": html(made),
        "report.md": markdown(made, FIGURES),
    }
    for part in made.parts:
        if isinstance(part, Figure):
            files[f"{FIGURES}/{part.name}.png"] = part.png
        elif isinstance(part, Card) and part.svg:
            files[f"{FIGURES}/{part.name}.svg"] = part.svg
    paths = write_files(folder, files, f"report {folder}")
    for path in {*(folder / FIGURES).iterdir()} - {*paths}:
        if path.suffix in (".png", ".svg"):
            path.unlink()
    return paths


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a report by their paths among the artifacts of a run."""
    paths = [folder / "report.html", folder / "report.md", *(folder / FIGURES).iterdir()]
    return {f"report/{one.relative_to(folder).as_posix()}": one.read_bytes() for one in paths}


def report(
    seen: OpenedStudy, against: OpenedStudy | None = None, folder: Path | None = None
) -> list[Path]:
    """Write the report of a study, into its own folder if no other is given.

    Returns:
        the files, report.html first.

    Raises:
        UserError: if there is nothing to report, or a file cannot be written.
    """
    facts = read_facts(seen)
    made = document(facts, read_facts(against) if against else None)
    return write(made, folder or seen.folder / "report")
