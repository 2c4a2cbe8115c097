"""A comparison as text, Markdown, JSON and CSV."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.compare.result import Comparison, Measured, OnTask
from nas.errors import UserError
from nas.statistics.intervals import Difference, shown_p
from nas.study.leaderboard import BASELINES

NOTE = (
    "Brackets are 95 % intervals: bootstrap over seeds, differences paired by seed; above 0 the "
    "cell is better. p: Wilcoxon's signed-rank test, corrected by Holm over the cells against one "
    "baseline on one task. Settings were chosen on validation, with another seed; what is shown is "
    "the test split. The last rows of a table need no network: a simple predictor, fitted on the "
    "training split, and blind guessing, on the first seed's data."
)
FILES = ("comparison.md", "comparison.json", "comparison.csv", "comparison.png")


def title(comparison: Comparison, on: OnTask) -> str:
    """One line above a task's table."""
    metric = on.task.metric
    direction = "higher" if metric.higher_is_better else "lower"
    n = len(comparison.seeds)
    n_tuned = max((one.n_tuned for one in on.cells), default=0)
    return (
        f"{on.task.name}: {metric.name} on test ({metric.unit}, {direction} is better), "
        f"{n} fresh seed{'' if n == 1 else 's'}, {max(on.task.n_params):,} parameters, best of "
        f"{n_tuned} setting{'' if n_tuned == 1 else 's'}"
    )


def headings() -> list[str]:
    """Of a task's columns."""
    against = [text for name in BASELINES for text in (f"better than {name} by", "p")]
    return ["cell", "test", *against, "params", "width", "setting"]


def rows(on: OnTask) -> list[list[str]]:
    """A row for each cell, then one for each predictor without a network."""
    empty = [""] * (len(headings()) - 2)
    simple = [[one.name, f"{one.value:.4f}", *empty] for one in on.levels.shown]
    return [*(_row(on, one) for one in on.cells), *simple]


def _row(on: OnTask, one: Measured) -> list[str]:
    cells = [one.name, _mean(one)]
    for of_baseline in on.against.values():
        found = of_baseline.get(one.name)
        cells += ["", ""] if found is None else [_gain(found), shown_p(found.corrected)]
    return [*cells, f"{one.n_params:,}", str(one.hidden_size), _setting(one)]


def _mean(one: Measured) -> str:
    if one.mean is None:
        return f"{one.values[0]:.4f}"
    return f"{one.mean.mean:.4f} [{one.mean.low:.4f}, {one.mean.high:.4f}]"


def _gain(found: Difference) -> str:
    if found.gain is None:
        return "-"
    return f"{found.gain.mean:+.4f} [{found.gain.low:+.4f}, {found.gain.high:+.4f}]"


def _setting(one: Measured) -> str:
    settings = one.settings
    if settings is None:
        return "none had a metric"
    parts = [f"rate {settings.learning_rate:g}", f"scale {settings.init_scale:g}"]
    parts += [f"clip {settings.clip_norm:g}", f"layers {settings.num_layers}"]
    parts += [f"dropout {settings.dropout:g}"] if settings.dropout else []
    parts += [f"momentum {settings.momentum:g}"] if settings.momentum else []
    return ", ".join(parts + ([settings.stacking] if settings.stacking != "plain" else []))


def caveats(comparison: Comparison) -> Iterator[str]:
    """What readers must know of single cells."""
    for on in comparison.tasks:
        for one in on.cells:
            why = [reason for reason in one.missing if reason]
            if why:
                reasons = ", ".join(sorted(set(why)))
                yield (
                    f"{one.name} on {on.task.name}: {len(why)} of {len(one.values)} seeds have no "
                    f"metric ({reasons}) and count as blind guessing, "
                    f"{on.task.chance('test'):.4f}."
                )
        if on.levels.why:
            yield f"{on.task.name}: {on.levels.missing}."


def lines(comparison: Comparison) -> list[str]:
    """What is printed."""
    found: list[str] = []
    for on in comparison.tasks:
        table = [headings(), *rows(on)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        found += [title(comparison, on)]
        found += [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        found += [""]
    return [*found, *comparison.verdicts, *caveats(comparison), NOTE]


def markdown(comparison: Comparison) -> str:
    """A page."""
    page = [f"# {comparison.study}", ""]
    page += [f"- {one}" for one in (*comparison.verdicts, *caveats(comparison))]
    for on in comparison.tasks:
        names = headings()
        page += ["", f"## {title(comparison, on)}", "", _cells(names), _cells(["---"] * len(names))]
        page += [_cells(row) for row in rows(on)]
    page += ["", NOTE, "", "![All cells and their intervals](comparison.png)", ""]
    for name, text in comparison.cells.items():
        page += [f"## {name}", "", f"```python\n{text.rstrip()}\n```", ""]
    return "\n".join(page)


def _cells(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def plain(comparison: Comparison) -> dict[str, Any]:
    """All of it, as JSON."""
    return {
        "study": comparison.study,
        "seeds": list(comparison.seeds),
        "tuning": comparison.tuning,
        "tasks": {on.task.name: _plain(on) for on in comparison.tasks},
        "verdicts": comparison.verdicts,
        "cells": dict(comparison.cells),
    }


def _plain(on: OnTask) -> dict[str, Any]:
    return {
        "metric": asdict(on.task.metric),
        "n_params": max(on.task.n_params),
        "version": on.task.version,
        "levels": asdict(on.levels),
        "cells": {one.name: asdict(one) for one in on.cells},
        "against": {
            baseline: {name: asdict(one) for name, one in found.items()}
            for baseline, found in on.against.items()
        },
    }


def table(comparison: Comparison) -> str:
    """CSV: a line for each task, cell and seed."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["task", "metric", "cell", "key", "seed", "test", "missing"])
    for on in comparison.tasks:
        for one in on.cells:
            about = (on.task.name, on.task.metric.name, one.name, one.key)
            for seed, value, why in zip(comparison.seeds, one.values, one.missing, strict=True):
                out.writerow([*about, seed, f"{value:.9g}", why])
    return text.getvalue()


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the page, all numbers, the single measurements and the picture.

    Raises:
        UserError: if the folder cannot be written.
    """
    from nas.compare.picture import draw

    page, numbers, single, picture = (folder / name for name in FILES)
    try:
        page.write_text(markdown(comparison), encoding="utf-8")
        numbers.write_text(json.dumps(plain(comparison), indent=1) + "\n", encoding="utf-8")
        single.write_text(table(comparison), encoding="utf-8")
        draw(comparison, picture)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}.") from None
    return [page, numbers, single, picture]
