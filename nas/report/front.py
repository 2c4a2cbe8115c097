"""Several objectives: the front, and how its hypervolume grew with the cost of the search."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.errors import counted
from nas.protocol.judgement import Judgement
from nas.protocol.objectives import SCORE, TWIN, UNITS, losses_of, told_name
from nas.protocol.objectives import front as protocol_front
from nas.report.cost import Measured, labelled, measured, scatter
from nas.report.document import Figure, Part, Section, Table, Text
from nas.report.facts import Facts, number
from nas.report.figures import BLUE, GREY, ORANGE, figure
from nas.study.front import front_of, short, shown, sizes
from nas.study.leaderboard import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from nas.study.visit import Visit

WORST_COST = 2.0
"""The reference point's costs, in units of the GRU's; its score is the share of the GRU's that a
candidate must reach, protocol.pass_ratio."""
DEVIATIONS = 1.96
"""Standard deviations of one measurement on each side of a score: an interval of 95 %."""


def front(facts: Facts, against: Facts | None) -> Section:
    """The front in pictures and numbers, and its hypervolume against cost."""
    names = facts.config.objectives
    rows = front_of(facts.rows, names)
    if not rows:
        return Section("Front", ())
    parts: list[Part] = [Text(_about(facts)), _front_figure(facts, rows), _table(facts, rows)]
    arms = [facts, *([against] if against and against.config.objectives == names else [])]
    if hypervolume(facts) is not None:
        parts += [_growth_figure(arms), *_at_equal_cost(arms)]
    return Section("Front", parts)


def _about(facts: Facts) -> str:
    names = facts.config.objectives
    twins = [f"{name} is measured, and {TWIN[name]} are told" for name in names if name in TWIN]
    why = f" ({'; '.join(twins)} in its place, so that a seed repeats the front)" if twins else ""
    return (
        f"The objectives are {', '.join(names)}{why}. No cell on the front is beaten by another in "
        "all of them; GRU and LSTM may be on it. Sizes are of the models of each cell's best "
        "settings, the largest over the tasks."
    )


def _table(facts: Facts, rows: Sequence[Row]) -> Table:
    names = facts.config.objectives
    heads = [short(name) for name in sizes(rows[0], names)]
    shown_rows = [
        (row.name, row.kind, number(row.score),
         *(shown(name, value) for name, value in sizes(row, names).items()))
        for row in rows
    ]  # fmt: skip
    scored = sum(not row.rejected for row in facts.rows)
    caption = f"The front: {len(rows)} of {counted(scored, 'scored cell')}, n = {facts.seeds}."
    return Table(caption, ("cell", "kind", SCORE, *heads), shown_rows)


def _front_figure(facts: Facts, rows: Sequence[Row]) -> Figure:
    """A panel for each further objective, with the front of the two numbers in it."""
    names = facts.config.objectives
    known = None if facts.reliability.noise is None else facts.reliability.score
    scored = [row for row in facts.rows if row.may_win or row.kind == "baseline"]
    cells = {cell.key: cell for cell in measured(facts)}
    bars = "."
    if known is not None:
        bars = (
            f"; bars: 95 % intervals of a score over seeds, from {known.n} cells that were "
            "measured twice."
        )
    caption = (
        f"Scores against each further objective, {counted(len(scored), 'scored cell')} within the "
        f"constraints, n = {facts.seeds}; the line joins cells that no other beats in these two "
        f"numbers{bars}"
    )

    def draw(canvas: "Canvas") -> None:
        wanted = list(sizes(rows[0], names))
        panels = canvas.subplots(1, len(wanted), sharey=True, squeeze=False)[0]
        texts = []
        for panel, name in zip(panels, wanted, strict=True):
            values = [(sizes(row, names)[name], row) for row in scored]
            points = [(value, cells[row.key]) for value, row in values if value is not None]
            texts.append(scatter(panel, points))
            if known is not None:
                _bars(panel, points, {row.key for row in rows}, DEVIATIONS * known.deviation)
            panel.set_xlabel(UNITS[name])
        panels[0].set_ylabel(SCORE)
        labelled(canvas, panels, texts)

    return figure("front", caption, (4.75 * len(sizes(rows[0], names)), 4.4), draw)


def _bars(
    panel: "Axes", points: Sequence[tuple[float, Measured]], keys: set[str], half: float
) -> None:
    """The interval of the score of each cell on the front, and of the baselines but the GRU."""
    for value, cell in points:
        if cell.score != 1.0 and (cell.key in keys or cell.kind == "baseline"):
            panel.errorbar(value, cell.score, half, color=GREY, linewidth=0.8, capsize=2)


# --- hypervolume ---


@dataclass(frozen=True)
class Growth:
    """The hypervolume of a study's front when a candidate had been judged, in trial order."""

    flops: float
    hypervolume: float


