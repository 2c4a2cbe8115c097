"""The drawings of a report; matplotlib is imported only for this.

Each is drawn once and written twice, as SVG whose text stays text and as PNG; the same numbers give
the same bytes.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.report.ancestry import Ancestor
from nas.report.document import Figure
from nas.report.endings import Stage
from nas.report.front import Measured, front
from nas.report.hyperparameters import Effects
from nas.report.race import AXES, Arm
from nas.tasks.levels import Levels

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

INK, GREY, BLUE, ORANGE, GREEN = "#222222", "#8a8a8a", "#2b6cb0", "#c2571a", "#2f7d4f"
ARMS = (BLUE, ORANGE)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#ececec",
    "axes.axisbelow": True,
    "text.parse_math": False,
}
DPI = 130


def _figure(
    name: str, caption: str, size: tuple[float, float], draw: Callable[..., None]
) -> Figure:
    """Let `draw` fill a figure of so many inches, and write it."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=size, layout="constrained")
        draw(canvas)
        written = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.savefig(written, format="svg", metadata=nothing)
        picture = io.BytesIO()
        canvas.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    svg = _inline(written.getvalue().decode(), name)
    return Figure(name, caption, picture.getvalue(), svg)


def _inline(text: str, name: str) -> str:
    """As an element of a page: without prologue and namespaces, which HTML knows, and with names
    of its own."""
    text = text[text.index("<svg") :]
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def race(arms: Sequence[Arm], lines: dict[str, float], caption: str) -> Figure:
    """The best score so far against each measure of cost; `lines` are scores of given cells."""

    def draw(canvas: "matplotlib.figure.Figure") -> None:
        panels = canvas.subplots(2, 2, sharey=True)
        for panel, (axis, label) in zip(panels.flat, AXES.items(), strict=True):
            for arm, colour in zip(arms, ARMS, strict=False):
                known = [m for m in arm.moments if m.best is not None]
                costs = [float(getattr(m, axis)) for m in known]
                best = [float(m.best or 0) for m in known]
                if known:  # to the end of what was spent
                    costs, best = [*costs, arm.total(axis)], [*best, best[-1]]
                panel.step(costs, best, where="post", color=colour, label=arm.label)
            _levels(panel, lines)
            panel.set_xlim(left=0)
            panel.set_xlabel(label)
        for panel in panels[:, 0]:
            panel.set_ylabel("best score so far")
        panels[0, 0].legend(loc="lower right", fontsize="small")

    return _figure("best_so_far", caption, (9.5, 6), draw)


def _levels(panel: "Axes", lines: dict[str, float], *, named: bool = True) -> None:
    """A dashed line for each given cell, its name at the right."""
    for name, score in lines.items():
        panel.axhline(score, color=GREY, linestyle="--", linewidth=0.9)
        if not named:
            continue
        panel.annotate(
            name,
            (1, score),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
            fontsize="small",
        )


def trade_off(cells: Sequence[Measured], caption: str) -> Figure:
    """Scores against parameters and against time, with the front of each."""

    def draw(canvas: "matplotlib.figure.Figure") -> None:
        left, right = canvas.subplots(1, 2, sharey=True)
        _scatter(left, [(float(one.n_params), one) for one in cells])
        _scatter(right, [(one.step_ms, one) for one in cells if one.step_ms is not None])
        left.set_xlabel("parameters of the largest model")
        left.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        left.tick_params(axis="x", labelrotation=20)
        right.set_xlabel("ms of training a minibatch")
        left.set_ylabel("score")

    return _figure("trade_off", caption, (9.5, 4.2), draw)


def _scatter(panel: "Axes", points: Sequence[tuple[float, Measured]]) -> None:
    shades = {"candidate": BLUE, "included": GREEN, "baseline": ORANGE}
    for kind, colour in shades.items():
        some = [(cost, one.score) for cost, one in points if one.kind == kind]
        if some:
            costs, scores = zip(*some, strict=True)
            panel.scatter(costs, scores, s=22, color=colour, label=kind, alpha=0.75)
    best = [points[i] for i in front([(cost, one.score) for cost, one in points])]
    panel.step(
        [cost for cost, _ in best],
        [one.score for _, one in best],
        where="post",
        color=INK,
        linewidth=0.9,
        label="Pareto front",
    )
    named = {one.key: (cost, one) for cost, one in points if one.kind != "candidate"}
    named |= {one.key: (cost, one) for cost, one in best}
    for cost, one in named.values():
        panel.annotate(
            one.name,
            (cost, one.score),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize="small",
        )
    panel.margins(x=0.15, y=0.12)
    panel.legend(fontsize="small", loc="lower right")


