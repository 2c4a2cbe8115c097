"""How well a study's score ranks cells, from what it measured of them twice.

The second measurements of `protocol.repeat` are the better source: the same settings with fresh
seeds of weights and data, of a fair sample. Without them, cells that the sampler visited again have
results on further settings, with the same seed; these say how far the choice of settings moves a
result, of the cells that the sampler liked. Without either, nothing is known, and the report says
how to know it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nas.errors import counted
from nas.protocol.judgement import Judgement, score_of
from nas.protocol.staged import Staged
from nas.protocol.statistic import planned_epochs, value_of
from nas.report.document import Part, Table, Text
from nas.report.statistics.intervals import Interval
from nas.report.statistics.reliability import FEWEST, FEWEST_PAIRS, Agreement, agreement, places
from nas.study.leaderboard import Places, Row
from nas.study.visit import Visit

Source = Literal["", "second measurements", "later visits"]
ABOUT = {
    "second measurements": "measured a second time on the same settings, with fresh seeds",
    "later visits": "that the sampler visited again, on further settings with the same seed",
}
UNKNOWN = (
    "How well the score ranks is not measured: --protocol.repeat 0.1, under a new --study name, "
    "measures a tenth of the scored candidates a second time."
)
AWAITED = "How well the score ranks is not known yet: fewer than two cells are measured twice."
MOST_NAMED = 5


@dataclass(frozen=True)
class Reliability:
    """The agreement of two measurements of a study's cells."""

    source: Source = ""
    score: Agreement | None = None
    tasks: Mapping[str, Agreement] = field(default_factory=dict)
    """By task, in the unit of what is compared."""
    is_planned: bool = False
    """Whether the protocol measures some candidates a second time."""

    @property
    def unknown(self) -> str:
        """What is said where no two measurements can be compared."""
        return AWAITED if self.is_planned else UNKNOWN

    @property
    def noise(self) -> float | None:
        """The difference of two scores below which it is noise; None if that is not known."""
        return self.score.noise if self.score else None


@dataclass(frozen=True)
class _Twice:
    """Two measurements of a cell: by task what is compared, and the score."""

    first: Mapping[str, float]
    second: Mapping[str, float]
    scores: tuple[float, float]


def reliability_of(protocol: Staged, rows: Sequence[Row], visits: Sequence[Visit]) -> Reliability:
    """What a study says of its own score; `rows` are its leaderboard."""
    twice = [pair for row in rows if (pair := _repeated(protocol, row)) is not None]
    source: Source = "second measurements"
    if len(twice) < 2:
        twice, source = list(_visited_again(protocol, visits)), "later visits"
    if len(twice) < 2:
        return Reliability(is_planned=protocol.config.repeat > 0)
    first, second = zip(*(pair.scores for pair in twice), strict=True)
    score = agreement(first, second, higher_is_better=True)
    tasks = {}
    for task in protocol.tasks:
        known = [p for p in twice if task.name in p.first and task.name in p.second]
        pairs = [[p.first[task.name] for p in known], [p.second[task.name] for p in known]]
        is_higher = protocol.statistic.higher_is_better(task)
        if of_task := agreement(*pairs, higher_is_better=is_higher):
            tasks[task.name] = of_task
    return Reliability(source, score, tasks)


def _repeated(protocol: Staged, row: Row) -> _Twice | None:
    """The second measurement of a cell, beside the first."""
    judgement = row.visit.judgement
    if judgement is None or judgement.score is None or not judgement.repeated_ratios:
        return None
    scores = (judgement.score, score_of(judgement.repeated_ratios, protocol.config.score))
    return _Twice(_compared(judgement), judgement.repeated, scores)


def _compared(judgement: Judgement) -> dict[str, float]:
    on = {task: judgement.on(task) for task in judgement.ratios}
    return {task: value for task, value in on.items() if value is not None}


def _visited_again(protocol: Staged, visits: Sequence[Visit]) -> Iterator[_Twice]:
    """The first and the second visit of each candidate that was scored at its first."""
    firsts: dict[str, Judgement] = {}
    for visit in visits:
        judgement = visit.judgement
        is_scored = judgement is not None and judgement.score is not None
        if visit.kind != "drawn" or judgement is None or not is_scored or judgement.rungs:
            continue  # visits at the rungs of a ladder have unequal budgets
        if visit.turn == 0:
            firsts[visit.key] = judgement
        elif visit.turn == 1 and visit.key in firsts:
            first = firsts[visit.key]
            second = _of_further_settings(protocol, visit)
            ratios = {
                task.name: first.ratios[task.name]
                * protocol.statistic.ratio(task, second[task.name], value)
                for task in protocol.tasks
                if task.name in second and (value := first.on(task.name)) is not None
            }
            if len(ratios) == len(protocol.tasks):
                formula = protocol.config.score
                scores = (score_of(first.ratios, formula), score_of(ratios, formula))
                yield _Twice(_compared(first), second, scores)


