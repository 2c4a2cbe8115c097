"""The effect of settings on the metric, over all training runs of a task: importances, marginals.

After Greff et al. 2015, arXiv:1503.04069, section 5: functional ANOVA (Hutter et al. 2014) says how
much of the variance that settings explain is due to each alone, and marginals show the metric at
each of its values. Optuna computes the first on a study in memory, made from the runs.
"""

import dataclasses
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.nn.settings import Settings
from nas.report.document import Figure, Section, Table, Text
from nas.report.facts import Facts, Run
from nas.report.figures import BLUE, GREY, INK, figure, label, level_lines
from nas.tasks.base import Task
from nas.tasks.levels import Levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FEWEST = 20
"""Finished runs below which no importances are given."""
MOST = 10_000
"""Runs that the forest is grown from; of more runs, so many are drawn at random."""
N_TREES = 64
ENDED_EARLY = ("cut", "vetoed")
"""Statuses of runs whose metric is not that of the end of training."""


@dataclass(frozen=True)
class Marginal:
    """The metric at one value of a hyperparameter."""

    name: str
    value: float
    n: int
    """Runs with a metric."""
    n_without: int
    """Runs that gave none, as they diverged or failed."""
    quartiles: tuple[float, float, float]
    """NaN without a run."""
    values: tuple[float, ...]


@dataclass(frozen=True)
class Effects:
    """The effects of the settings of one task."""

    task: Task
    n: int
    """Runs with a metric."""
    n_early: int
    """Runs that were cut or vetoed, which are left out."""
    marginals: dict[str, tuple[Marginal, ...]]
    """The marginals of each hyperparameter that has more than one value."""
    importances: dict[str, float]
    """Shares that add up to 1, the largest first; empty if there are too few runs."""
    between_cells: float
    """Share of the metric's variance that lies between cells, the rest being that of the same
    cell's settings; NaN where there is no variance."""


def effects(facts: Facts) -> list[Effects]:
    """The effects on each task of the score; the filter is tried on one setting."""
    return [effects_of(task, facts.runs_of(task.name)) for task in facts.protocol.tasks]


def effects_of(task: Task, runs: Sequence[Run]) -> Effects:
    """The effects on one task, from its runs."""
    whole = [run for run in runs if run.outcome.status not in ENDED_EARLY]
    finished = [run for run in whole if run.outcome.best is not None]
    names = varied(whole)
    return Effects(
        task,
        len(finished),
        len(runs) - len(whole),
        {name: _marginals(name, whole) for name in names},
        importances(finished, names) if len(finished) >= FEWEST else {},
        _between_cells(finished),
    )


def varied(runs: Sequence[Run]) -> list[str]:
    """Numeric hyperparameters of which the runs have more than one value."""
    names = [field.name for field in dataclasses.fields(Settings) if field.name != "optimizer"]
    return [name for name in names if len({getattr(run.settings, name) for run in runs}) > 1]


def _marginals(name: str, runs: Sequence[Run]) -> tuple[Marginal, ...]:
    marginals = []
    for value in sorted({getattr(run.settings, name) for run in runs}):
        best = [run.outcome.best for run in runs if getattr(run.settings, name) == value]
        known = tuple(metric for metric in best if metric is not None)
        low, middle, high = np.quantile(known, (0.25, 0.5, 0.75)) if known else (np.nan,) * 3
        quartiles = float(low), float(middle), float(high)
        counts = len(known), len(best) - len(known)
        marginals.append(Marginal(name, value, *counts, quartiles, known))
    return tuple(marginals)


def importances(runs: Sequence[Run], names: Sequence[str]) -> dict[str, float]:
    """Shares of the variance, by functional ANOVA on a forest; empty where nothing varies.

    Values are categories, so that each value of the grid counts as much as another: settings are
    drawn from the grid, not from the numbers between.
    """
    if len(runs) > MOST:
        runs = random.Random(0).sample(runs, MOST)
    names = [name for name in names if name in varied(runs)]
    if not names or len({run.outcome.best for run in runs}) < 2:
        return {}
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution

    from nas.study.opening import quiet

    spaces: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(sorted({getattr(run.settings, name) for run in runs}))
        for name in names
    }
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study()
        for run in runs:
            params = {name: getattr(run.settings, name) for name in names}
            value = run.outcome.best
            study.add_trial(optuna.create_trial(params=params, distributions=spaces, value=value))
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=N_TREES, seed=0)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def _between_cells(runs: Sequence[Run]) -> float:
    groups: dict[str, list[float]] = {}
    for run in runs:
        assert run.outcome.best is not None
        groups.setdefault(run.key, []).append(run.outcome.best)
    values = np.array([value for group in groups.values() for value in group])
    total = float(((values - values.mean()) ** 2).sum()) if groups else 0.0
    if not total:
        return float("nan")
    between = sum(len(group) * (np.mean(group) - values.mean()) ** 2 for group in groups.values())
    return float(between) / total


