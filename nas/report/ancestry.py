"""Where the winner comes from: its parents up to the first, and the changes of each mutation."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nas.cell.cell import renamed
from nas.cell.reader import loads
from nas.protocol.judgement import Rung
from nas.report.document import Card, Figure, Section, Text
from nas.report.facts import Facts
from nas.report.figures import BLUE, GREY, figure, label
from nas.study.leaderboard import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from nas.study.visit import Visit


@dataclass(frozen=True)
class Ancestor:
    """A cell in the line of the winner."""

    visit: "Visit"
    """Its first visit."""
    row: Row
    gain: float | None
    """Its standing less its parent's; None for the first, and where one of them has none."""
    change: tuple[str, ...]
    """Lines of its parent's equations that went (-) and its own that came (+)."""

    @property
    def rung(self) -> Rung | None:
        """On a ladder its result at the lowest rung, the one at which all cells were judged."""
        judgement = self.visit.judgement
        return judgement.rungs[0] if judgement and judgement.rungs else None

    @property
    def standing(self) -> float | None:
        """Its score; on a ladder the geometric mean of its ratios at the lowest rung."""
        return self.rung.mean if self.rung else self.row.score


def ancestry(facts: Facts, row: Row) -> list[Ancestor]:
    """The line of a cell, the eldest first and the cell itself last."""
    first: dict[str, Visit] = {}
    for visit in facts.visits:
        first.setdefault(visit.key, visit)
    numbered = {visit.number: visit for visit in facts.visits}
    rows = {row.key: row for row in facts.rows}
    line: list[Visit] = []
    elder: Visit | None = first[row.key]
    while elder is not None and elder.key in rows and elder.key not in {v.key for v in line}:
        line.insert(0, elder)
        parent = None if elder.parent is None else numbered.get(elder.parent)
        elder = None if parent is None else first[parent.key]
    ancestors: list[Ancestor] = []
    for visit in line:
        own, before = rows[visit.key], ancestors[-1] if ancestors else None
        change: tuple[str, ...] = ()
        if before:
            change = _change(before.visit, visit)
        made = Ancestor(visit, own, None, change)
        if before and made.standing is not None and before.standing is not None:
            made = replace(made, gain=made.standing - before.standing)
        ancestors.append(made)
    return ancestors


def _change(parent: "Visit", child: "Visit") -> tuple[str, ...]:
    """The lines that differ, without names and docstrings."""
    before, after = (
        str(renamed(loads(visit.cell), "cell", "")).splitlines() for visit in (parent, child)
    )
    return tuple(line for line in difflib.ndiff(before, after) if line[:1] in "+-")


def how(ancestor: Ancestor) -> str:
    """Where its cell came from, as the study noted it."""
    if ancestor.visit.kind == "given":
        return "given"
    about = loads(ancestor.visit.cell).doc
    if ancestor.visit.parent is None and not about:
        return "drawn at random or whole by the sampler"
    return " ".join(about.split()) or "another choice in the space of its parent"


def descent(facts: Facts, against: Facts | None) -> Section:
    """The ancestors of the winner."""
    best = facts.winner
    if best is None:
        return Section("Ancestry", (Text("No candidate has a score, so there is no winner."),))
    line = ancestry(facts, best)
    if len(line) == 1:
        alone = f"{best.name} has no parent in the study: {how(line[0]).rstrip('.')}."
        return Section("Ancestry", (Text(alone),))
    what = (
        "its geometric mean of the ratios to the GRU at rung 1, and its gain on its parent"
        if line[-1].rung
        else "the score of each at its last visit and its gain on its parent, which may have been "
        "tried on other settings"
    )
    caption = (
        f"The line of {best.name}, n = {len(line)} cells, {facts.seeds}: {what}. A line is chosen "
        "by where it ends, so its gains are flattered."
    )
    befores = [None, *line[:-1]]
    cards = [_card(facts, own, before) for own, before in zip(line, befores, strict=True)]
    return Section("Ancestry", (_figure(line, caption), *cards))


def _card(facts: Facts, ancestor: Ancestor, before: Ancestor | None) -> Card:
    row, visit, rung = ancestor.row, ancestor.visit, ancestor.rung
    standing = "no score" if row.score is None else f"score {row.score:.3f}"
    if rung:
        standing = f"{rung.mean:.3f} of the GRU at rung 1, {standing}"
    elif row.rejected:
        standing += f", rejected at {row.stage}"
    gain = "" if ancestor.gain is None else f", gain {ancestor.gain:+.3f}"
    title = f"{visit.name}, trial {visit.number}: {standing}{gain}"
    tried = f"n = {facts.seeds}, {facts.most_settings(row.key)} settings a task"
    about = [how(ancestor), *([_by_task(rung, before)] if rung else []), tried]
    return Card(title, about, "\n".join(ancestor.change) or visit.cell)


def _by_task(rung: Rung, before: Ancestor | None) -> str:
    """The ratios to the GRU at rung 1, each with its change from the parent's."""
    old = before.rung.ratios if before and before.rung else {}
    parts = [
        f"{task} {ratio:.2f}" + (f" ({ratio - old[task]:+.2f})" if task in old else "")
        for task, ratio in rung.ratios.items()
    ]
    return f"Ratios at rung 1: {', '.join(parts)}."


def _figure(line: Sequence[Ancestor], caption: str) -> Figure:
    """The standing of each ancestor; where one has none, nothing."""

    def draw(canvas: "Canvas") -> None:
        panel = canvas.subplots()
        scores = [math.nan if cell.standing is None else cell.standing for cell in line]
        panel.plot(range(len(line)), scores, "o-", color=BLUE)
        for place, cell in enumerate(line):
            if cell.gain is not None:
                label(panel, f"{cell.gain:+.3f}", (place, scores[place]), (0, 7), ha="center")
        panel.axhline(1, color=GREY, linestyle="--", linewidth=0.9)
        labels = [f"{cell.visit.name}\ntrial {cell.visit.number}" for cell in line]
        panel.set_xticks(range(len(line)), labels=labels, fontsize="small")
        if len(line) > 6:
            panel.tick_params(axis="x", labelrotation=60)
        panel.margins(x=0.1, y=0.2)
        panel.set_ylabel("ratio to the GRU at rung 1" if line[-1].rung else "score")

    return figure("ancestry", caption, (max(5.0, min(9.5, 1.5 * len(line))), 3.4), draw)
