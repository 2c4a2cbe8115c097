"""A comparison as text, Markdown, LaTeX, JSON, CSV and pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from nas.compare import ranking
from nas.compare.result import FEWEST, Comparison, Contrast, Measured, OnTask, agreements, gain_of
from nas.errors import joined
from nas.report.document import Code, Document, Figure, Items, Part, Section, Table, Text
from nas.report.files import csv_text, json_text, png_of, vector_files, write_files
from nas.report.latex import latex
from nas.report.statistics.anova import N_TREES
from nas.report.statistics.intervals import Interval, interval, shown_p
from nas.report.text import lines as lines_of
from nas.report.text import markdown as markdown_of
from nas.tasks.kinds import LatentKind
from nas.tasks.levels import below
from nas.tasks.resolution import ENOUGH, Resolution, resolution_of

SEEDS_NOTE = (
    "Brackets are 95 % intervals over seeds: the studentised bootstrap, or half way to Student's t "
    "where that is wider; differences are paired by seed; above 0 the cell is better. p: "
    "Wilcoxon's signed-rank test, corrected by Holm over the cells against one baseline on one "
    "task. Settings were chosen on validation, with another seed; what is shown is "
    "the test split. The last rows of a table need no network: what is best possible, where it is "
    "known, a simple predictor, fitted on the training split, and blind guessing, on the first "
    "seed's data."
)
FAST_NOTE = (
    "The area is the mean of the validation metric over all planned epochs, of the same runs: how "
    "fast a cell learns, where the test split says where it ends. A run that stopped early keeps "
    "its last value; one that diverged or failed counts as blind guessing from there on. Intervals "
    "and p values are as above, corrected apart."
)
SETTINGS_NOTE = (
    "Every cell is trained once on each of the same random settings; the best of them on "
    "validation are compared on test. Brackets are Welch's 95 % intervals of the difference of "
    "means, above 0 the cell is better; p: Welch's t test, and after Bonferroni's correction over "
    "the cells beside the first, which decides between worse and better at 0.05; rank p: Mann and "
    "Whitney's test, not corrected. Runs of one cell share data and test split, so that p says "
    "nothing of other data. A run without a metric counts as blind guessing. The last rows need no "
    "network: what is best possible, where that is known, a simple predictor, fitted on the "
    "training split, and blind guessing."
)
SHARES_NOTE = (
    "Shares of the variance of the test metric over all runs of a cell: functional ANOVA on a "
    f"forest of {N_TREES} trees, with at least {FEWEST} runs, grown on the places of the settings "
    "between the ends of what was drawn; what is worse than blind guessing counts as that. "
    "Interactions are what no hyperparameter explains alone; a forest takes some noise for them: "
    "of a sum of two terms at 200 places they are 2 %, with noise of a fifth of the variance 14 %. "
    "learning_rate is that of the step at rest, rate / (1 - momentum)."
)
CAPTIONS = {
    "comparison": "All cells: what they reach, and how they differ.",
    "marginals": "The metric by each hyperparameter.",
}


def pictures(comparison: Comparison) -> list[str]:
    """The names of the pictures' files, without the suffix."""
    return ["comparison", "marginals"] if comparison.n_best else ["comparison"]


def files(comparison: Comparison) -> list[str]:
    """The names of all files that `write` writes."""
    plots = [f"{name}.{kind}" for name in pictures(comparison) for kind in ("png", "svg", "pdf")]
    return ["comparison.md", "comparison.json", "comparison.csv", "comparison.tex", *plots]


def title(comparison: Comparison, on: OnTask) -> str:
    """One line above a task's table."""
    metric = on.task.metric
    direction = "higher" if metric.higher_is_better else "lower"
    about = f"{on.task.name}: {metric.name} on test ({metric.unit}, {direction} is better), "
    if comparison.n_best:
        n_settings, n_best = comparison.tuning, comparison.n_best
        return f"{about}{n_settings} settings a cell, n = {n_best} best on validation"
    n = len(comparison.seeds)
    n_tuned = max((cell.n_tuned for cell in on.cells), default=0)
    return (
        f"{about}{n} fresh seed{'' if n == 1 else 's'}, {max(on.task.n_params):,} parameters, "
        f"best of {n_tuned} setting{'' if n_tuned == 1 else 's'}"
    )