def settings(facts: Facts, against: Facts | None) -> Section:
    """Importances of hyperparameters, and the metric at each of their values."""
    tasks = [on_task for on_task in effects(facts) if on_task.marginals]
    if not tasks:
        return Section("Settings", (Text("No setting has more than one value in this study."),))
    caption = (
        "The metric of all runs of a task by the value of each hyperparameter, as in Greff et al. "
        "2015: quartiles, median, whiskers to the extremes; n is the number of runs with a metric. "
        "The axis of a loss is logarithmic where its runs are far apart. "
        "Runs of all cells are in it, so the spread is that of cells too. In brackets: importance. "
        "Dashed, or an arrow where it is off the scale: what needs no network."
    )
    names = list(dict.fromkeys(name for on_task in tasks for name in on_task.marginals))
    shares = Table(
        f"Importance: the share of the variance explained by settings that each explains alone "
        f"(functional ANOVA of Optuna, {N_TREES} trees, seed 0), with at least {FEWEST} runs; "
        "and the share of all variance that lies between cells rather than between settings.",
        ("task", "n", "left out (ended early)", *names, "between cells"),
        [_shares(on_task, names) for on_task in tasks],
    )
    values = Table(
        "The same in numbers.",
        ("task", "hyperparameter", "value", "n", "no metric", "lower quartile", "median",
         "upper quartile"),
        [row for on_task in tasks for row in _values(on_task, facts.levels[on_task.task.name])],
    )  # fmt: skip
    note = Text(
        "Importances tell where the grid matters, not which value is best; with settings that all "
        "cells share, a value is confounded with the others of its setting if few were drawn."
    )
    picture = marginals_figure(tasks, facts.levels, caption)
    return Section("Settings", (picture, shares, note, values))


def _shares(on_task: Effects, names: list[str]) -> tuple[str, ...]:
    shares = (on_task.importances.get(name, math.nan) for name in names)
    percents = (_or_dash(share, ".0%") for share in (*shares, on_task.between_cells))
    return (on_task.task.name, f"{on_task.n:,}", f"{on_task.n_early:,}", *percents)


def _values(on_task: Effects, levels: Levels) -> Iterator[tuple[str, ...]]:
    name = on_task.task.name
    for simple in levels.shown:
        blank = ("-", "-", "-", "-")
        yield (name, f"no network: {simple.name}", *blank, f"{simple.value:.4f}", "-")
    for marginals in on_task.marginals.values():
        for m in marginals:
            quartiles = (_or_dash(quartile, ".4f") for quartile in m.quartiles)
            yield (name, m.name, f"{m.value:g}", f"{m.n:,}", f"{m.n_without:,}", *quartiles)


def _or_dash(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def marginals_figure(
    tasks: Sequence[Effects], levels: Mapping[str, Levels], caption: str
) -> Figure:
    """A row a task, a column a hyperparameter: the metric at each value, beside its levels."""
    names = list(dict.fromkeys(name for on_task in tasks for name in on_task.marginals))

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(len(tasks), len(names), squeeze=False, sharey="row")
        for line, on_task in zip(panels, tasks, strict=True):
            for panel, name in zip(line, names, strict=True):
                _draw_marginal(panel, on_task, name)
            if _is_wide(on_task):
                _set_logarithmic(line[0])
            line[0].set_ylabel(f"{on_task.task.name}, {on_task.task.metric.name}")
            _draw_levels(line, levels[on_task.task.name])

    return figure("marginals", caption, (2.9 * len(names) + 0.6, 2.3 * len(tasks)), draw)


def _is_wide(on_task: Effects) -> bool:
    """Whether one bad run of a loss would press all boxes flat."""
    values = [v for marginals in on_task.marginals.values() for m in marginals for v in m.values]
    return on_task.task.metric.name == "loss" and 0 < 10 * min(values, default=0) < max(values)


def _set_logarithmic(panel: "Axes") -> None:
    """Let the axis be logarithmic, with ticks at 1, 2, 5 and their multiples by ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())


def _draw_levels(panels: Sequence["Axes"], levels: Levels) -> None:
    """A dashed line for each level; those off the scale are named at its edge with an arrow."""
    low, high = panels[0].get_ylim()
    within = {level.name: level.value for level in levels.shown if low <= level.value <= high}
    last = [panel for panel in panels if panel.get_visible()][-1]
    for panel in panels:
        level_lines(panel, within, named=panel is last)
    style = {"xycoords": "axes fraction", "color": GREY, "fontsize": "small"}
    for arrow, y, off in (
        ("↑", 1.0, [level for level in levels.shown if level.value > high]),
        ("↓", 0.0, [level for level in levels.shown if level.value < low]),
    ):
        text = "\n".join(f"{arrow} {level.name}\n   {level.value:.3g}" for level in off)
        label(last, text, (1, y), (3, 0), va="top" if y else "bottom", **style)
    panels[0].set_ylim(low, high)


def _draw_marginal(panel: "Axes", on_task: Effects, name: str) -> None:
    marginals = [marginal for marginal in on_task.marginals.get(name, ()) if marginal.n]
    if not marginals:
        panel.set_visible(False)
        return
    boxes = panel.boxplot(
        [marginal.values for marginal in marginals],
        whis=(0, 100),
        widths=0.55,
        patch_artist=True,
        medianprops={"color": INK},
    )
    for box in boxes["boxes"]:
        box.set(facecolor="#cfe0f2", edgecolor=BLUE)
    labels = [f"{marginal.value:g}\nn {marginal.n:,}" for marginal in marginals]
    panel.set_xticks(range(1, 1 + len(marginals)), labels=labels, fontsize="small")
    share = on_task.importances.get(name)
    panel.set_title(name if share is None else f"{name} ({share:.0%})", fontsize="medium")
