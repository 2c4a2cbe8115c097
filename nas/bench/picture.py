"""A report as a picture; matplotlib is imported only for this."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.bench import goals
from nas.bench.report import Report, Row
from nas.bench.timing import compare
from nas.report.files import png_of, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panel = Callable[["Axes", Report], None]


def draw(report: Report, path: Path) -> None:
    """Ratios over the width, a panel for each input and mode, and below them the other parts."""
    from matplotlib.figure import Figure

    inputs = list(dict.fromkeys(row.input for row in report.rows))
    modes = list(dict.fromkeys(row.mode for row in report.rows))
    others = _others(report)
    columns = max(len(modes), len(others))
    lines = len(inputs) + bool(others)
    figure = Figure(figsize=(4.2 * columns, 3.2 * lines), layout="tight")
    panels = figure.subplots(lines, columns, squeeze=False)
    for line, input_kind in enumerate(inputs):
        for column, mode in enumerate(modes):
            panel = panels[line][column]
            _ratios(panel, report, input_kind, mode)
            if line == column == 0:
                panel.legend(fontsize="x-small")
    for column, other in enumerate(others):
        other(panels[-1][column], report)
    for panel in panels.flat:
        panel.set_visible(panel.has_data())
    write_file(path, png_of(figure), f"--png {path}")


def _ratios(panel: "Axes", report: Report, input_kind: str, mode: str) -> None:
    """Lines with quartiles, and the goals as dashes of the same colour."""
    for label, rows in _curves(report, input_kind, mode).items():
        ratios = [row.ratios[row.torch] for row in rows]
        # A median of few rounds may lie outside of the quartiles.
        below = [max(0.0, ratio.ratio - ratio.low) for ratio in ratios]
        above = [max(0.0, ratio.high - ratio.ratio) for ratio in ratios]
        widths, values = [row.shape.hidden for row in rows], [ratio.ratio for ratio in ratios]
        drawn = panel.errorbar(widths, values, (below, above), marker="o", capsize=2, label=label)
        marks = {row.shape.hidden: row.goals[row.torch] for row in rows if row.torch in row.goals}
        panel.plot(list(marks), list(marks.values()), "--", color=drawn[0].get_color())
    panel.axhline(1, color="grey", linewidth=0.8)
    panel.set_title(f"{input_kind}, {mode}", fontsize="medium")
    panel.set_ylabel("times as fast as torch's", fontsize="small")
    _by_width(panel, sorted({row.shape.hidden for row in report.rows}))


def _curves(report: Report, input_kind: str, mode: str) -> dict[str, list[Row]]:
    """The rows of a panel by the label of their line, narrow first."""
    rows = [row for row in report.rows if (row.input, row.mode) == (input_kind, mode)]
    several = len({(row.shape.batch, row.shape.steps) for row in rows}) > 1
    threads = len({row.threads for row in rows}) > 1
    curves: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.shape.hidden):
        label = f"{row.cell} against {row.torch}"
        label += f", B {row.shape.batch}, T {row.shape.steps}" if several else ""
        label += f", {row.threads} threads" if threads else ""
        curves.setdefault(label, []).append(row)
    return curves


def _by_width(panel: "Axes", widths: list[int]) -> None:
    panel.set_xscale("log")
    panel.set_xticks(widths, labels=[str(width) for width in widths])
    panel.minorticks_off()
    panel.set_xlabel("hidden width", fontsize="small")


def _others(report: Report) -> list[Panel]:
    """The panels of the parts that were measured."""
    parts: tuple[tuple[object, Panel], ...] = (
        (report.mutants, _mutants),
        (report.members, _members),
        (report.memory, _memory),
        (report.search, _search),
    )
    return [panel for results, panel in parts if results]


def _mutants(panel: "Axes", report: Report) -> None:
    widths = sorted({mutant.shape.hidden for mutant in report.mutants})
    shares = [[m.share for m in report.mutants if m.shape.hidden == width] for width in widths]
    panel.boxplot(shares, whis=(0, 100))
    marks = [goals.MUTANTS.get(width, float("nan")) for width in widths]
    panel.plot(range(1, 1 + len(widths)), marks, "--", color="C0")
    panel.set_xticks(range(1, 1 + len(widths)), labels=[str(width) for width in widths])
    panel.set_xlabel("hidden width", fontsize="small")
    panel.set_title("GFLOP/s of random mutants / the LSTM's", fontsize="medium")


def _members(panel: "Axes", report: Report) -> None:
    gains = [compare(part.times_s["in turn"], part.times_s["together"]) for part in report.members]
    labels = [f"H {part.hidden}" for part in report.members]
    title = f"{report.members[0].members} members: together / in turn"
    _bars(panel, title, labels, [gain.ratio for gain in gains], line=True)


def _memory(panel: "Axes", report: Report) -> None:
    labels = [f"{part.cell}\n{part.hidden}, {part.batch}, {part.steps}" for part in report.memory]
    shares = [part.peak_bytes["c"] / part.peak_bytes[part.torch] for part in report.memory]
    _bars(panel, "peak memory: ours / torch's (H, B, T)", labels, shares, line=True)
    panel.tick_params(axis="x", labelsize="x-small")


def _search(panel: "Axes", report: Report) -> None:
    backends = [run.backend for run in report.search]
    speeds = [run.per_minute for run in report.search]
    _bars(panel, "cells judged a minute, quickstart", backends, speeds)


def _bars(
    panel: "Axes", title: str, labels: Sequence[str], values: Sequence[float], line: bool = False
) -> None:
    """Draw a bar for each value, and a line at 1."""
    panel.bar(labels, values)
    if line:
        panel.axhline(1, color="grey", linewidth=0.8)
    panel.set_title(title, fontsize="medium")
