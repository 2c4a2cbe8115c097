"""Scores against cost: the best so far against the cost of the search, by four measures, and cells
against size and time, with those that no other beats in both."""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.errors import counted
from nas.report.document import Figure, Part, Section, Table, Text
from nas.report.facts import Facts, number
from nas.report.figures import BLUE, GREEN, INK, ORANGE, figure, labels, level_lines
from nas.report.results import scores_without_network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

AXES = {
    "candidates": "candidates judged",
    "runs": "training runs",
    "flops": "FLOPs in training",
    "hours": "hours in training, summed over workers",
}
"""Measures of cost; that of given cells is counted, since a search begins with them."""


MANY = 300
"""Cells that are drawn small, or they would hide each other."""


@dataclass(frozen=True)
class Moment:
    """The cost so far when a candidate had been judged, in trial order."""

    candidates: int
    runs: int
    flops: float
    hours: float
    best: float | None
    """The best score of a candidate so far; None before the first is accepted."""


@dataclass(frozen=True)
class Arm:
    """One study in the race."""

    study: str
    sampler: str
    moments: tuple[Moment, ...]

    @property
    def label(self) -> str:
        return f"{self.study} ({self.sampler})"

    def best_at(self, axis: str, budget: float) -> float | None:
        """The best score at this cost."""
        costs = [float(getattr(moment, axis)) for moment in self.moments]
        place = bisect.bisect_right(costs, budget)
        return self.moments[place - 1].best if place else None

    def total(self, axis: str) -> float:
        return float(getattr(self.moments[-1], axis)) if self.moments else 0.0


def arm_of(facts: Facts) -> Arm:
    """The arm of a study. A cell that was tried on further settings counts with its new score."""
    scores: dict[str, float] = {}
    moments: list[Moment] = []
    runs, flops, seconds, best = 0, 0.0, 0.0, None
    for visit in sorted(facts.visits, key=lambda visit: (visit.kind == "drawn", visit.number)):
        costs = visit.all_summaries()
        runs += sum(cost.n_runs for cost in costs)
        flops += sum(cost.flops for cost in costs)
        seconds += sum(cost.wall_s for cost in costs)
        if visit.kind == "given" or visit.judgement is None:
            continue
        if visit.judgement.score is not None and visit.key not in facts.baselines:
            scores[visit.key] = visit.judgement.score
            best = max(scores.values())
        moments.append(Moment(len(moments) + 1, runs, flops, seconds / 3600, best))
    return Arm(facts.name, facts.config.sampler, tuple(moments))


def ties(arms: Sequence[Arm]) -> dict[str, tuple[float, list[float | None]]]:
    """By measure of cost: the largest cost that all arms reached, and the best score of each."""
    budgets = {axis: min(arm.total(axis) for arm in arms) for axis in AXES}
    return {axis: (b, [arm.best_at(axis, b) for arm in arms]) for axis, b in budgets.items()}


def differences(facts: Facts, other: Facts) -> list[str]:
    """The parts of two studies' definitions that differ, sampler and its fields aside."""
    mine, theirs = (arm.seen.study.attrs.get("definition", {}) for arm in (facts, other))
    names = [name for name in (*mine, *theirs) if name not in ("sampler", "evolution")]
    return [name for name in dict.fromkeys(names) if mine.get(name) != theirs.get(name)]


def race(facts: Facts, against: Facts | None) -> Section:
    """The best score so far against cost, the random arm beside it."""
    arms = [arm_of(study) for study in (facts, against) if study]
    counts = "; ".join(f"{arm.label}: n = {len(arm.moments):,} candidates" for arm in arms)
    caption = (
        f"The best score of a candidate so far, n = {facts.seeds} an arm ({counts}). Dashed: the "
        "baselines, which each arm trains first and whose cost is counted. A line falls where the "
        "best cell was tried on further settings and the GRU, on as many, gained more."
        f"{scores_without_network(facts)}"
    )
    baselines = {
        row.name: row.score
        for row in facts.rows
        if row.kind == "baseline" and row.score is not None
    }
    parts: list[Part] = [Text("No candidate has a score, so there is no line to draw.")]
    if any(moment.best is not None for arm in arms for moment in arm.moments):
        parts = [_race_figure(arms, baselines, caption)]
    if len(arms) > 1:
        rows = [
            (AXES[axis], f"{budget:.4g}", *map(number, best))
            for axis, (budget, best) in ties(arms).items()
        ]
        about = (
            "The best scores where both arms had spent as much; n = 1 search an arm; "
            '"-": no candidate had a score by then.'
        )
        parts.append(Table(about, ("cost", "spent", *(arm.label for arm in arms)), rows))
    parts += map(Text, _about_arms(facts, against))
    return Section("Best so far against cost", parts)


def _about_arms(facts: Facts, against: Facts | None) -> Iterator[str]:
    if facts.config.sampler == "random":
        yield "This study draws its candidates at random: it is the random arm of others."
    elif against is None or against.config.sampler != "random":
        yield (
            "The random arm is missing: nothing here says whether the sampler found more than "
            "random draws would have. Run the same configuration with --sampler random under "
            "another --study name, and give that study as --against. Whether the best cell is "
            f"better than the GRU is another question, which {facts.comparison} answers on fresh "
            "seeds."
        )
    if against is not None and (differs := differences(facts, against)):
        yield f"The arms are not the same experiment: they differ in {', '.join(differs)}."
    if against is not None:
        yield "One search an arm shows no difference between samplers: searches vary by chance."


