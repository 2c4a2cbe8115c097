"""The ratios of a report as a picture; matplotlib is imported only for this."""

from pathlib import Path
from typing import TYPE_CHECKING

from nas.bench.report import Report, Row
from nas.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(report: Report, path: Path) -> None:
    """One panel for each input and mode: ratio to torch's module over the hidden width."""
    from matplotlib.figure import Figure

    inputs = list(dict.fromkeys(row.input for row in report.rows))
    modes = list(dict.fromkeys(row.mode for row in report.rows))
    figure = Figure(figsize=(4 * len(modes), 3 * len(inputs)), layout="tight")
    widths = sorted({row.shape.hidden for row in report.rows})
    panels = figure.subplots(len(inputs), len(modes), sharex=True, sharey=True, squeeze=False)
    for line, given in enumerate(inputs):
        for column, mode in enumerate(modes):
            panel = panels[line][column]
            for label, rows in _curves(report, given, mode).items():
                _line(panel, label, rows)
            panel.axhline(1, color="grey", linewidth=0.8)
            panel.set_title(f"{given}, {mode}")
            panel.set_xscale("log")
            panel.set_xticks(widths, labels=[str(width) for width in widths])
            panel.minorticks_off()
    figure.supxlabel("hidden width")
    figure.supylabel("times as fast as torch's module")
    panels[0][0].legend(fontsize="small")
    try:
        figure.savefig(path, format="png", dpi=150)
    except OSError as error:
        raise UserError(f"--png {path} cannot be written: {error.strerror}.") from None


def _line(panel: "Axes", label: str, rows: list[Row]) -> None:
    """Ratios with their quartiles; a median of few rounds may lie outside of them."""
    ratios = [row.ratios[row.torch] for row in rows]
    below = [max(0.0, ratio.ratio - ratio.low) for ratio in ratios]
    above = [max(0.0, ratio.high - ratio.ratio) for ratio in ratios]
    widths, values = [row.shape.hidden for row in rows], [ratio.ratio for ratio in ratios]
    panel.errorbar(widths, values, (below, above), marker="o", capsize=2, label=label)


def _curves(report: Report, given: str, mode: str) -> dict[str, list[Row]]:
    """Rows of a panel by what a line stands for, narrow first."""
    rows = [row for row in report.rows if (row.input, row.mode) == (given, mode)]
    several = len({(row.shape.batch, row.shape.steps) for row in rows}) > 1
    curves: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.shape.hidden):
        label = f"{row.cell} against {row.torch}"
        label += f", B {row.shape.batch}, T {row.shape.steps}" if several else ""
        curves.setdefault(label, []).append(row)
    return curves
