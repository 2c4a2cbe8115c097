"""A comparison by the best of many settings as text, Markdown, JSON and CSV."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nas.compare.many_result import FEWEST, Contrast, ManyComparison, OnTask, Sampled, Tried
from nas.errors import UserError
from nas.statistics.anova import N_TREES
from nas.statistics.intervals import shown_p

FILES = (
    "comparison.md",
    "comparison.json",
    "comparison.csv",
    "comparison.png",
    "marginals.png",
)
HOW = {"same": "no evidence of a difference", "worse": "worse", "better": "better"}
NOTE = (
    "Every cell is trained once on each of the same random settings; the best of them on "
    "validation are compared on test. Brackets are Welch's 95 % intervals of the difference of "
    "means, above 0 the cell is better; p: Welch's t test, and after Bonferroni's correction over "
    "the cells beside the first, by which worse and better are said at 0.05; rank p: Mann and "
    "Whitney's test, not corrected. Runs of one cell share data and test split, so that p says "
    "nothing of other data. A run without a metric counts as blind guessing. The last rows need no "
    "network: a simple predictor, fitted on the training split, and blind guessing."
)
SHARES_NOTE = (
    "Shares of the variance of the test metric over all runs of a cell: functional ANOVA on a "
    f"forest of {N_TREES} trees, with at least {FEWEST} runs, grown on the places of the settings "
    "between the ends of what was drawn; what is worse than blind guessing counts as that. "
    "Interactions are what no hyperparameter explains alone; a forest takes some noise for them: "
    "of a sum of two terms at 200 places they are 2 %, with noise of a fifth of the variance 14 %. "
    "learning_rate is that of the step at rest, rate / (1 - momentum)."
)


def title(comparison: ManyComparison, on: OnTask) -> str:
    """One line above a task's table."""
    metric = on.task.metric
    direction = "higher" if metric.higher_is_better else "lower"
    return (
        f"{on.task.name}: {metric.name} on test ({metric.unit}, {direction} is better), "
        f"{comparison.n_settings} settings a cell, n = {comparison.n_best} best on validation"
    )


def headings(comparison: ManyComparison) -> list[str]:
    """Of a task's columns."""
    first = comparison.first
    return ["cell", "best", "mean of best", f"better than {first} by", "p", "corrected", "rank p",
            "found", "published", "agreement", "no metric", "training"]  # fmt: skip


def rows(on: OnTask) -> list[list[str]]:
    """A row for each cell, then one for each predictor without a network."""
    cells = [_row(one, on.contrasts.get(one.name)) for one in on.cells]
    n_empty = len(cells[0]) - 3
    return [
        *cells,
        *([one.name, "", f"{one.value:.4f}", *[""] * n_empty] for one in on.levels.shown),
    ]


def _row(one: Sampled, found: Contrast | None) -> list[str]:
    tests = one.values
    hours = sum(run.seconds for run in one.runs) / 3600
    beside = ["", "", "", "", "", "", ""] if found is None else _beside(found)
    shown = [one.name, f"{tests[0]:.4f}", f"{np.mean(tests):.4f}"]
    return [*shown, *beside, str(one.n_missing), f"{hours:.2f} h"]


def _beside(found: Contrast) -> list[str]:
    tests = [shown_p(p) for p in (found.p, found.corrected, found.rank_p)]
    return [_gain(found), *tests, found.found, found.published or "-", found.agreement or "-"]


def _gain(found: Contrast) -> str:
    return f"{found.gain.mean:+.4f} [{found.gain.low:+.4f}, {found.gain.high:+.4f}]"


def share_headings(on: OnTask) -> list[str]:
    """Of the columns of importances."""
    return ["cell", *(axis.name for axis in on.axes), "interactions", "largest pair"]


def share_rows(on: OnTask) -> list[list[str]]:
    """A row for each cell; the mean of all last."""
    names = [axis.name for axis in on.axes]
    known = [one.shares for one in on.cells if one.shares is not None]
    found = []
    for one in on.cells:
        if one.shares is None:
            found.append([one.name, *("-" for _ in names), "-", "-"])
            continue
        pairs = one.shares.pairs
        largest = max(pairs, key=lambda two: pairs[two], default=None)
        said = "-" if largest is None else f"{' x '.join(largest)} {pairs[largest]:.0%}"
        single = [f"{one.shares.single[name]:.0%}" for name in names]
        found.append([one.name, *single, f"{one.shares.interactions:.0%}", said])
    if known:
        means = [f"{np.mean([one.single[name] for one in known]):.0%}" for name in names]
        interactions = f"{np.mean([one.interactions for one in known]):.0%}"
        found.append(["mean", *means, interactions, ""])
    return found


def verdicts(comparison: ManyComparison) -> list[str]:
    """A sentence for each cell and task."""
    first, n = comparison.first, comparison.n_best
    found = []
    for on in comparison.tasks:
        for name, one in on.contrasts.items():
            test = (
                f"{on.task.metric.name} better by {_gain(one)}, n = {n} settings of each, "
                f"corrected p {_relation(one.corrected)}"
            )
            beside = f"; the paper: {one.published}, {one.agreement}" if one.published else ""
            found.append(
                f"{name} beside {first} on {on.task.name}: {HOW[one.found]} ({test}){beside}."
            )
    return found


