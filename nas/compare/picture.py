"""A comparison as pictures; matplotlib is imported only for them.

Boxes and marginals of many settings are after figures 3 and 4 of Greff et al. 2015.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.compare.drawn import Axis
from nas.compare.result import Comparison, Measured, OnTask, limited
from nas.report.statistics.anova import Marginal
from nas.report.statistics.intervals import Interval
from nas.tasks.levels import Levels

CLAIMED, UNCLAIMED, SEED, LEVEL = "C0", "0.55", "0.75", "0.45"
"""Colours: a difference that is claimed, one that is not, single seeds, what needs no network."""
FIRST, ALIKE = "0.35", "0.85"
"""Colours of boxes: the first cell, one that does not differ from it."""
TICKS = (0.0, 0.5, 1.0)
"""Places between the ends of what was drawn."""


def figures(comparison: Comparison) -> list[Figure]:
    """All pictures, in the order of `report.pictures`."""
    if comparison.n_best:
        return [_boxes(comparison), _marginals(comparison)]
    return [_intervals(comparison)]


def _panels(comparison: Comparison, columns: int, width: float) -> tuple[Figure, Any]:
    """A figure with a line of panels a task, high enough for a row a cell."""
    n_rows = len(comparison.cells) + max(len(on.levels.shown) for on in comparison.tasks)
    height = (1.3 + 0.32 * n_rows) * len(comparison.tasks)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(len(comparison.tasks), columns, squeeze=False)


def _intervals(comparison: Comparison) -> Figure:
    """A line of panels a task: the metric of each cell, then its differences to GRU and LSTM."""
    columns = 1 + max(len(on.against) for on in comparison.tasks)
    figure, panels = _panels(comparison, columns, 3.6 * columns)
    for line, on in zip(panels, comparison.tasks, strict=True):
        _metrics(line[0], on)
        for panel, baseline in zip(line[1:], on.against, strict=True):
            _differences(panel, on, baseline)
    n = len(comparison.seeds)
    figure.suptitle(
        f"{comparison.study}: test split, {n} seed{'' if n == 1 else 's'}, 95 % intervals",
        fontsize="medium",
    )
    return figure


def _metrics(panel: Axes, on: OnTask) -> None:
    """Mean and interval of each cell, on top of its seeds."""
    for place, cell in enumerate(on.cells):
        panel.plot(cell.values, [place] * len(cell.values), "|", color=SEED, markersize=8)
        if cell.mean is not None:
            _interval(panel, cell.mean, place, "k")
    simple_rows(panel, on.levels, len(on.cells))
    _rows(panel, on, named=True)
    panel.locator_params(axis="x", nbins=5)
    panel.set_xlabel(on.task.metric.unit, fontsize="small")
    panel.set_title(f"{on.task.name}: {on.task.metric.name}", fontsize="small")


def simple_rows(panel: Axes, levels: Levels, first: int) -> None:
    """A row for each predictor without a network, from the place `first` on. Where one is far off,
    an arrow at the edge and its value: a scale that held it would hide what cells differ by."""
    panel.margins(x=0.1)
    low, high = panel.get_xlim()
    for place, level in enumerate(levels.shown, start=first):
        right, text = level.value > (low + high) / 2, f"{level.value:.4g}"
        if low <= level.value <= high:
            panel.plot([level.value], [place], "D", color=LEVEL, markersize=4)
        else:
            text = f"{text} →" if right else f"← {text}"
        panel.annotate(
            text,
            (min(max(level.value, low), high), place),
            xytext=(-6 if right else 6, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            color=LEVEL,
            fontsize="small",
        )
    panel.set_xlim(low, high)


def _differences(panel: Axes, on: OnTask, baseline: str) -> None:
    for place, cell in enumerate(on.cells):
        pair = on.against[baseline].get(cell.name)
        if pair is not None and pair.gain is not None:
            _interval(panel, pair.gain, place, CLAIMED if pair.is_claimed else UNCLAIMED)
    panel.axvline(0, color="k", linewidth=0.8)
    _rows(panel, on, named=False)
    panel.locator_params(axis="x", nbins=5)
    panel.set_xlabel("better by; blue: claimed", fontsize="small")
    panel.set_title(f"{on.task.name}: against {baseline}", fontsize="small")


def _interval(panel: Axes, interval: Interval, place: int, colour: str) -> None:
    reach = ([interval.mean - interval.low], [interval.high - interval.mean])
    panel.errorbar([interval.mean], [place], xerr=reach, fmt="o", color=colour, capsize=2)


def _rows(panel: Axes, on: OnTask, *, named: bool, first: int = 0) -> None:
    """The first cell on top, at the place `first`; below what needs no network."""
    names = [cell.name for cell in on.cells] + [level.name for level in on.levels.shown]
    places = range(first, first + len(names))
    panel.set_yticks(places, labels=names if named else [""] * len(names))
    panel.set_ylim(first + len(names) - 0.5, first - 0.5)
    panel.tick_params(labelsize="small")


def _boxes(comparison: Comparison) -> Figure:
    """A line of two panels a task: all runs of each cell on test, and the best on validation.

    Below the cells, and as lines through them, what needs no network.
    """
    figure, panels = _panels(comparison, 2, 9.0)
    for (left, right), on in zip(panels, comparison.tasks, strict=True):
        every = [[limited(on.task, run.test) for run in cell.runs] for cell in on.cells]
        name = f"{on.task.name}: {on.task.metric.name}"
        box_rows(left, on, every, f"{name}, all {comparison.tuning} settings", named=True)
        best = [cell.values for cell in on.cells]
        box_rows(right, on, best, f"the {comparison.n_best} best on validation", named=False)
    figure.suptitle(
        f"{comparison.study}: test split; blue: differs from {comparison.first} (Welch, corrected)",
        fontsize="medium",
    )
    return figure


def box_rows(
    panel: Axes, on: OnTask, values: Sequence[Sequence[float]], title: str, *, named: bool
) -> None:
    """A box for each cell, from the smallest to the largest value."""
    drawn = panel.boxplot(
        values, orientation="horizontal", patch_artist=True, widths=0.6, whis=(0, 100)
    )
    for box, cell in zip(drawn["boxes"], on.cells, strict=True):
        pair = on.contrasts.get(cell.name)
        box.set_facecolor(FIRST if pair is None else CLAIMED if pair.is_claimed else ALIKE)
    simple_rows(panel, on.levels, len(on.cells) + 1)
    low, high = panel.get_xlim()
    for level in on.levels.shown:
        if low <= level.value <= high:
            panel.axvline(level.value, color=LEVEL, linewidth=0.8, linestyle=":", zorder=1)
    _rows(panel, on, named=named, first=1)
    panel.set_title(title, fontsize="small")
    panel.set_xlabel(on.task.metric.unit, fontsize="small")


def _marginals(comparison: Comparison) -> Figure:
    """A row a task, a column a hyperparameter: the metric at each of its values, averaged over the
    others. Thick: the first cell with its runs; thin: all others."""
    columns = max(1, *(len(on.axes) for on in comparison.tasks))
    size = (2.6 * columns + 0.6, 2.4 * len(comparison.tasks))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(comparison.tasks), columns, squeeze=False, sharey="row")
    for line, on in zip(panels, comparison.tasks, strict=True):
        line[0].set_ylabel(f"{on.task.name}, {on.task.metric.name} on test", fontsize="small")
        for place, panel in enumerate(line):
            if place < len(on.axes):
                _curves(panel, on, on.axes[place])
            else:
                panel.set_visible(False)
    figure.suptitle(
        f"{comparison.study}: marginals; blue: {comparison.first}, the band between trees, in "
        "brackets the share of its variance; grey: other cells",
        fontsize="small",
    )
    return figure


def _curves(panel: Axes, on: OnTask, axis: Axis) -> None:
    first = on.cells[0]
    for cell in on.cells[1:]:
        if (curve := _curve(cell, axis)) is not None:
            panel.plot(curve.places, curve.means, color="0.7", linewidth=0.7)
    places = [axis.place(run.settings) for run in first.runs]
    values = [limited(on.task, run.test) for run in first.runs]
    panel.plot(places, values, ".", color="0.5", ms=3)
    title = axis.name
    if (curve := _curve(first, axis)) is not None and first.shares is not None:
        means, spread = np.array(curve.means), np.array(curve.deviations)
        panel.fill_between(curve.places, means - spread, means + spread, color="C0", alpha=0.25)
        panel.plot(curve.places, means, color="C0", linewidth=1.8)
        title = f"{axis.name} ({first.shares.single[axis.name]:.0%})"
    panel.set_xticks(TICKS, labels=[f"{axis.at(place):.3g}" for place in TICKS])
    panel.set_title(title, fontsize="small")
    panel.tick_params(labelsize="small")


def _curve(cell: Measured, axis: Axis) -> Marginal | None:
    return None if cell.shares is None else cell.shares.marginals[axis.name]
