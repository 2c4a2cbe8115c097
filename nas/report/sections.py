"""The order of a report; a section is a function of the facts of a study and of another arm."""

from collections.abc import Callable

from nas.report import process, results
from nas.report.document import Document, Section
from nas.report.facts import Facts

SECTIONS: tuple[Callable[[Facts, Facts | None], Section], ...] = (
    results.standing,
    results.board,
    results.cells,
    results.race,
    results.trade_offs,
    process.stages,
    process.descent,
    process.settings,
    process.shortcuts,
    process.endings,
    process.fairness,
    process.origin,
)


def document(facts: Facts, against: Facts | None = None) -> Document:
    """The whole report; the same studies give the same."""
    tasks = ", ".join(task.name for task in facts.protocol.tasks)
    lead = (
        f"A search for recurrent cells in the space {facts.config.space} with the sampler "
        f"{facts.config.sampler}, judged on {tasks} against the GRU; seed {facts.config.seed}."
    )
    sections = tuple(make(facts, against) for make in SECTIONS)
    return Document(f"Study {facts.name}", lead, sections)