def _of_further_settings(protocol: Staged, visit: Visit) -> dict[str, float]:
    """What is compared on each task, of the settings of one visit alone."""
    found = {}
    for task in protocol.tasks:
        evaluated = [e for e in visit.evaluated.values() if e.task_version == task.version]
        outcomes = [outcome for e in evaluated for outcome in e.outcomes]
        n_epochs = planned_epochs(task, protocol.config.fidelity)
        value = value_of(task, outcomes, protocol.statistic, n_epochs)
        if value is not None:
            found[task.name] = value
    return found


# --- in words ---


def open_places(reliability: Reliability, rows: Sequence[Row]) -> Places:
    """The interval of the place of each scored cell, by its key; none where noise is not known."""
    known, scores = reliability.score, {r.key: r.score for r in rows if r.score is not None}
    if known is None or known.noise is None or not scores:
        return {}
    return places(scores, known.deviation)


def beside_leaderboard(reliability: Reliability, rows: Sequence[Row]) -> str:
    """A sentence on which differences of scores are noise, and which cells are tied with the
    best."""
    known, noise = reliability.score, reliability.noise
    if known is None:
        return reliability.unknown
    cells = f"{counted(known.n, 'cell')} {ABOUT[reliability.source]}"
    if noise is None:
        return f"How well the score ranks needs {FEWEST_PAIRS} cells or more; there are {cells}."
    scored = [row for row in rows if not row.rejected and row.kind != "baseline"]
    tied = [r.name for r in scored[1:] if (scored[0].score or 0) - (r.score or 0) < noise]
    more = f" and {len(tied) - MOST_NAMED:,} more" if len(tied) > MOST_NAMED else ""
    best = f"; tied with {scored[0].name} by that: {', '.join(tied[:MOST_NAMED])}{more}"
    ties = best if tied else ""
    return f"Differences of scores below {noise:.2g} are noise ({cells}){ties}."


def sentence(reliability: Reliability) -> str:
    """How well the score ranks, in one sentence."""
    known = reliability.score
    if known is None:
        return reliability.unknown
    about = f"n = {counted(known.n, 'cell')} {ABOUT[reliability.source]}"
    if known.tau is None:
        few = f"fewer than {FEWEST}" if known.n < FEWEST else "too many are equal"
        return f"How well the score ranks cannot be told: {few} ({about})."
    better = f", {shown(known.better)} over the better half" if known.better else ""
    return (
        f"How well the score ranks: Kendall's tau of two measurements {shown(known.tau)}{better} "
        f"({about})."
    )


def shown(tau: Interval | None) -> str:
    """Tau with its 95 % interval."""
    return f"{tau.mean:.2f} [{tau.low:.2f}, {tau.high:.2f}]" if tau else "-"


def lines(reliability: Reliability) -> Iterator[str]:
    """What `nas.status` says: a sentence, and a line for each task."""
    yield sentence(reliability)
    for name, of_task in reliability.tasks.items():
        noise = of_task.noise
        apart = "" if noise is None else f", differences below {noise:.2g} are noise"
        yield (
            f"  {name}: tau {shown(of_task.tau)}, better half {shown(of_task.better)}; standard "
            f"deviation of one measurement {of_task.deviation:.2g}{apart}"
        )


def table(named: Mapping[str, Agreement], caption: str) -> Table:
    """A row for each thing that was measured twice."""
    rows = [
        (
            name,
            str(one.n),
            shown(one.tau),
            shown(one.better),
            f"{one.deviation:.3g}",
            "-" if one.noise is None else f"{one.noise:.3g}",
        )
        for name, one in named.items()
    ]
    head = ("of", "cells", "tau", "tau, better half", "standard deviation", "noise below")
    return Table(caption, head, rows)


CAPTION = (
    "Kendall's tau of a first and a second measurement, 1 the same order and 0 chance, with 95 % "
    "intervals (percentile bootstrap over cells); the better half is chosen by the first "
    "measurement. "
    "Deviations are those of one measurement of one cell, in its own unit; two measurements of one "
    "cell are apart by less than the last column in 95 % of cases."
)


def parts(reliability: Reliability) -> list[Part]:
    """The sentence and the table."""
    told = Text(sentence(reliability))
    if reliability.score is None:
        return [told]
    named = {"score": reliability.score, **reliability.tasks}
    return [told, table(named, CAPTION)]