def lines(comparison: ManyComparison) -> list[str]:
    """What is printed."""
    found: list[str] = []
    for on in comparison.tasks:
        found += [title(comparison, on), *_aligned([headings(comparison), *rows(on)]), ""]
        found += [f"{on.task.name}: shares of the variance of the test metric"]
        found += [*_aligned([share_headings(on), *share_rows(on)]), ""]
    return [*found, *_sentences(comparison), NOTE, SHARES_NOTE]


def _sentences(comparison: ManyComparison) -> list[str]:
    missing = [f"{on.task.name}: {on.levels.missing}." for on in comparison.tasks if on.levels.why]
    return [*verdicts(comparison), *agreements(comparison), *missing]


def _relation(p: float) -> str:
    text = shown_p(p)
    return text if text.startswith("<") else f"= {text}"


def agreements(comparison: ManyComparison) -> Iterator[str]:
    """How many published findings are found again, a line a task."""
    for on in comparison.tasks:
        said = [one.agreement for one in on.contrasts.values() if one.agreement]
        if said:
            counts = {kind: said.count(kind) for kind in ("same", "different", "no evidence")}
            told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            n = f"{len(said)} finding{'' if len(said) == 1 else 's'}"
            yield f"Beside the paper on {on.task.name}, of {n}: {told}."


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def markdown(comparison: ManyComparison) -> str:
    """A page."""
    page = [f"# {comparison.study}", ""]
    page += [f"- {one}" for one in _sentences(comparison)]
    for on in comparison.tasks:
        page += ["", f"## {title(comparison, on)}", "", *_table(headings(comparison), rows(on))]
        page += ["", f"### {on.task.name}: shares of the variance of the test metric", ""]
        page += _table(share_headings(on), share_rows(on))
    page += ["", NOTE, "", SHARES_NOTE, ""]
    page += ["![All runs and the best of them](comparison.png)", ""]
    page += ["![The metric by each hyperparameter](marginals.png)", ""]
    for name, text in comparison.cells.items():
        page += [f"## {name}", "", f"```python\n{text.rstrip()}\n```", ""]
    return "\n".join(page)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def plain(comparison: ManyComparison) -> dict[str, Any]:
    """All but single runs and marginals, as JSON."""
    return {
        "study": comparison.study,
        "settings": comparison.n_settings,
        "best": comparison.n_best,
        "first": comparison.first,
        "tasks": {on.task.name: _plain(on) for on in comparison.tasks},
        "verdicts": verdicts(comparison),
        "cells": dict(comparison.cells),
    }


def _plain(on: OnTask) -> dict[str, Any]:
    return {
        "metric": asdict(on.task.metric),
        "version": on.task.version,
        "levels": asdict(on.levels),
        "contrasts": {
            name: {**asdict(one), "agreement": one.agreement} for name, one in on.contrasts.items()
        },
        "cells": {
            one.name: {"key": one.key, "values": one.values, "n_missing": one.n_missing,
                       "shares": _shares(one)}
            for one in on.cells
        },
    }  # fmt: skip


def _shares(one: Sampled) -> dict[str, Any] | None:
    if one.shares is None:
        return None
    pairs = {" x ".join(two): share for two, share in one.shares.pairs.items()}
    return {"single": one.shares.single, "pairs": pairs, "higher": one.shares.higher,
            "interactions": one.shares.interactions}  # fmt: skip


def table(comparison: ManyComparison) -> str:
    """CSV: a line for each task, cell and setting."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(axis.name for on in comparison.tasks for axis in on.axes))
    about = ["task", "metric", "cell", "key", "place"]
    measured = ["hidden_size", "validation", "test", "status", "rank", "seconds"]
    out.writerow([*about, *names, *measured])
    for on in comparison.tasks:
        values = {axis.name: axis.value for axis in on.axes}
        for one in on.cells:
            for place, run in enumerate(one.runs):
                drawn = [f"{values[n](run.settings):.9g}" if n in values else "" for n in names]
                which = (on.task.name, on.task.metric.name, one.name, one.key, place)
                out.writerow([*which, *drawn, *_measured(run)])
    return text.getvalue()


def _measured(run: Tried) -> tuple[object, ...]:
    validation = "" if run.validation is None else f"{run.validation:.9g}"
    rank = "" if run.rank is None else run.rank
    return (run.hidden_size, validation, f"{run.test:.9g}", run.status, rank, f"{run.seconds:.3f}")


def write(comparison: ManyComparison, folder: Path) -> list[Path]:
    """Write the page, all numbers, the single runs and the pictures.

    Raises:
        UserError: if the folder cannot be written.
    """
    from nas.compare.many_picture import boxes, marginals

    page, numbers, single, picture, curves = paths = [folder / name for name in FILES]
    try:
        page.write_text(markdown(comparison), encoding="utf-8")
        numbers.write_text(json.dumps(plain(comparison), indent=1) + "\n", encoding="utf-8")
        single.write_text(table(comparison), encoding="utf-8")
        boxes(comparison, picture)
        marginals(comparison, curves)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}.") from None
    return paths
