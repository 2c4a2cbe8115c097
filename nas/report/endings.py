"""How candidates and training runs ended, what was known already, and what shortcuts saved."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.errors import counted
from nas.protocol.constraints import read
from nas.protocol.judgement import CONSTRAINTS
from nas.report import forecast
from nas.report.document import Figure, Items, Part, Section, Table, Text
from nas.report.facts import Facts, number
from nas.report.figures import BLUE, figure, label
from nas.study.rejections import reasons, set_aside, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


MEANINGS = {
    "ok": "trained to its end",
    "cut": "ended early, since others were preferred to it at a first look or a rung",
    "vetoed": "not begun, since the cell is dead or explodes at its initialisation",
    "diverged": "the loss or a gradient was not finite",
    "failed": "an error in training",
    "crashed": "its worker died each time that it was tried",
    "out of memory": "it needed more memory than there is",
    "timed out": "it took longer than the limit",
}
"""The meaning of each status of a training run."""
MOST_MESSAGES = 20


@dataclass(frozen=True)
class Stage:
    """A step of the funnel."""

    name: str
    reached: int
    """Candidates that came so far."""
    rejected: int
    """Candidates that ended here."""
    cut: int
    """Rejected candidates that ended at a first look."""
    aside: int
    """Rejected candidates that were set aside because they ended their workers."""


def funnel(facts: Facts) -> list[Stage]:
    """The stages in order, of judged candidates at their first visits; the last is "scored"."""
    judged = [v.judgement for v in facts.drawn if v.judgement and not v.turn]
    left, stages = len(judged), []
    limited = [CONSTRAINTS] if facts.config.constraint else []
    for name in (*limited, *(task.name for task in facts.tasks)):
        ended = [judgement for judgement in judged if judgement.stage == name]
        cut = sum(judgement.cut for judgement in ended)
        aside = sum(bool(judgement.set_aside) for judgement in ended)
        stages.append(Stage(name, left, len(ended), cut, aside))
        left -= len(ended)
    return [*stages, Stage("scored", left, 0, 0, 0)]


def stages(facts: Facts, against: Facts | None) -> Section:
    """The funnel."""
    steps = funnel(facts)
    n = steps[0].reached
    caption = (
        f"How far candidates came, at their first visits (n = {n:,} judged): grey ended at the "
        "stage."
    )
    rows = [
        (step.name, f"{step.reached:,}", f"{step.rejected:,}", f"{step.cut:,}", f"{step.aside:,}")
        for step in steps
    ]
    head = ("stage", "reached", "rejected", "of these at a first look", "set aside")
    table = Table(f"The same in numbers, n = {n:,}.", head, rows)
    return Section("Stages", (_figure(steps, caption), table, *_constraints(facts)))


def _constraints(facts: Facts) -> list[Part]:
    """How many candidates break each constraint."""
    if not facts.config.constraint:
        return []
    judged = [visit.judgement for visit in facts.drawn if visit.judgement and not visit.turn]
    broken = Counter(text for judgement in judged for text in judgement.broken)
    rows = [
        (text, f"{broken[text]:,}", f"{len(judged):,}")
        for text in map(str, read(facts.config.constraint))
    ]
    caption = (
        "Candidates that break a constraint and so were not trained; one that breaks several is "
        "counted with each."
    )
    return [Table(caption, ("constraint", "broken by", "of"), rows)]


def _figure(steps: Sequence[Stage], caption: str) -> Figure:
    """A bar a stage: how many candidates came so far, and how many of them ended there."""

    def draw(canvas: "Canvas") -> None:
        panel = canvas.subplots()
        for place, step in enumerate(steps):
            passed = step.reached - step.rejected
            panel.barh(place, passed, color=BLUE)
            panel.barh(place, step.rejected, left=passed, color="#d9d9d9")
            rejected = f", {step.rejected:,} rejected" if step.rejected else ""
            label(panel, f"{step.reached:,}{rejected}", (step.reached, place), (4, 0), va="center")
        panel.set_yticks(range(len(steps)), labels=[step.name for step in steps])
        panel.invert_yaxis()
        panel.grid(axis="y", visible=False)
        panel.margins(x=0.25)
        panel.set_xlabel("candidates")

    return figure("stages", caption, (8, 0.6 + 0.42 * len(steps)), draw)


def shortcuts(facts: Facts, against: Facts | None) -> Section:
    """The savings of first looks, vetoes and forecasts, and how far they can be trusted."""
    from nas.study import shortcuts as saved  # it imports scipy.stats, which takes a second

    lines = saved.lines(facts.protocol, facts.visits)
    lines += [worth] if (worth := forecast.sentence(facts.visits)) else []
    if not lines:
        return Section("Shortcuts", (Text("No run was ended early: the study has no shortcuts."),))
    head = ("task", "cut", "trained to the end", "rank correlation", "audited", "doubted",
            "of these passed")  # fmt: skip
    rows = [
        (look.task, f"{look.n_cut:,}", f"{look.n_whole:,}", number(look.rank_correlation, ".2f"),
         f"{look.n_audited:,}", f"{look.n_doubted:,}", f"{look.n_wrong:,}")
        for look in saved.looks(facts.protocol, facts.visits)
    ]  # fmt: skip
    table = Table(
        "First looks, by task: candidates that were cut there and others, Spearman's correlation "
        "of the metric at the look and at the end over those trained to the end (the better ones, "
        "so it says less than the audited, which are a fair sample).",
        head,
        rows,
    )
    return Section("Shortcuts", (Items(lines), *([table] if rows else [])))


@dataclass(frozen=True)
class Cached:
    """Counts of cells and outcomes that were known and not trained again."""

    n_visits: int
    """Visits of candidates."""
    n_cells: int
    """Different cells among them."""
    n_again: int
    """Visits that try a known cell on further settings."""
    n_redrawn: int
    """Draws of the sampler that were known already and were drawn again."""
    n_answered: int
    """Visits of a known cell that were answered from stored outcomes."""


def cached(facts: Facts) -> Cached:
    """The counts of all draws and visits of candidates."""
    drawn, known, n_answered = facts.drawn, {v.key for v in facts.visits if v.kind == "given"}, 0
    for visit in drawn:
        answered = visit.judgement is not None and not visit.all_summaries()
        n_answered += visit.key in known and not visit.turn and answered
        known.add(visit.key)
    n_again = sum(visit.turn > 0 for visit in drawn)
    n_redrawn = sum(visit.n_draws - 1 for visit in drawn)
    return Cached(len(drawn), len({v.key for v in drawn}), n_again, n_redrawn, n_answered)


def statuses(facts: Facts) -> dict[str, Counter[str]]:
    """How many runs of each task ended how."""
    counts: dict[str, Counter[str]] = {task.name: Counter() for task in facts.tasks}
    for run in facts.runs:
        counts.setdefault(run.task, Counter())[run.outcome.status] += 1
    return counts


def messages(facts: Facts) -> list[tuple[str, str, int, str]]:
    """The messages of runs that did not end well: status, message, how many, one of the cells."""
    names = {visit.key: visit.name for visit in facts.visits}
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for run in facts.runs:
        status = run.outcome.status
        message = shortened(run.outcome.message).partition(" at step ")[0]  # each has its own step
        if status not in ("ok", "cut") and message:
            counts[status, message] += 1
            examples.setdefault((status, message), names.get(run.key, run.key))
    return [(*kind, count, examples[kind]) for kind, count in counts.most_common()]


def endings(facts: Facts, against: Facts | None) -> Section:
    """The cells and runs that were cached, failed or pruned, and the reasons."""
    known = cached(facts)
    items = (
        f"candidates: {counted(known.n_visits, 'visit')} of "
        f"{counted(known.n_cells, 'different cell')}",
        f"known before: {counted(known.n_redrawn, 'draw')} of the sampler gave a known cell and "
        f"were drawn again, {counted(known.n_answered, 'visit')} of a known cell were answered "
        "from stored outcomes, without training",
        f"further settings: {counted(known.n_again, 'visit')} tried a known cell again; outcomes "
        "that were known were not trained a second time",
    )
    parts: list[Part] = [Items(items), _runs(facts)]
    rejected = reasons([v for v in facts.drawn if v.judgement and not v.judgement.set_aside])
    if rejected:
        n = sum(len(reason.visits) for reason in rejected)
        rows = [(f"{len(reason.visits):,}", reason.text, reason.named()) for reason in rejected]
        head = ("visits", "reason", "newest")
        parts.append(Table(f"Why {n:,} visits were rejected.", head, rows))
    if aside := [line.strip() for line in set_aside(facts.drawn)]:
        parts.append(Items(aside))
    if texts := messages(facts):
        shown = [(s, f"{n:,}", name, text) for s, text, n, name in texts[:MOST_MESSAGES]]
        caption = f"Messages of runs that did not end well: {len(shown)} of {len(texts)}."
        parts.append(Table(caption, ("status", "runs", "such as", "message"), shown))
    return Section("Cached, failed, pruned", parts)


def _runs(facts: Facts) -> Table:
    counts = statuses(facts)
    rows = [
        (status, *(f"{of_task[status]:,}" for of_task in counts.values()), meaning)
        for status, meaning in MEANINGS.items()
        if any(of_task[status] for of_task in counts.values())
    ]
    caption = f"How training runs ended, n = {len(facts.runs):,}, those of given cells included."
    return Table(caption, ("status", *counts, "which is"), rows)
