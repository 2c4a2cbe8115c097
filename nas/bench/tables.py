"""A report as tables, on the screen and as Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from nas.bench import goals
from nas.bench.clock import Times, compare, median_s
from nas.bench.report import Report, Row
from nas.errors import UserError

if TYPE_CHECKING:
    from nas.bench.mutants import MutantRow

WORDS = ("cell", "input", "mode", "ours", "against", "backend", "worst mutant")
"""Columns that are no numbers."""


@dataclass(frozen=True)
class Table:
    """A title, the names of columns, and rows of text; below it what it leaves unsaid."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    below: str = ""


def tables(report: Report) -> Iterator[Table]:
    """One for each part that was measured."""
    if report.rows:
        yield _rows(report)
    if any(row.goals for row in report.rows):
        yield _goals(report)
    if report.compile_times:
        yield _compile_times(report)
    if report.training:
        yield _training(report)
    if report.members:
        yield _members(report)
    if report.mutants:
        yield _mutants(report)
    if report.memory:
        yield _memory(report)
    if report.workers:
        yield _workers(report)
    if report.search:
        yield _search(report)


def show(report: Report, console: Console) -> None:
    """Print all tables."""
    for table in tables(report):
        drawn = RichTable(title=table.title, title_justify="left")
        for name in table.columns:
            left = name in WORDS
            drawn.add_column(name, justify="left" if left else "right", no_wrap=True)
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
        if table.below:
            console.print(table.below, markup=False, highlight=False)
    for note in report.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)


def write_markdown(report: Report, path: Path) -> None:
    """The command, the machine and all tables."""
    machine, versions = report.machine, report.versions
    about = f"{machine['processor']}, {machine['processors']} processors, {machine['compiler']}"
    spent = ", ".join(f"{name} {s / 60:.1f}" for name, s in report.part_s.items())
    blocks = [
        f"```console\n{report.command}\n```",
        f"{about}, torch {versions.get('torch', '?')}.",
        f"It took {report.wall_s / 60:.1f} minutes ({spent}).",
    ]
    for table in tables(report):
        lines = [f"## {table.title}", ""]
        lines.append("| " + " | ".join(table.columns) + " |")
        lines.append(
            "|" + "|".join(" --- " if n in WORDS else " ---: " for n in table.columns) + "|"
        )
        lines += ["| " + " | ".join(row) + " |" for row in table.rows]
        blocks.append("\n".join(lines))
        if table.below:
            blocks.append(table.below)
    blocks += [f"Note: {note}" for note in report.notes]
    try:
        path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--markdown {path} cannot be written: {error.strerror}.") from None


def _rows(report: Report) -> Table:
    first = ("cell", "H", "B", "T", "threads", "input", "mode", "ours", "ms", "against", "ms")
    columns = (
        *first,
        "ratio",
        "quartiles",
        "goal",
        "eager ms",
        "ratio",
        "goal",
        "GFLOP/s",
        "% of peak",
    )
    rows = []
    for row in report.rows:
        shape, torch = row.shape, row.ratios[row.torch]
        eager = ("", "", "")
        if row.ours != "eager" and "eager" in row.times_s:
            ratio = f"{row.ratios['eager'].ratio:.2f}"
            eager = (_ms(row.times_s["eager"]), ratio, _goal(row, "eager"))
        rows.append(
            (
                row.cell,
                *(str(n) for n in (shape.hidden, shape.batch, shape.steps, row.threads)),
                *(row.input, row.mode, row.ours, _ms(row.times_s[row.ours])),
                row.torch if row.same_cell else f"({row.torch})",
                *(_ms(row.times_s[row.torch]), f"{torch.ratio:.2f}"),
                *(f"{torch.low:.2f}-{torch.high:.2f}", _goal(row, row.torch), *eager),
                *(f"{row.gflops:.1f}", f"{100 * report.share_of_peak(row):.0f}"),
            )
        )
    peaks = ", ".join(f"{peak:.0f} ({n} threads)" for n, peak in report.peak_gflops.items())
    below = f"Peak of torch.mm, float32, GFLOP/s: {peaks.replace('1 threads', '1 thread')}. "
    below += "GFLOP/s in the table are those of the matrix products that ours executes."
    return Table("Median milliseconds; ratio: baseline / ours", columns, rows, below)


def _goals(report: Report) -> Table:
    """Of each comparison with a goal, the ratios by width."""
    widths = sorted({row.shape.hidden for row in report.rows})
    lines: dict[tuple[str, ...], dict[int, list[str]]] = {}
    n_met = n_goals = 0
    for row in report.rows:
        for arm, wanted in row.goals.items():
            ratio = row.ratios[arm].ratio
            n_met, n_goals = n_met + (ratio >= wanted), n_goals + 1
            sizes = (str(n) for n in (row.shape.batch, row.shape.steps, row.threads))
            place = (row.cell, arm, row.input, row.mode, *sizes)
            sign = "" if ratio >= wanted else " below"
            cells = lines.setdefault(place, {})
            cells.setdefault(row.shape.hidden, []).append(f"{ratio:.2f}{sign} ({wanted:g})")
    columns = ("cell", "against", "input", "mode", "B", "T", "threads")
    rows = [
        (*place, *(" ".join(found.get(width, [])) for width in widths))
        for place, found in lines.items()
    ]
    title = "Ratios and their goals, by width"
    return Table(title, (*columns, *map(str, widths)), rows, f"{n_met} of {n_goals} goals are met.")


