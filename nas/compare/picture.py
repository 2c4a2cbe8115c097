"""A comparison as a picture; matplotlib is imported only for this."""

from pathlib import Path
from typing import TYPE_CHECKING

from nas.compare.result import Comparison, OnTask
from nas.tasks.levels import Levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIMED, UNCLAIMED, SEED, LEVEL = "C0", "0.55", "0.75", "0.45"
"""Colours: a difference that is claimed, one that is not, single seeds, what needs no network."""


def draw(comparison: Comparison, path: Path) -> None:
    """A line of panels a task: the metric of each cell, then its differences to GRU and LSTM."""
    from matplotlib.figure import Figure

    columns = 1 + max(len(on.against) for on in comparison.tasks)
    n_rows = len(comparison.cells) + max(len(on.levels.shown) for on in comparison.tasks)
    size = (3.6 * columns, (1.3 + 0.32 * n_rows) * len(comparison.tasks))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(comparison.tasks), columns, squeeze=False)
    for line, on in zip(panels, comparison.tasks, strict=True):
        _metrics(line[0], on)
        for panel, baseline in zip(line[1:], on.against, strict=True):
            _differences(panel, on, baseline)
    n = len(comparison.seeds)
    figure.suptitle(
        f"{comparison.study}: test split, {n} seed{'' if n == 1 else 's'}, 95 % intervals",
        fontsize="medium",
    )
    figure.savefig(path, format="png", dpi=120)


def _metrics(panel: "Axes", on: OnTask) -> None:
    """Mean and interval of each cell, on top of its seeds."""
    for place, one in enumerate(on.cells):
        panel.plot(one.values, [place] * len(one.values), "|", color=SEED, markersize=8)
        if one.mean is not None:
            reach = ([one.mean.mean - one.mean.low], [one.mean.high - one.mean.mean])
            panel.errorbar([one.mean.mean], [place], xerr=reach, fmt="o", color="k", capsize=2)
    simple_rows(panel, on.levels, len(on.cells))
    _rows(panel, on, named=True)
    panel.set_xlabel(on.task.metric.unit, fontsize="small")
    panel.set_title(f"{on.task.name}: {on.task.metric.name}", fontsize="small")


def simple_rows(panel: "Axes", levels: Levels, first: int) -> None:
    """A row for each predictor without a network, from the place `first` on. Where one is far off,
    an arrow at the edge and its value: a scale that held it would hide what cells differ by."""
    panel.margins(x=0.1)
    low, high = panel.get_xlim()
    for place, one in enumerate(levels.shown, start=first):
        right, text = one.value > (low + high) / 2, f"{one.value:.4g}"
        if low <= one.value <= high:
            panel.plot([one.value], [place], "D", color=LEVEL, markersize=4)
        else:
            text = f"{text} →" if right else f"← {text}"
        panel.annotate(
            text,
            (min(max(one.value, low), high), place),
            xytext=(-6 if right else 6, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            color=LEVEL,
            fontsize="small",
        )
    panel.set_xlim(low, high)


def _differences(panel: "Axes", on: OnTask, baseline: str) -> None:
    for place, one in enumerate(on.cells):
        found = on.against[baseline].get(one.name)
        if found is not None and found.gain is not None:
            gain = found.gain
            reach = ([gain.mean - gain.low], [gain.high - gain.mean])
            colour = CLAIMED if found.is_claimed else UNCLAIMED
            panel.errorbar([gain.mean], [place], xerr=reach, fmt="o", color=colour, capsize=2)
    panel.axvline(0, color="k", linewidth=0.8)
    _rows(panel, on, named=False)
    panel.set_xlabel("better by; blue: claimed", fontsize="small")
    panel.set_title(f"{on.task.name}: against {baseline}", fontsize="small")


def _rows(panel: "Axes", on: OnTask, *, named: bool) -> None:
    """The first cell on top; what needs no network below, in the panel of metrics alone."""
    names = [one.name for one in on.cells] + [one.name for one in on.levels.shown]
    panel.set_yticks(range(len(names)), labels=names if named else [""] * len(names))
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.locator_params(axis="x", nbins=5)
    panel.tick_params(labelsize="small")