def _race_figure(arms: Sequence[Arm], baselines: dict[str, float], caption: str) -> Figure:
    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(2, 2, sharey=True)
        for panel, (axis, name) in zip(panels.flat, AXES.items(), strict=True):
            for arm, colour in zip(arms, (BLUE, ORANGE), strict=False):
                known = [moment for moment in arm.moments if moment.best is not None]
                costs = [float(getattr(moment, axis)) for moment in known]
                best = [float(moment.best or 0) for moment in known]
                if known:  # to the end of what was spent
                    costs, best = [*costs, arm.total(axis)], [*best, best[-1]]
                panel.step(costs, best, where="post", color=colour, label=arm.label)
            level_lines(panel, baselines)
            panel.set_xlim(left=0)
            panel.set_xlabel(name)
        for panel in panels[:, 0]:
            panel.set_ylabel("best score so far")
        panels[0, 0].legend(loc="lower right", fontsize="small")

    return figure("best_so_far", caption, (9.5, 6), draw)


@dataclass(frozen=True)
class Measured:
    """A scored cell and its costs."""

    name: str
    key: str
    kind: str
    score: float
    n_params: int
    """Parameters of its largest model."""
    step_ms: float | None
    """See `Facts.step_ms`."""


def measured(facts: Facts) -> list[Measured]:
    """All scored cells, the best first."""
    return [
        Measured(row.name, row.key, row.kind, row.score, row.n_params, facts.step_ms(row.key))
        for row in facts.rows
        if row.score is not None
    ]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (cost, score) that no other beats: none costs less and scores as much,
    or scores more and costs as much. The cheapest first."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    places: list[int] = []
    for place in order:
        cost, score = points[place]
        if not places or score > points[places[-1]][1] or (cost, score) == points[places[-1]]:
            places.append(place)
    return places


def trade_offs(facts: Facts, against: Facts | None) -> Section:
    """Scores against parameters and time per step."""
    cells = measured(facts)
    caption = (
        f"n = {counted(len(cells), 'scored cell')}, {facts.seeds}. Parameter budgets are equal in "
        "a search, so parameters differ by what widths allow. Time is that of training, on the "
        "machine of the search, while its workers shared the cores. The line is the Pareto front: "
        "no cell on it costs more and scores less than another."
        f"{scores_without_network(facts)}"
    )
    timed = [cell for cell in cells if cell.step_ms is not None]
    best = [timed[i] for i in front([(cell.step_ms or 0.0, cell.score) for cell in timed])]
    rows = [
        (cell.name, cell.kind, number(cell.score), f"{cell.n_params:,}",
         number(cell.step_ms, ".2f"))
        for cell in best
    ]  # fmt: skip
    head = ("cell", "kind", "score", "parameters", "ms a minibatch")
    about = f"The Pareto front of score and time: {len(best)} of {len(cells):,} cells."
    figure = _trade_off_figure(cells, caption)
    return Section("Score against size and time", (figure, Table(about, head, rows)))


def _trade_off_figure(cells: Sequence[Measured], caption: str) -> Figure:
    def draw(canvas: "Canvas") -> None:
        left, right = canvas.subplots(1, 2, sharey=True)
        timed = [(cell.step_ms, cell) for cell in cells if cell.step_ms is not None]
        sized = [(float(cell.n_params), cell) for cell in cells]
        names = [scatter(left, sized), scatter(right, timed)]
        left.set_xlabel("parameters of the largest model")
        left.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        left.tick_params(axis="x", labelrotation=20)
        right.set_xlabel("ms of training a minibatch")
        left.set_ylabel("score")
        labelled(canvas, (left, right), names)

    return figure("trade_off", caption, (9.5, 4.4), draw)


def labelled(
    canvas: "Canvas", panels: "Sequence[Axes]", names: Sequence[list[tuple[str, float, float]]]
) -> None:
    """Write the legend of panels that `scatter` drew, and what it returned for each."""
    handles, kinds = panels[0].get_legend_handles_labels()
    if handles:
        canvas.legend(handles, kinds, loc="outside lower center", ncols=4, fontsize="small")
    for panel, texts in zip(panels, names, strict=True):
        labels(panel, texts)


def scatter(
    panel: "Axes", points: Sequence[tuple[float, Measured]]
) -> list[tuple[str, float, float]]:
    """Draw the cells and the front; return the names to be written, the best first."""
    for kind, colour in {"candidate": BLUE, "included": GREEN, "baseline": ORANGE}.items():
        some = [(cost, cell.score) for cost, cell in points if cell.kind == kind]
        if some:
            costs, scores = zip(*some, strict=True)
            size, alpha = (22, 0.75) if len(some) < MANY else (7, 0.4)
            panel.scatter(costs, scores, s=size, color=colour, label=kind, alpha=alpha)
    best = [points[i] for i in front([(cost, cell.score) for cost, cell in points])]
    lowest, highest = [cost for cost, _ in best], [cell.score for _, cell in best]
    panel.step(lowest, highest, where="post", color=INK, linewidth=0.9, label="Pareto front")
    named = {cell.key: (cost, cell) for cost, cell in points if cell.kind != "candidate"}
    named |= {cell.key: (cost, cell) for cost, cell in best}
    panel.margins(x=0.15, y=0.12)
    ranked = sorted(named.values(), key=lambda pair: pair[1].score, reverse=True)
    return [(cell.name, cost, cell.score) for cost, cell in ranked]