def table(comparison: Comparison, on: OnTask) -> Table:
    """A row for each cell, then one for each predictor without a network."""
    if comparison.n_best:
        gained = f"better than {comparison.first} by"
        beside = (gained, "p", "corrected", "rank p", "found", "published", "agreement")
        head = ["cell", "best", "mean of best", *beside, "no metric", "training"]
        rows = [_row_by_settings(on, cell) for cell in on.cells]
    else:
        against = [text for name in on.against for text in (f"better than {name} by", "p")]
        head = ["cell", "test", *against, "params", "width", "setting"]
        rows = [_row_by_seeds(on, cell) for cell in on.cells]
    for level in on.levels.shown:
        simple = [level.name, *([""] if comparison.n_best else []), f"{level.value:.4f}"]
        rows.append([*simple, *[""] * (len(head) - len(simple))])
    return Table("", head, rows)


def _row_by_seeds(on: OnTask, cell: Measured) -> list[str]:
    row = [cell.name, _mean_of(cell.values)]
    for of_baseline in on.against.values():
        pair = of_baseline.get(cell.name)
        row += ["", ""] if pair is None else [gain_of(pair), shown_p(pair.corrected)]
    return [*row, f"{cell.n_params:,}", str(cell.hidden_size), _setting(cell)]


def _setting(cell: Measured) -> str:
    settings = cell.settings
    if settings is None:
        return "none had a metric"
    parts = [f"rate {settings.learning_rate:g}", f"scale {settings.init_scale:g}"]
    parts += [f"clip {settings.clip_norm:g}", f"layers {settings.num_layers}"]
    parts += [f"dropout {settings.dropout:g}"] if settings.dropout else []
    parts += [f"momentum {settings.momentum:g}"] if settings.momentum else []
    return ", ".join(parts + ([settings.stacking] if settings.stacking != "plain" else []))


def _row_by_settings(on: OnTask, cell: Measured) -> list[str]:
    pair, beside = on.contrasts.get(cell.name), [""] * 7
    if pair is not None:
        tests = [shown_p(p) for p in (pair.p, pair.corrected, pair.rank_p)]
        agreement = (pair.found, pair.published or "-", pair.agreement or "-")
        beside = [gain_of(pair), *tests, *agreement]
    reached = [cell.name, f"{cell.values[0]:.4f}", f"{np.mean(cell.values):.4f}"]
    return [*reached, *beside, str(cell.n_missing), f"{cell.seconds / 3600:.2f} h"]


def shares_table(on: OnTask) -> Table:
    """What hyperparameters explain: a row for each cell, the mean of all last."""
    names = [axis.name for axis in on.axes]
    rows = []
    for cell in on.cells:
        if cell.shares is None:
            rows.append([cell.name, *("-" for _ in names), "-", "-"])
            continue
        pairs = cell.shares.pairs
        largest = max(pairs, key=lambda two: pairs[two], default=None)
        shown = "-" if largest is None else f"{' x '.join(largest)} {pairs[largest]:.0%}"
        single = [f"{cell.shares.single[name]:.0%}" for name in names]
        rows.append([cell.name, *single, f"{cell.shares.interactions:.0%}", shown])
    if known := [cell.shares for cell in on.cells if cell.shares is not None]:
        means = [f"{np.mean([shares.single[name] for shares in known]):.0%}" for name in names]
        interactions = f"{np.mean([shares.interactions for shares in known]):.0%}"
        rows.append(["mean", *means, interactions, ""])
    return Table("", ("cell", *names, "interactions", "largest pair"), rows)


def sentences(comparison: Comparison) -> list[str]:
    """The verdicts, and what readers must know of single cells."""
    told = [*comparison.verdicts, *comparison.fast_verdicts]
    return [*told, *agreements(comparison), *_caveats(comparison)]


def _beside(on: OnTask) -> Iterator[str]:
    """The tighter bounds of models that have one."""
    if not isinstance(on.task.interface.kind, LatentKind):
        return
    for name in sorted({name for cell in on.cells for name in cell.beside}):
        parts = [f"{c.name} {_mean_of(c.beside[name])}" for c in on.cells if name in c.beside]
        yield f"{on.task.name}, {name} on test ({on.task.metric.unit}): {joined(parts)}."


def _caveats(comparison: Comparison) -> Iterator[str]:
    for on in comparison.tasks:
        for cell in () if comparison.n_best else on.cells:
            if cell.n_missing:
                reasons = ", ".join(sorted({reason for reason in cell.missing if reason}))
                yield (
                    f"{cell.name} on {on.task.name}: {cell.n_missing} of {len(cell.values)} seeds "
                    f"have no metric ({reasons}) and count as blind guessing, "
                    f"{on.task.chance('test'):.4f}."
                )
        if on.levels.why:
            yield f"{on.task.name}: {on.levels.missing}."
        yield from _beside(on)
        means = {cell.name: float(np.mean(cell.values)) for cell in on.cells}
        if sentence := below(on.task, means, on.levels):
            yield sentence
        if sentence := _few_examples(comparison, on):
            yield sentence


