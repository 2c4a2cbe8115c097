"""How the best candidates learn each task, beside the band of all of the GRU's runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.errors import joined
from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import best_outcome
from nas.protocol.statistic import highest_drawn
from nas.report.document import Figure, Section, Text
from nas.report.facts import Facts
from nas.report.figures import BLUE, GREEN, GREY, INK, ORANGE, figure
from nas.study.leaderboard import Row
from nas.tasks.base import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MOST_DRAWN = 3
"""Candidates whose curves are drawn."""
COLOURS = (BLUE, ORANGE, GREEN)
PER_ROW = 3

Path = NDArray[np.float64]
"""The metric after each finished epoch, (epochs,)."""


@dataclass(frozen=True)
class Band:
    """All runs of a cell on a task after each epoch, each (epochs,)."""

    low: Path
    median: Path
    high: Path
    n: int
    """Runs with an epoch: settings times seeds."""


def outcomes_of(facts: Facts, key: str, task: Task) -> list[Outcome]:
    """All runs of a cell on a task, those of second measurements too, with their curves.

    On a ladder they are those of its last rung, since budgets differ between rungs.
    """
    runs = [*facts.of_cell(key, task.name), *facts.repeats_of(key, task.name)]
    seeds = {run.seed for run in runs}
    found: list[Outcome] = []
    for visit in facts.visits:
        for evaluated in (*visit.evaluated.values(), *visit.beside.values()):
            is_wanted = (evaluated.key or visit.key) == key and evaluated.task == task.name
            if is_wanted and evaluated.seed in seeds:
                found += evaluated.outcomes
    return found


def path_of(task: Task, outcome: Outcome) -> Path:
    """The metric of a run after each finished epoch; losses end where pictures do."""
    values = np.array([epoch.value(task.metric) for epoch in outcome.curve], dtype=np.float64)
    if task.metric.name != "loss":
        return values
    highest = highest_drawn(task)
    return np.minimum(np.where(np.isfinite(values), values, highest), highest)


def band_of(task: Task, outcomes: Sequence[Outcome]) -> Band | None:
    """The band of some runs; None if none has finished an epoch. A run that ended early counts as
    long as it ran."""
    paths = [path for outcome in outcomes if len(path := path_of(task, outcome))]
    if not paths:
        return None
    grid = np.full((len(paths), max(map(len, paths))), np.nan)
    for row, path in zip(grid, paths, strict=True):
        row[: len(path)] = path
    low, median, high = np.nanpercentile(grid, [0, 50, 100], axis=0)
    return Band(low, median, high, len(paths))


def learning(facts: Facts, against: Facts | None) -> Section:
    """The curves of all tasks of the score."""
    gru = facts.baselines[0]
    bands = {
        task.name: band
        for task in facts.protocol.tasks
        if (band := band_of(task, outcomes_of(facts, gru, task)))
    }
    if not bands:
        return Section("Learning curves", (Text("No run of the GRU has finished an epoch."),))
    counts = ", ".join(f"{name} {band.n}" for name, band in bands.items())
    shown = list(_shown(facts))
    best = f" and of {joined([row.name for row in shown])}, which scored best" if shown else ""
    caption = (
        "The metric on validation after each epoch. Grey: the GRU, all of its settings and seeds "
        f"from the worst to the best (runs: {counts}), with their median. Lines: the best setting "
        f"of the LSTM (dashed){best}. Losses are cut off at twice that of blind guessing."
    )
    tasks = [task for task in facts.protocol.tasks if task.name in bands]
    return Section("Learning curves", (_figure(facts, tasks, bands, shown, caption),))


def _shown(facts: Facts) -> Iterator[Row]:
    scored = (row for row in facts.rows if row.kind == "candidate" and not row.rejected)
    for row, _ in zip(scored, range(MOST_DRAWN), strict=False):
        yield row


def _figure(
    facts: Facts, tasks: Sequence[Task], bands: dict[str, Band], shown: Sequence[Row], caption: str
) -> Figure:
    n_columns = min(PER_ROW, len(tasks))
    n_rows = -(-len(tasks) // PER_ROW)

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(n_rows, n_columns, squeeze=False).flat
        for panel in panels:
            panel.set_visible(False)
        for panel, task in zip(canvas.axes, tasks, strict=False):
            panel.set_visible(True)
            _draw(panel, facts, task, bands[task.name], shown)
        handles, labels = canvas.axes[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=5, fontsize="small")

    size = (max(5.0, 3.3 * n_columns), 2.7 * n_rows + 0.4)
    return figure("learning_curves", caption, size, draw)


def _draw(panel: "Axes", facts: Facts, task: Task, band: Band, shown: Sequence[Row]) -> None:
    epochs = np.arange(1, 1 + len(band.median))
    panel.fill_between(epochs, band.low, band.high, color=GREY, alpha=0.22, linewidth=0)
    panel.plot(epochs, band.median, color=GREY, linewidth=1.4, label="gru, median and range")
    lines = [("lstm", facts.baselines[1], INK, "--")]
    lines += [(row.name, row.key, c, "-") for row, c in zip(shown, COLOURS, strict=False)]
    for name, key, colour, style in lines:
        best = best_outcome(task, outcomes_of(facts, key, task))
        if best is not None:
            path = path_of(task, best)
            steps = np.arange(1, 1 + len(path))
            panel.plot(steps, path, color=colour, linestyle=style, linewidth=1.2, label=name)
    panel.locator_params(axis="x", integer=True)
    panel.set_title(task.name, fontsize="medium")
    panel.set_xlabel("epoch")
    panel.set_ylabel(task.metric.name)
