"""A comparison as text, Markdown, JSON and CSV."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.errors import UserError
from nas.replay.compare import AXES, BASELINE, SHARES, Comparison, Result, verdict
from nas.statistics.intervals import Interval

NOTE = "Brackets are bootstrap 95 % intervals of the mean over seeds, on this one table."


def title(comparison: Comparison) -> str:
    """One line."""
    return (
        f"Study {comparison.study}, {comparison.n_candidates} recorded candidates, the best "
        f"{comparison.best:.4f}: regret over {comparison.budget:,.4g} {AXES[comparison.axis]}, "
        f"{comparison.n_seeds} seeds"
    )


def headings(comparison: Comparison) -> list[str]:
    """Of the table's columns."""
    at = [f"{comparison.budget * share:,.3g}" for share in SHARES]
    return ["sampler", *at, "mean", f"less than {BASELINE}"]


def rows(comparison: Comparison) -> list[list[str]]:
    """Regret at shares of the budget, its mean, and how much less than the baseline's that is."""
    return [_row(result) for result in comparison.results]


def _row(result: Result) -> list[str]:
    gain = "" if result.gain is None else _said(result.gain)
    at = [f"{one.mean:.4f}" for one in result.at]
    return [result.name, *at, _said(result.area), gain]


def _said(interval: Interval) -> str:
    return f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence a sampler."""
    return [verdict(comparison, one) for one in comparison.results if one.name != BASELINE]


def lines(comparison: Comparison) -> list[str]:
    """What is printed."""
    table = [headings(comparison), *rows(comparison)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    aligned = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in table
    ]
    return [title(comparison), *aligned, *verdicts(comparison), NOTE]


def markdown(comparison: Comparison) -> str:
    """A page."""
    names = headings(comparison)
    lines = [title(comparison) + ".", "", _cells(names), _cells(["---"] * len(names))]
    lines += [_cells(row) for row in rows(comparison)]
    said = [f"- {one}" for one in verdicts(comparison)]
    return "\n".join([*lines, "", *said, *([""] if said else []), NOTE, ""])


def _cells(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def plain(comparison: Comparison) -> dict[str, Any]:
    """All but the single searches, as JSON."""
    return {
        "study": comparison.study,
        "n_candidates": comparison.n_candidates,
        "best": comparison.best,
        "n_seeds": comparison.n_seeds,
        "axis": comparison.axis,
        "budget": comparison.budget,
        "n_shuffled": comparison.n_shuffled,
        "samplers": {one.name: _plain(comparison, one) for one in comparison.results},
    }


def _plain(comparison: Comparison, result: Result) -> dict[str, Any]:
    found: dict[str, Any] = {
        "regret": {
            f"{share:g}": _rounded(one) for share, one in zip(SHARES, result.at, strict=True)
        },
        "mean_regret": _rounded(result.area),
    }
    if result.gain is not None:
        found["gain"] = _rounded(result.gain)
        found["verdict"] = verdict(comparison, result)
    if result.luck is not None:
        found["p_shuffled"] = result.luck
    return found


def _rounded(interval: Interval) -> dict[str, float]:
    return {name: float(f"{value:.7g}") for name, value in asdict(interval).items()}


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write regret.png, regret.csv, results.json and results.md.

    Raises:
        UserError: if the folder cannot be written.
    """
    from nas.replay.picture import draw

    paths = [folder / name for name in ("regret.png", "regret.csv", "results.json", "results.md")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draw(comparison, paths[0])
        with paths[1].open("w", newline="", encoding="utf-8") as file:
            _write_curves(comparison, csv.writer(file, lineterminator="\n"))
        paths[2].write_text(json.dumps(plain(comparison), indent=1) + "\n", encoding="utf-8")
        paths[3].write_text(markdown(comparison), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror}.") from None
    return paths


def _write_curves(comparison: Comparison, out: Any) -> None:
    out.writerow(["sampler", comparison.axis, "regret", "low", "high"])
    for result in comparison.results:
        for paid, one in zip(comparison.points, result.band, strict=True):
            numbers = (paid, one.mean, one.low, one.high)
            out.writerow([result.name, *(f"{number:.7g}" for number in numbers)])