def _few_examples(comparison: Comparison, on: OnTask) -> str:
    """A sentence on how few examples of test a task's metric rests on; empty if they are many."""
    seed = comparison.seeds[0] if comparison.seeds else 0
    examples = resolution_of(on.task, seed, "test")
    if examples is None or not examples.is_coarse:
        return ""
    apart = ""
    if examples.step is not None:
        apart = f", and a difference of less than {ENOUGH * examples.step:.3g} is that of fewer "
        apart += f"than {ENOUGH} of them, which other data may turn round"
    few = ", ".join(_pairs_apart(on, examples))
    return (
        f"The {examples.metric.name} on {on.task.name} is {examples.described}{apart}: seeds vary "
        f"the training, and not this test split.{f' Apart by so few: {few}.' if few else ''}"
    )


def _pairs_apart(on: OnTask, examples: Resolution) -> Iterator[str]:
    """The pairs whose means are apart by fewer than `ENOUGH` examples, each with their number."""
    for of_other in on.against.values():
        for pair in of_other.values():
            if pair.gain is not None and examples.step is not None:
                n_apart = abs(pair.gain.mean) / examples.step
                shown = f"by {n_apart:.1f}" if n_apart > 1e-9 else "a tie"
                if n_apart < ENOUGH:
                    yield f"{pair.first} and {pair.other} ({shown})"


def _tables(comparison: Comparison) -> Iterator[tuple[str, Table]]:
    """All tables with their titles."""
    for on in comparison.tasks:
        yield title(comparison, on), table(comparison, on)
        if comparison.n_best:
            yield f"{on.task.name}: shares of the variance of the test metric", shares_table(on)
        else:
            yield _fast_title(on), _fast_table(on)
    if known := {on.task.name: on.rankings for on in comparison.tasks if on.rankings}:
        yield "How well one run ranks these cells", ranking.table(known)
    if taus := _across(comparison):
        yield "Does the order carry over from one task to another?", ranking.across_table(taus)


def _across(comparison: Comparison) -> dict[str, Interval]:
    """Tau of each pair of tasks, of the means on test."""
    return ranking.across(
        {
            on.task.name: (on.task.metric, [float(np.mean(cell.values)) for cell in on.cells])
            for on in comparison.tasks
        }
    )


def _fast_title(on: OnTask) -> str:
    metric = on.task.metric
    direction = "higher" if metric.higher_is_better else "lower"
    return (
        f"{on.task.name}: how fast they learn, and where they end, by {metric.name} on validation "
        f"({direction} is better)"
    )


def _fast_table(on: OnTask) -> Table:
    """A row for each cell: the area under its learning curve, and its value at the last epoch."""
    against = [text for name in on.fast for text in (f"area better than {name} by", "p")]
    rows = []
    for cell in on.cells:
        row = [cell.name, *(_mean_of(cell.curves[of]) for of in ("area", "last"))]
        for of_baseline in on.fast.values():
            pair = of_baseline.get(cell.name)
            row += ["", ""] if pair is None else [gain_of(pair), shown_p(pair.corrected)]
        rows.append(row)
    return Table("", ("cell", "area", "last epoch", *against), rows)


def _mean_of(values: Sequence[float]) -> str:
    mean = interval(values)
    return f"{mean.mean:.4f} [{mean.low:.4f}, {mean.high:.4f}]" if mean else f"{values[0]:.4f}"


def _notes(comparison: Comparison) -> list[Part]:
    notes = [SETTINGS_NOTE, SHARES_NOTE] if comparison.n_best else [SEEDS_NOTE, FAST_NOTE]
    if any(on.rankings for on in comparison.tasks):
        notes.append(ranking.NOTE)
    if _across(comparison):
        notes.append(ranking.ACROSS_NOTE)
    return [Text(note) for note in notes]


def lines(comparison: Comparison) -> list[str]:
    """The lines that are printed."""
    printed: list[str] = []
    for heading, made in _tables(comparison):
        printed += [*lines_of(Text(heading), made), ""]
    return [*printed, *sentences(comparison), *lines_of(*_notes(comparison))]


def tex(comparison: Comparison) -> str:
    """The tables in LaTeX, each with its title as caption."""
    tables = [(heading, replace(made, caption=heading)) for heading, made in _tables(comparison)]
    sections = [Section(heading.partition(":")[0], (made,)) for heading, made in tables]
    return latex(Document(comparison.study, "", sections))