def _goal(row: Row, arm: str) -> str:
    return f"{row.goals[arm]:g}" if arm in row.goals else ""


def _ms(times: Times) -> str:
    return f"{1000 * median_s(times):.3g}"


def _compile_times(report: Report) -> Table:
    rows = [
        (
            one.cell,
            str(one.hidden),
            f"{1000 * one.cold_s:.0f}",
            f"{1000 * median_s(one.cached_s):.1f}",
        )
        for one in report.compile_times
    ]
    below = ""
    if ahead := report.ahead:
        each = 1000 / ahead.loops
        jobs = ", ".join(
            f"{each * s:.0f} ms with {n} compiler{'s' if n > 1 else ''} at once"
            for n, s in ahead.ahead_s.items()
        )
        below = (
            f"{ahead.loops} random mutants, H {ahead.hidden}: {each * ahead.alone_s:.0f} ms a loop "
            f"one by one; compiled ahead {jobs}."
        )
    title = "Milliseconds from a cell to a loop"
    return Table(title, ("cell", "H", "cold", "cached"), rows, below)


def _training(report: Report) -> Table:
    training = report.training
    assert training
    rows = [(arm, f"{training.steps_per_s(arm):.0f}") for arm in training.times_s]
    title = (
        f"Training steps a second: text, LSTM, H {training.hidden}, B {training.batch}, "
        f"T {training.window}"
    )
    below = f"Of nas.train's time, {training.overhead:.0%} is not in the same steps by hand."
    return Table(title, ("mode", "steps/s"), rows, below)


def _members(report: Report) -> Table:
    rows = []
    for one in report.members:
        in_turn, together = one.times_s["in turn"], one.times_s["together"]
        gain = compare(in_turn, together)
        rows.append(
            (
                *(one.cell, str(one.hidden), str(one.members)),
                *(f"{one.steps_per_s(arm):.0f}" for arm in ("together", "in turn")),
                *(f"{gain.ratio:.2f}", f"{gain.low:.2f}-{gain.high:.2f}"),
            )
        )
    columns = ("cell", "H", "members", "together", "in turn", "ratio", "quartiles")
    return Table("Training steps a second, summed over members", columns, rows)


def _mutants(report: Report) -> Table:
    by_width: dict[int, list[MutantRow]] = {}
    for mutant in report.mutants:
        by_width.setdefault(mutant.shape.hidden, []).append(mutant)
    rows = []
    for width, found in by_width.items():
        shares = [mutant.share for mutant in found]
        worst = min(found, key=lambda mutant: mutant.share)
        wanted = goals.MUTANTS.get(width)
        met = f"{np.mean(np.array(shares) >= wanted):.0%}" if wanted else ""
        rows.append(
            (
                *(
                    str(width),
                    str(len(found)),
                    *_quantiles(shares),
                    f"{wanted:g}" if wanted else "",
                ),
                *(met, worst.name),
            )
        )
    columns = ("H", "mutants", "worst", "10 %", "25 %", "median", "75 %", "best", "goal")
    return Table(
        "GFLOP/s of random mutants in those of the LSTM",
        (*columns, "at the goal", "worst mutant"),
        rows,
        "fwd+bwd, data, one thread; all operations of the plan count, elementwise ones too.",
    )


def _quantiles(values: list[float]) -> list[str]:
    return [f"{value:.2f}" for value in np.quantile(values, [0, 0.1, 0.25, 0.5, 0.75, 1])]


def _memory(report: Report) -> Table:
    rows = []
    for one in report.memory:
        ours, theirs = one.peak_bytes["c"], one.peak_bytes[one.torch]
        sizes = (str(n) for n in (one.hidden, one.batch, one.steps))
        found = (f"{ours / 2**20:.1f}", one.torch, f"{theirs / 2**20:.1f}", f"{ours / theirs:.2f}")
        rows.append((one.cell, *sizes, *found))
    columns = ("cell", "H", "B", "T", "ours MiB", "against", "MiB", "ours / theirs")
    below = "Peak of resident memory in a process of its own, less what imports take."
    return Table("Peak memory of training", columns, rows, below)


def _workers(report: Report) -> Table:
    rows = []
    for one in report.workers:
        found = (f"{one.per_minute(arm):.1f}" for arm in one.times_s)
        wanted = goals.WORKERS.get(one.workers)
        sizes = (f"{one.n_params:,}", str(one.workers))
        rows.append((one.cell, *sizes, *found, f"{one.gain:.2f}", f"{wanted:g}" if wanted else ""))
    columns = ("cell", "parameters", "workers", "one alone", "all", "ratio", "goal")
    return Table("Evaluations a minute, each worker on one thread", columns, rows)


def _search(report: Report) -> Table:
    rows = []
    for one in report.search:
        counts = (str(one.workers), str(one.judged), str(one.loops), f"{one.wall_s:.0f}")
        rows.append((one.backend, *counts, f"{one.per_minute:.1f}"))
    per_minute = {one.backend: one.per_minute for one in report.search}
    below = "Random candidates, the same for both; an empty cache of compiled loops."
    if len(per_minute) == 2:
        below += f" Ratio: {per_minute['c'] / per_minute['eager']:.2f}."
    columns = ("backend", "workers", "cells", "loops", "s", "cells/minute")
    return Table("The quickstart's search", columns, rows, below)