def _volume(facts: Facts, judgements: Sequence[Judgement]) -> float | None:
    """The hypervolume of a front; None if the GRU has no sizes to measure by."""
    import numpy as np
    from optuna._hypervolume import compute_hypervolume

    gru = facts.row_of(facts.baselines[0])
    of_gru = gru.visit.judgement.sizes if gru and gru.visit.judgement else {}
    told = [told_name(name) for name in facts.config.objectives[1:]]
    if not told or not all(of_gru.get(name) for name in told):
        return None
    worst = np.array([-facts.config.protocol.pass_ratio, *[WORST_COST] * len(told)])
    points = [
        [-(one.score or 0.0), *(one.sizes[name] / of_gru[name] for name in told)]
        for one in judgements
    ]
    inside = np.array([point for point in points if (np.array(point) <= worst).all()])
    return float(compute_hypervolume(inside, worst)) if len(inside) else 0.0


def hypervolume(facts: Facts) -> float | None:
    """The hypervolume of a study's front; None with one objective."""
    rows = front_of(facts.rows, facts.config.objectives)
    return _volume(facts, [row.visit.judgement for row in rows if row.visit.judgement])


def growth(facts: Facts) -> Iterator[Growth]:
    """The hypervolume against the operations of all training so far, given cells first; a step
    where it changes, and one at the end."""
    names, flops, volume = facts.config.objectives, 0.0, None
    known: dict[str, Visit] = {}
    found: list[Judgement] = []
    for visit in sorted(facts.visits, key=lambda visit: (visit.kind == "drawn", visit.number)):
        flops += sum(cost.flops for cost in visit.all_summaries())
        own, before = visit.judgement, known.get(visit.key)
        if own is None or own.score is None or own.broken or not own.sizes:
            continue
        if before is not None and visit.turn <= before.turn:
            continue
        known[visit.key] = visit
        # A cell that was measured again may have left the front to others.
        judged = (other.judgement for other in known.values())
        able = [one for one in judged if one] if before else [*found, own]
        new = protocol_front(able, lambda one: losses_of(one, names))
        if new != found:
            found, volume = new, _volume(facts, new)
            if volume is not None:
                yield Growth(flops, volume)
    if volume is not None:
        yield Growth(flops, volume)


def _point(facts: Facts) -> str:
    least = facts.config.protocol.pass_ratio
    return f"score {least:g} and {WORST_COST:g} times the GRU's {', '.join(_told(facts))}"


def _told(facts: Facts) -> list[str]:
    return list(dict.fromkeys(told_name(name) for name in facts.config.objectives[1:]))


def _growth_figure(arms: Sequence[Facts]) -> Figure:
    caption = (
        f"The hypervolume between the front and the reference point ({_point(arms[0])}), in units "
        "of the GRU's, against the operations of all training so far, GRU and LSTM included; n = 1 "
        "search an arm."
    )

    def draw(canvas: "Canvas") -> None:
        panel = canvas.subplots()
        for arm, colour in zip(arms, (BLUE, ORANGE), strict=False):
            steps = list(growth(arm))
            label = f"{arm.name} ({arm.config.sampler})"
            costs, volumes = [s.flops for s in steps], [s.hypervolume for s in steps]
            panel.step(costs, volumes, where="post", color=colour, label=label)
        panel.set_xlim(left=0)
        panel.set_xlabel("FLOPs in training")
        panel.set_ylabel("hypervolume")
        panel.legend(loc="lower right", fontsize="small")

    return figure("hypervolume", caption, (6.5, 3.8), draw)


def at_cost(steps: Sequence[Growth], flops: float) -> float:
    """The hypervolume at a cost; 0 before the first."""
    return max((step.hypervolume for step in steps if step.flops <= flops), default=0.0)


def _at_equal_cost(arms: Sequence[Facts]) -> Iterator[Part]:
    """The hypervolume of each arm at the cost that all reached."""
    steps = [list(growth(arm)) for arm in arms]
    cost = min(of_arm[-1].flops for of_arm in steps)
    head = ("arm", "FLOPs", "hypervolume")
    rows = [
        (f"{arm.name} ({arm.config.sampler})", f"{cost:.4g}", f"{at_cost(of_arm, cost):.4f}")
        for arm, of_arm in zip(arms, steps, strict=True)
    ]
    yield Table("The hypervolume where all arms had spent as much.", head, rows)
