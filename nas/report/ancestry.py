"""Where the winner comes from: its parents up to the first, and what each mutation changed."""

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.cell.cell import renamed
from nas.cell.reader import loads
from nas.report.facts import Facts
from nas.study.leaderboard import Row

if TYPE_CHECKING:
    from nas.study.visit import Visit


@dataclass(frozen=True)
class Ancestor:
    """A cell in the line of the winner."""

    visit: "Visit"
    """Its first."""
    row: Row
    gain: float | None
    """Its score less its parent's; None for the first, and where one of them has none."""
    change: tuple[str, ...]
    """Lines of its parent's equations that went (-) and its own that came (+)."""


def ancestry(facts: Facts, row: Row) -> list[Ancestor]:
    """The line of a cell, the eldest first and the cell itself last."""
    first: dict[str, Visit] = {}
    for visit in facts.visits:
        first.setdefault(visit.key, visit)
    numbered = {visit.number: visit for visit in facts.visits}
    rows = {one.key: one for one in facts.rows}
    line: list[Visit] = []
    elder: Visit | None = first[row.key]
    while elder is not None and elder.key in rows and elder.key not in {v.key for v in line}:
        line.insert(0, elder)
        parent = None if elder.parent is None else numbered.get(elder.parent)
        elder = None if parent is None else first[parent.key]
    found: list[Ancestor] = []
    for visit in line:
        own, before = rows[visit.key], found[-1] if found else None
        scores = own.score, before.row.score if before else None
        gain = None if scores[0] is None or scores[1] is None else scores[0] - scores[1]
        found.append(Ancestor(visit, own, gain, _change(before.visit if before else None, visit)))
    return found


def _change(parent: "Visit | None", child: "Visit") -> tuple[str, ...]:
    if parent is None:
        return ()
    before, after = (_body(one.cell) for one in (parent, child))
    lines = difflib.ndiff(before, after)
    return tuple(line for line in lines if line[:1] in "+-")


def _body(text: str) -> list[str]:
    """The lines of a cell without its name and docstring."""
    return str(renamed(loads(text), "cell", "")).splitlines()


def how(ancestor: Ancestor) -> str:
    """Where its cell came from, as the study noted it."""
    if ancestor.visit.kind == "given":
        return "given"
    about = loads(ancestor.visit.cell).doc
    if ancestor.visit.parent is None and not about:
        return "drawn at random or whole by the sampler"
    return " ".join(about.split()) or "another choice in the space of its parent"
