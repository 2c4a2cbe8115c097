"""A comparison as a picture; matplotlib is imported only for this."""

from pathlib import Path
from typing import TYPE_CHECKING

from nas.compare.result import Comparison, OnTask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIMED, UNCLAIMED, SEED = "C0", "0.55", "0.75"
"""Colours: a difference that is claimed, one that is not, single seeds."""


def draw(comparison: Comparison, path: Path) -> None:
    """A line of panels a task: the metric of each cell, then its differences to GRU and LSTM."""
    from matplotlib.figure import Figure

    columns = 1 + max(len(on.against) for on in comparison.tasks)
    n_cells = len(comparison.cells)
    size = (3.6 * columns, (1.3 + 0.32 * n_cells) * len(comparison.tasks))
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
    _rows(panel, on, named=True)
    panel.set_xlabel(on.task.metric.unit, fontsize="small")
    panel.set_title(f"{on.task.name}: {on.task.metric.name}", fontsize="small")


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
    """The first cell on top."""
    names = [one.name for one in on.cells] if named else [""] * len(on.cells)
    panel.set_yticks(range(len(on.cells)), labels=names)
    panel.set_ylim(len(on.cells) - 0.5, -0.5)
    panel.tick_params(labelsize="small")