def stages(found: Sequence[Stage], caption: str) -> Figure:
    """A bar a stage: how many candidates came so far, and how many of them ended there."""

    def draw(canvas: "matplotlib.figure.Figure") -> None:
        panel = canvas.subplots()
        for place, one in enumerate(found):
            passed = one.reached - one.rejected
            panel.barh(place, passed, color=BLUE)
            panel.barh(place, one.rejected, left=passed, color="#d9d9d9")
            said = f"{one.reached:,}" + (f", {one.rejected:,} rejected" if one.rejected else "")
            panel.annotate(
                said,
                (one.reached, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        panel.set_yticks(range(len(found)), labels=[one.name for one in found])
        panel.invert_yaxis()
        panel.grid(axis="y", visible=False)
        panel.margins(x=0.25)
        panel.set_xlabel("candidates")

    return _figure("stages", caption, (8, 0.6 + 0.42 * len(found)), draw)


def marginals(effects: Sequence[Effects], levels: Mapping[str, Levels], caption: str) -> Figure:
    """A row a task, a column a hyperparameter: the metric at each value, beside its levels."""
    names = list(dict.fromkeys(name for one in effects for name in one.marginals))

    def draw(canvas: "matplotlib.figure.Figure") -> None:
        panels = canvas.subplots(len(effects), len(names), squeeze=False, sharey="row")
        for line, one in zip(panels, effects, strict=True):
            for panel, name in zip(line, names, strict=True):
                _marginal(panel, one, name)
            line[0].set_ylabel(f"{one.task.name}, {one.task.metric.name}")
            _simple(line, levels[one.task.name])

    return _figure("marginals", caption, (2.9 * len(names) + 0.6, 2.3 * len(effects)), draw)


def _simple(panels: Sequence["Axes"], levels: Levels) -> None:
    """A dashed line for each level; those off the scale are named at its edge with an arrow."""
    low, high = panels[0].get_ylim()
    within = {one.name: one.value for one in levels.shown if low <= one.value <= high}
    last = [panel for panel in panels if panel.get_visible()][-1]
    for panel in panels:
        _levels(panel, within, named=panel is last)
    for arrow, y, off in (
        ("↑", 1.0, [one for one in levels.shown if one.value > high]),
        ("↓", 0.0, [one for one in levels.shown if one.value < low]),
    ):
        last.annotate(
            "\n".join(f"{arrow} {one.name}\n   {one.value:.3g}" for one in off),
            (1, y),
            xycoords="axes fraction",
            xytext=(3, 0),
            textcoords="offset points",
            va="top" if y else "bottom",
            color=GREY,
            fontsize="small",
        )
    panels[0].set_ylim(low, high)


def _marginal(panel: "Axes", effects: Effects, name: str) -> None:
    found = [one for one in effects.marginals.get(name, ()) if one.n]
    if not found:
        panel.set_visible(False)
        return
    boxes = panel.boxplot(
        [one.values for one in found],
        whis=(0, 100),
        widths=0.55,
        patch_artist=True,
        medianprops={"color": INK},
    )
    for box in boxes["boxes"]:
        box.set(facecolor="#cfe0f2", edgecolor=BLUE)
    labels = [f"{one.value:g}\nn {one.n:,}" for one in found]
    panel.set_xticks(range(1, 1 + len(found)), labels=labels, fontsize="small")
    share = effects.importances.get(name)
    title = name if share is None else f"{name} ({share:.0%})"
    panel.set_title(title, fontsize="medium")


def line_of_descent(line: Sequence[Ancestor], caption: str) -> Figure:
    """The score of each ancestor; where one was rejected, nothing."""

    def draw(canvas: "matplotlib.figure.Figure") -> None:
        panel = canvas.subplots()
        scores = [math.nan if one.row.score is None else one.row.score for one in line]
        panel.plot(range(len(line)), scores, "o-", color=BLUE)
        for place, one in enumerate(line):
            if one.gain is not None:
                panel.annotate(
                    f"{one.gain:+.3f}",
                    (place, scores[place]),
                    xytext=(0, 7),
                    textcoords="offset points",
                    ha="center",
                )
        panel.axhline(1, color=GREY, linestyle="--", linewidth=0.9)
        labels = [f"{one.visit.name}\ntrial {one.visit.number}" for one in line]
        panel.set_xticks(range(len(line)), labels=labels, fontsize="small")
        if len(line) > 6:
            panel.tick_params(axis="x", labelrotation=60)
        panel.margins(x=0.1, y=0.2)
        panel.set_ylabel("score")

    return _figure("ancestry", caption, (max(5.0, min(9.5, 1.5 * len(line))), 3.4), draw)
