"""A report of a study: its sections in order, the document, and its files.

A section is a function of the facts of a study and of another arm. To report something more, add
one to `SECTIONS`.
"""

from collections.abc import Callable
from pathlib import Path

from nas.report import (
    ancestry,
    checklist,
    cost,
    endings,
    endpoints,
    front,
    learning,
    own_data,
    results,
    rungs,
    settings,
)
from nas.report.document import Card, Document, Figure, Section
from nas.report.facts import Facts
from nas.report.files import make_folder, write_files
from nas.report.html import html
from nas.report.latex import latex
from nas.report.text import markdown

SECTIONS: tuple[Callable[[Facts, Facts | None], Section], ...] = (
    results.standing,
    results.board,
    results.reliability,
    endpoints.both,
    rungs.rungs,
    learning.learning,
    own_data.own_data,
    results.cells,
    front.front,
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
    return Document(f"Study {facts.name}", lead, [made for made in sections if made.parts])


def report(facts: Facts, against: Facts | None = None, folder: Path | None = None) -> list[Path]:
    """Write the report of a study, into its own folder if no other is given.

    Returns:
        the files, report.html first.

    Raises:
        UserError: if a file cannot be written.
    """
    folder = folder or facts.seen.folder / "report"
    name = f"report {folder}"
    make_folder(folder / FIGURES, name)
    made = document(facts, against)
    files: dict[str, str | bytes] = {
        "report.html": html(made),
        "report.md": markdown(made, FIGURES),
        "tables.tex": latex(made),
    }
    for part in made.parts:
        if isinstance(part, Figure):
            files[f"{FIGURES}/{part.name}.png"] = part.png
            for suffix, data in part.files.items():
                files[f"{FIGURES}/{part.name}.{suffix}"] = data
        elif isinstance(part, Card) and part.svg:
            files[f"{FIGURES}/{part.name}.svg"] = part.svg
    paths = write_files(folder, files, name)
    # Pictures of an earlier report that are not in this one go.
    for path in {*(folder / FIGURES).iterdir()} - {*paths}:
        if path.suffix in (".png", ".svg", ".pdf", ".mid"):
            path.unlink()
    return paths


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a report by their paths among the artifacts of a run."""
    pages = [folder / name for name in ("report.html", "report.md", "tables.tex")]
    paths = [*pages, *(folder / FIGURES).iterdir()]
    return {f"report/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths}
