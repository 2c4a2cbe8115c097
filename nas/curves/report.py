"""Learning curves as a table: text, Markdown, JSON; and which picture shows a task."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.curves.contrast import Lead
from nas.curves.result import OnTask, Row, Run, deviation
from nas.report.document import Document, Figure, Items, Part, Section, Table, Text
from nas.report.files import json_text, png_of, write_files
from nas.report.text import lines as lines_of
from nas.report.text import markdown as markdown_of
from nas.tasks.base import Metric, Task

NOTE = (
    "The metric is the best epoch's on validation, of the setting that solved the task in the "
    "fewest epochs, or else is the best on validation; test is that epoch's weights on the test "
    "split. Blind guess and simple baseline are on validation. The loop of a cell is compiled to C "
    "or eager, one torch operation after another. Seconds are of all settings and seeds. The "
    "setting and the epoch were chosen on validation: no differences between cells are claimed."
)
HEADINGS = (
    "cell",
    "task",
    "metric",
    "validation",
    "test",
    "blind guess",
    "simple baseline",
    "best possible",
    "solved after",
    "minibatches",
    "parameters",
    "width",
    "loop",
    "s",
    "setting",
)
LOOPS = {"c": "compiled", "eager": "eager", "gpu": "on a GPU", "": "-"}


def sentence(on: OnTask) -> str:
    """How all cells did on a task, in one line."""
    task, n = on.task, len(on.rows)
    cells = f"{n} cell{'' if n == 1 else 's'}"
    parts = []
    if on.goal is not None:
        solvers = [row for row in on.rows if row.epochs_to_solve is not None]
        bound = "at least" if task.metric.higher_is_better else "at most"
        what = f"{task.metric.name} {bound} {on.goal:.4g} on validation"
        parts.append(f"{len(solvers)} of {cells} solved it ({what})")
        if solvers and solvers[0].epochs_to_solve is not None:
            steps = _steps(task, solvers[0].epochs_to_solve)
            parts[-1] += f", {solvers[0].name} first, after {steps} minibatches"
    if on.levels.baseline is not None:
        simple = on.levels.baseline
        n_better = sum(on.beats(row) for row in on.rows)
        parts.append(
            f"{n_better} of {cells} passed the simple baseline ({simple.name}, "
            f"{task.metric.shown(simple.value)})"
        )
    if on.levels.why:
        parts.append(on.levels.missing)
    return f"{task.name}: {'; '.join(parts)}."


def cells_of(on: OnTask, row: Row) -> list[str]:
    """A row of the table, in the order of `HEADINGS`."""
    task, levels = on.task, on.levels
    run = row.runs[0] if row.runs else None
    direction = "higher" if task.metric.higher_is_better else "lower"
    return [
        row.name,
        task.name,
        f"{task.metric.unit}, {direction} is better",
        _mean(task.metric, row.best, [run.outcome.best for run in row.runs]),
        _mean(task.metric, row.test, [run.outcome.test for run in row.runs]),
        "-" if levels.chance is None else task.metric.shown(levels.chance),
        "; ".join(f"{name} {task.metric.shown(value)}" for name, value in _simple(on).items())
        or "-",
        "-" if levels.best is None else task.metric.shown(levels.best),
        _solved(on, row),
        _steps(task, row.epochs_to_solve) if row.epochs_to_solve is not None else "-",
        f"{run.outcome.n_params:,}" if run else "-",
        str(run.outcome.hidden_size) if run else "-",
        LOOPS[row.backend],
        f"{row.seconds:.0f}",
        _setting(run) if run else "; ".join(sorted(set(row.trouble))),
    ]


def _simple(on: OnTask) -> dict[str, float]:
    """What the simple predictors reach, by name."""
    known = (on.levels.baseline, *on.levels.others)
    return {level.name: level.value for level in known if level is not None}


def _mean(metric: Metric, mean: float | None, values: Sequence[float | None]) -> str:
    if mean is None:
        return "-"
    spread = deviation(values)
    return metric.shown(mean) + ("" if spread is None else f" ± {spread:.2g}")


def _solved(on: OnTask, row: Row) -> str:
    if on.goal is None:
        return "no perfect score"
    n_seeds = len(row.runs) + len(row.trouble)
    n_solved = sum(run.solved is not None for run in row.runs)
    if row.epochs_to_solve is None:
        return f"{n_solved} of {n_seeds} seeds" if n_solved else "not solved"
    number = row.epochs_to_solve
    return f"{number:g} epoch{'' if number == 1 else 's'}"


def _steps(task: Task, epochs: float) -> str:
    return f"{round(epochs * task.batches_per_epoch):,}"


def _setting(run: Run) -> str:
    settings = run.settings
    parts = [f"{settings.optimizer} {settings.learning_rate:g}", f"scale {settings.init_scale:g}"]
    parts += [f"layers {settings.num_layers}"] if settings.num_layers > 1 else []
    parts += [f"dropout {settings.dropout:g}"] if settings.dropout else []
    parts += [f"momentum {settings.momentum:g}"] if settings.momentum else []
    return ", ".join(parts)


def _table(tasks: Sequence[OnTask]) -> Table:
    return Table("", HEADINGS, [cells_of(on, row) for on in tasks for row in on.rows])


CONTRAST = (
    *("task", "learns fastest of the chosen", "of all others", "lead"),
    *("ends best of the chosen", "of all others", "lead"),
)
CONTRAST_NOTE = (
    "Contrast: by how much the best of the chosen cells leads the best of all others, in shares of "
    "the way from blind guessing (0) to perfect (1). How fast a cell learns is its mean share over "
    "epochs and settings, where it ends that of the best epoch of its best setting; means over "
    "seeds, and the standard deviation of the lead."
)


def contrast_table(tasks: Sequence[OnTask]) -> Table | None:
    """The leads of chosen cells, the largest in learning first; None if none were chosen."""
    known = [(on.task.name, on.contrast) for on in tasks if on.contrast]
    known.sort(key=lambda pair: -pair[1].learning.difference)
    rows = [(name, *_lead(apart.learning), *_lead(apart.ending)) for name, apart in known]
    return Table("", CONTRAST, rows) if rows else None


def _lead(lead: Lead) -> tuple[str, str, str]:
    spread = deviation(lead.by_seed)
    return (
        f"{lead.chosen} {lead.chosen_share:.3f}",
        f"{lead.other} {lead.other_share:.3f}",
        f"{lead.difference:+.3f}" + ("" if spread is None else f" ± {spread:.3f}"),
    )


def lines(tasks: Sequence[OnTask]) -> list[str]:
    """What is printed: without the columns that are the same for all cells, and the settings."""
    kept = [HEADINGS.index(name) for name in ("cell", "task", "validation", "test")]
    kept += range(HEADINGS.index("solved after"), HEADINGS.index("setting"))
    rows = [[row[place] for place in kept] for row in _table(tasks).rows]
    table = Table("", [HEADINGS[place] for place in kept], rows)
    apart = contrast_table(tasks)
    contrast = ["", CONTRAST_NOTE, *lines_of(apart)] if apart else []
    return [*lines_of(table), "", *map(sentence, tasks), *contrast]


def markdown(tasks: Sequence[OnTask]) -> str:
    """A page."""
    figures = [Figure(on.task.name, "") for on in tasks]
    items = Items([sentence(on) for on in tasks])
    apart = contrast_table(tasks)
    contrast: list[Part] = [apart, Text(CONTRAST_NOTE)] if apart else []
    parts: list[Part] = [items, *contrast, _table(tasks), Text(NOTE), *figures]
    return markdown_of(Document("Learning curves", "", (Section("", parts),)))


def plain(tasks: Sequence[OnTask]) -> dict[str, Any]:
    """All that the table and the pictures show, as JSON."""
    return {
        on.task.name: {
            "metric": asdict(on.task.metric),
            "version": on.task.version,
            "batches_per_epoch": on.task.batches_per_epoch,
            "blind_guess": on.levels.chance,
            "simple_baselines": _simple(on),
            "best_possible": on.levels.best,
            "goal": on.goal,
            **({"contrast": asdict(on.contrast)} if on.contrast else {}),
            "cells": {row.name: _plain(on.task, row) for row in on.rows},
        }
        for on in tasks
    }


def _plain(task: Task, row: Row) -> dict[str, Any]:
    return {
        "epochs_to_solve": row.epochs_to_solve,
        "loop": LOOPS[row.backend],
        "seconds": round(row.seconds, 2),
        "trouble": list(row.trouble),
        "seeds": {
            str(run.seed): {
                "settings": asdict(run.settings),
                "status": run.outcome.status,
                "best": run.outcome.best,
                "best_epoch": run.outcome.best_epoch,
                "test": run.outcome.test,
                "solved": run.solved,
                "n_params": run.outcome.n_params,
                "hidden_size": run.outcome.hidden_size,
                "curve": [epoch.value(task.metric) for epoch in run.outcome.curve],
            }
            for run in row.runs
        },
    }


def write(tasks: Sequence[OnTask], folder: Path) -> list[Path]:
    """Write the page, all numbers, and a picture a task.

    Raises:
        UserError: if the folder cannot be written.
    """
    from nas.curves.picture import figure_of

    files: dict[str, str | bytes] = {
        "curves.md": markdown(tasks),
        "curves.json": json_text(plain(tasks)),
    }
    files |= {f"{on.task.name}.png": png_of(figure_of(on)) for on in tasks}
    return write_files(folder, files)
