"""Box plots and marginals of a comparison by many settings; matplotlib is imported only for this.

After figures 3 and 4 of Greff et al. 2015.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.compare.drawn import Axis
from nas.compare.many_result import ManyComparison, OnTask, Sampled, limited
from nas.compare.picture import LEVEL, simple_rows
from nas.statistics.anova import Marginal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIRST, DIFFERENT, ALIKE = "0.35", "C0", "0.85"
"""Colours of boxes: the first cell, one that differs from it, one of which there is no evidence."""
TICKS = (0.0, 0.5, 1.0)
"""Places between the ends of what was drawn."""


def boxes(comparison: ManyComparison, path: Path) -> None:
    """A line of two panels a task: all runs of each cell on test, and the best on validation.

    Below the cells, and as lines through them, what needs no network.
    """
    from matplotlib.figure import Figure

    n_rows = len(comparison.cells) + max(len(on.levels.shown) for on in comparison.tasks)
    height = (1.3 + 0.32 * n_rows) * len(comparison.tasks)
    figure = Figure(figsize=(9.0, height), layout="constrained")
    panels = figure.subplots(len(comparison.tasks), 2, squeeze=False)
    for (left, right), on in zip(panels, comparison.tasks, strict=True):
        name = f"{on.task.name}: {on.task.metric.name}"
        every = [[limited(on.task, run.test) for run in one.runs] for one in on.cells]
        _boxes(left, on, every, f"{name}, all {comparison.n_settings} settings", named=True)
        best = [one.values for one in on.cells]
        _boxes(right, on, best, f"the {comparison.n_best} best on validation", named=False)
    figure.suptitle(
        f"{comparison.study}: test split; blue: differs from {comparison.first} (Welch, corrected)",
        fontsize="medium",
    )
    figure.savefig(path, format="png", dpi=120)


def _boxes(
    panel: "Axes", on: OnTask, values: list[list[float]], title: str, *, named: bool
) -> None:
    drawn = panel.boxplot(
        values, orientation="horizontal", patch_artist=True, widths=0.6, whis=(0, 100)
    )
    for box, one in zip(drawn["boxes"], on.cells, strict=True):
        contrast = on.contrasts.get(one.name)
        differs = contrast is not None and contrast.found != "same"
        box.set_facecolor(FIRST if contrast is None else DIFFERENT if differs else ALIKE)
    simple_rows(panel, on.levels, len(on.cells) + 1)
    low, high = panel.get_xlim()
    for simple in on.levels.shown:
        if low <= simple.value <= high:
            panel.axvline(simple.value, color=LEVEL, linewidth=0.8, linestyle=":", zorder=1)
    names = [one.name for one in on.cells] + [one.name for one in on.levels.shown]
    panel.set_yticks(range(1, len(names) + 1), labels=names if named else [""] * len(names))
    panel.set_ylim(len(names) + 0.5, 0.5)
    panel.set_title(title, fontsize="small")
    panel.set_xlabel(on.task.metric.unit, fontsize="small")
    panel.tick_params(labelsize="small")


def marginals(comparison: ManyComparison, path: Path) -> None:
    """A row a task, a column a hyperparameter: the metric at each of its values, averaged over the
    others. Thick: the first cell with its runs; thin: all others."""
    from matplotlib.figure import Figure

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
    figure.savefig(path, format="png", dpi=120)


def _curves(panel: "Axes", on: OnTask, axis: Axis) -> None:
    first = on.cells[0]
    for one in on.cells[1:]:
        if (curve := _curve(one, axis)) is not None:
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


def _curve(one: Sampled, axis: Axis) -> Marginal | None:
    return None if one.shares is None else one.shares.marginals[axis.name]
