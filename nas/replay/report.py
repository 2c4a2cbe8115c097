"""A comparison of samplers as text, Markdown, JSON, CSV and a picture."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.replay.compare import AXES, BASELINE, SHARES, Comparison, Result, verdict
from nas.report.document import Document, Items, Section, Table, Text
from nas.report.files import csv_text, json_text, png_of, rounded, write_files
from nas.report.statistics.intervals import Interval
from nas.report.text import lines, markdown

NOTE = "Brackets are bootstrap 95 % intervals of the mean over seeds, on this one table."


def show(comparison: Comparison) -> str:
    """The comparison as text for the terminal."""
    parts = (table(comparison), Items(verdicts(comparison)), Text(NOTE))
    return "\n".join([title(comparison), *lines(*parts)])


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write regret.png, regret.csv, results.json and results.md.

    Raises:
        UserError: if the folder cannot be written.
    """
    parts = (table(comparison), Items(verdicts(comparison)), Text(NOTE))
    page = Document("", f"{title(comparison)}.", [Section("", parts)])
    files: dict[str, str | bytes] = {
        "regret.png": picture(comparison),
        "regret.csv": csv_text(list(_points(comparison))),
        "results.json": json_text(plain(comparison)),
        "results.md": markdown(page),
    }
    return write_files(folder, files, f"--out {folder}")


def title(comparison: Comparison) -> str:
    """One line."""
    return (
        f"Study {comparison.study}, {comparison.n_candidates} recorded candidates, the best "
        f"{comparison.best:.4f}: regret over {comparison.budget:,.4g} {AXES[comparison.axis]}, "
        f"{comparison.n_seeds} seeds"
    )


def table(comparison: Comparison) -> Table:
    """Regret at shares of the budget, its mean, and how much less than the baseline's that is."""
    at = [f"{comparison.budget * share:,.3g}" for share in SHARES]
    rows = [
        [
            result.name,
            *(f"{regret.mean:.4f}" for regret in result.at),
            _bracketed(result.area),
            "" if result.gain is None else _bracketed(result.gain),
        ]
        for result in comparison.results
    ]
    return Table("", ["sampler", *at, "mean", f"less than {BASELINE}"], rows)


def _bracketed(interval: Interval) -> str:
    return f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence for each sampler."""
    return [verdict(comparison, result) for result in comparison.results if result.gain]


def plain(comparison: Comparison) -> dict[str, Any]:
    """All but the single searches, as JSON."""
    names = ("study", "n_candidates", "best", "n_seeds", "axis", "budget", "n_shuffled")
    samplers = {result.name: _plain(comparison, result) for result in comparison.results}
    return {**{name: getattr(comparison, name) for name in names}, "samplers": samplers}


def _plain(comparison: Comparison, result: Result) -> dict[str, Any]:
    numbers = {
        "regret": {f"{share:g}": asdict(at) for share, at in zip(SHARES, result.at, strict=True)},
        "mean_regret": asdict(result.area),
    }
    if result.gain is not None:
        numbers["gain"] = asdict(result.gain)
    data: dict[str, Any] = rounded(numbers)
    if result.gain is not None:
        data["verdict"] = verdict(comparison, result)
    if result.luck is not None:
        data["p_shuffled"] = result.luck
    return data


def _points(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """The curve of each sampler, point by point."""
    for result in comparison.results:
        for paid, regret in zip(comparison.points, result.band, strict=True):
            yield {
                "sampler": result.name,
                comparison.axis: paid,
                "regret": regret.mean,
                "low": regret.low,
                "high": regret.high,
            }


def picture(comparison: Comparison) -> bytes:
    """The mean regret of each sampler over what was paid, with its band."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="tight")
    panel = figure.subplots()
    points = comparison.points
    for result in comparison.results:
        means = [regret.mean for regret in result.band]
        # The mean of step functions is one itself: what was paid for counts from there on.
        [line] = panel.step(points, means, where="post", label=result.name)
        low, high = [regret.low for regret in result.band], [regret.high for regret in result.band]
        band = panel.fill_between(points, low, high, step="post", alpha=0.2, linewidth=0)
        band.set_color(line.get_color())
    panel.set_xlabel(AXES[comparison.axis])
    panel.set_ylabel("regret (the best value minus the best so far)")
    # To a thousandth of the largest: below that, all samplers have found what there is.
    panel.set_yscale("log")
    top = comparison.results[0].band[0].mean
    panel.set_ylim(1e-3 * top, 1.2 * top)
    panel.set_xlim(0, comparison.budget)
    panel.set_title(
        f"{comparison.study}: {comparison.n_candidates} recorded candidates, "
        f"{comparison.n_seeds} seeds, 95 % intervals of the mean",
        fontsize="medium",
    )
    panel.legend()
    return png_of(figure)
