"""A task's learning curves as a picture; matplotlib is imported only for this."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas.curves.result import OnTask, Row
from nas.study.leaderboard import BASELINES
from nas.tasks.levels import BEST

MOST_NAMED = 8
"""Cells that each have a colour; of more, the best and the baselines have one, others are grey."""
GREY = "0.78"
FARTHEST = 2.0
"""The loss of blind guessing is drawn if it is not farther off than so many times the height of
all else; an accuracy is between 0 and 1 anyway."""
N_BEST = 4


def figure_of(on: OnTask) -> Figure:
    """The metric on validation after each epoch, and what needs no network as horizontal lines."""
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    panel = figure.subplots()
    named = _named(on.rows)
    for place, row in enumerate(on.rows):
        depth = 1 - place / len(on.rows)  # the best on top
        _curves(panel, row, named.get(row.name), depth)
    if len(named) < len(on.rows):
        panel.plot([], [], color=GREY, label=f"{len(on.rows) - len(named)} other cells")
    _levels(panel, on)
    task, metric = on.task, on.task.metric
    batch = f"{task.batches_per_epoch:,} minibatches of {task.batch_size}"
    panel.set_xlabel(f"epoch of {batch}")
    direction = "higher" if metric.higher_is_better else "lower"
    label = f"{metric.name} on validation ({metric.unit}, {direction} is better)"
    panel.set_ylabel(label, fontsize="small")
    panel.set_title(f"{task.name}: what is learned, epoch by epoch", fontsize="medium")
    if metric.name == "loss" and task.perfect == 0:
        panel.set_yscale("log")
    panel.set_xlim(left=0)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _named(rows: Sequence[Row]) -> dict[str, str]:
    """The colour of each cell that has one."""
    if len(rows) <= MOST_NAMED:
        kept = [row.name for row in rows]
    else:
        wanted = {*BASELINES, "rnn"}
        kept = [row.name for place, row in enumerate(rows) if place < N_BEST or row.name in wanted]
    return {name: f"C{place}" for place, name in enumerate(kept)}


def _curves(panel: Axes, row: Row, colour: str | None, depth: float) -> None:
    """A line a seed; the first has the label."""
    for place, run in enumerate(row.runs):
        values = [epoch.value(row.task.metric) for epoch in run.outcome.curve]
        panel.plot(
            range(1, len(values) + 1),
            values,
            color=colour or GREY,
            linewidth=1.6 if colour else 0.7,
            marker="o" if colour and len(values) < 8 else "",
            markersize=3,
            label=row.name if colour and place == 0 else "_",
            zorder=(3 if colour else 2) + depth,
        )


def _levels(panel: Axes, on: OnTask) -> None:
    metric = on.task.metric
    styles = ["--", "-.", (0, (1, 1))]
    # What is best possible is drawn where it is not a perfect score, of which the goal is a share.
    simple = [level for level in on.levels.shown if level.name != BEST or on.goal is None]
    if on.goal is not None:
        label = f"solved: {metric.shown(on.goal)}"
        panel.axhline(on.goal, color="C2", linewidth=0.8, label=label, zorder=1)
    for level, style in zip(simple[:-1], styles, strict=False):
        label = f"{level.name}: {metric.shown(level.value)}"
        panel.axhline(level.value, color="k", linewidth=1, linestyle=style, label=label, zorder=1)
    for blind in simple[-1:]:
        label = f"{blind.name}: {metric.shown(blind.value)}"
        low, high = panel.get_ylim()
        reach = FARTHEST * (high - low)
        if metric.name == "accuracy" or low - reach <= blind.value <= high + reach:
            panel.axhline(blind.value, color="C3", linewidth=1, linestyle=":", label=label)
        else:
            panel.plot([], [], color="C3", linewidth=1, linestyle=":", label=f"{label}, far off")