def markdown(comparison: Comparison) -> str:
    """A page."""
    plots = [Figure(name, CAPTIONS[name]) for name in pictures(comparison)]
    sections = [
        Section("", (Items(sentences(comparison)),)),
        *(Section(heading, (made,)) for heading, made in _tables(comparison)),
        Section("", (*_notes(comparison), *plots)),
        *(Section(name, (Code(text, "python"),)) for name, text in comparison.cells.items()),
    ]
    return markdown_of(Document(comparison.study, "", sections))


def plain(comparison: Comparison) -> dict[str, Any]:
    """The numbers of a comparison, as JSON; of many settings without single runs."""
    how = (
        {"settings": comparison.tuning, "best": comparison.n_best, "first": comparison.first}
        if comparison.n_best
        else {"seeds": list(comparison.seeds), "tuning": comparison.tuning}
    )
    tasks = {on.task.name: _plain(on, many=bool(comparison.n_best)) for on in comparison.tasks}
    texts: dict[str, Any] = {"verdicts": comparison.verdicts}
    if comparison.fast_verdicts:
        texts["verdicts on how fast"] = comparison.fast_verdicts
    if taus := _across(comparison):
        texts["how the order carries over"] = {pair: asdict(tau) for pair, tau in taus.items()}
    texts["cells"] = dict(comparison.cells)
    return {"study": comparison.study, **how, "tasks": tasks, **texts}


def _plain(on: OnTask, *, many: bool) -> dict[str, Any]:
    about = {
        "metric": asdict(on.task.metric),
        "version": on.task.version,
        "levels": asdict(on.levels),
        "cells": {cell.name: plain_cell(cell) for cell in on.cells},
    }
    if many:
        return {**about, "contrasts": _plain_pairs(on.contrasts)}
    against = {other: _plain_pairs(pairs) for other, pairs in on.against.items()}
    fast = {other: _plain_pairs(pairs) for other, pairs in on.fast.items()}
    ranked = {name: asdict(one) for name, one in on.rankings.items()}
    beside = {"how fast": fast, "how well one run ranks": ranked}
    return {**about, "n_params": max(on.task.n_params), "against": against, **beside}


def _plain_pairs(pairs: Mapping[str, Any]) -> dict[str, Any]:
    plain_pairs = {name: asdict(pair) for name, pair in pairs.items()}
    for name, pair in pairs.items():
        if isinstance(pair, Contrast):
            plain_pairs[name] |= {"found": pair.found, "agreement": pair.agreement}
    return plain_pairs


def plain_cell(cell: Measured) -> dict[str, Any]:
    """The numbers of a cell on a task, as JSON."""
    if not cell.runs:
        numbers = asdict(cell)
        return {name: numbers[name] for name in numbers if name not in ("runs", "shares")}
    explained = None
    if cell.shares is not None:
        pairs = {" x ".join(two): share for two, share in cell.shares.pairs.items()}
        explained = {
            "single": cell.shares.single,
            "pairs": pairs,
            "higher": cell.shares.higher,
            "interactions": cell.shares.interactions,
        }
    numbers = {"key": cell.key, "values": cell.values, "n_missing": cell.n_missing}
    return {**numbers, "shares": explained}


def rows_of_runs(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """A row of the CSV file for each task, cell and seed, or each task, cell and setting."""
    drawn = {axis.name: None for on in comparison.tasks for axis in on.axes}
    for on in comparison.tasks:
        for cell in on.cells:
            about = {"task": on.task.name, "metric": on.task.metric.name}
            about |= {"cell": cell.name, "key": cell.key}
            by_seed = zip(comparison.seeds, cell.values, cell.missing, strict=False)
            for place, (seed, value, why) in enumerate(by_seed):
                curves = {name: values[place] for name, values in cell.curves.items()}
                yield {**about, "seed": seed, "test": value, **curves, "missing": why}
            for place, run in enumerate(cell.runs):
                yield {
                    **about,
                    "place": place,
                    **drawn,
                    **{axis.name: axis.value(run.settings) for axis in on.axes},
                    "hidden_size": run.hidden_size,
                    "validation": run.validation,
                    "test": run.test,
                    "status": run.status,
                    "rank": run.rank,
                    "seconds": round(run.seconds, 3),
                }


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the page, all numbers, the single measurements and the pictures.

    Raises:
        UserError: if the folder cannot be written.
    """
    from nas.compare.picture import figures

    data: list[str | bytes] = [markdown(comparison), json_text(plain(comparison))]
    data += [csv_text(list(rows_of_runs(comparison)), 9), tex(comparison)]
    for name, figure in zip(pictures(comparison), figures(comparison), strict=True):
        data += [png_of(figure), *vector_files(figure, name).values()]
    return write_files(folder, dict(zip(files(comparison), data, strict=True)))
