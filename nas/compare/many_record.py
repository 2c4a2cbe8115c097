"""What MLflow is told of a comparison by many settings: a run a cell, and one with all files."""

import json
from collections.abc import Iterator
from pathlib import Path

from nas.cell.json import to_json
from nas.cell.reader import loads
from nas.compare.many_report import FILES, markdown, verdicts
from nas.compare.many_result import ManyComparison, OnTask, Sampled
from nas.compare.record import LONGEST_NOTE, SUMMARY, level_metrics, tags
from nas.record.entry import Entry, legal
from nas.study.leaderboard import BASELINES
from nas.zoo import ZOO


def entries(comparison: ManyComparison, folder: Path) -> list[Entry]:
    """The runs to be written; `folder` holds the files. More cells write all of them anew."""
    cells = [_of_cell(comparison, place) for place in range(len(comparison.cells))]
    return [*cells, _summary(comparison, folder)]


def _of_cell(comparison: ManyComparison, place: int) -> Entry:
    on_tasks = [(on, on.cells[place]) for on in comparison.tasks]
    first = on_tasks[0][1]
    text = comparison.cells[first.name]
    kind = "baseline" if first.key in {ZOO[name].key for name in BASELINES} else "compared"
    said = [one for one in verdicts(comparison) if one.startswith(f"{first.name} ")]
    note = "\n".join([*(f"- {one}" for one in said), "", f"```python\n{text.rstrip()}\n```"])
    return Entry(
        first.key,
        first.name,
        kind,
        "FINISHED",
        sum(run.seconds for _, one in on_tasks for run in one.runs),
        tags(comparison.study, first.key, kind, len(comparison.cells)),
        dict(pair for on, one in on_tasks for pair in _metrics(on, one)),
        {"settings": str(comparison.n_settings), "best": str(comparison.n_best)},
        (),
        note[:LONGEST_NOTE],
        {"cell.cell": text, "cell.json": json.dumps(to_json(loads(text)), indent=2) + "\n"},
    )


def _metrics(on: OnTask, one: Sampled) -> Iterator[tuple[str, float]]:
    task, values = on.task.name, one.values
    yield legal(f"{task}.test"), sum(values) / len(values)
    if (found := on.contrasts.get(one.name)) is not None:
        yield legal(f"{task}.p"), found.corrected
        yield legal(f"{task}.better_than_first"), found.gain.mean
        yield legal(f"{task}.better_than_first.low"), found.gain.low
        yield legal(f"{task}.better_than_first.high"), found.gain.high
    if one.shares is not None:
        for name, share in one.shares.single.items():
            yield legal(f"{task}.share.{name}"), share
        yield legal(f"{task}.share.interactions"), one.shares.interactions


def _summary(comparison: ManyComparison, folder: Path) -> Entry:
    found = [one.found != "same" for on in comparison.tasks for one in on.contrasts.values()]
    n_cells = len(comparison.cells)
    return Entry(
        SUMMARY,
        SUMMARY,
        SUMMARY,
        "FINISHED",
        sum(run.seconds for on in comparison.tasks for one in on.cells for run in one.runs),
        tags(comparison.study, SUMMARY, SUMMARY, n_cells),
        {
            "n_cells": float(n_cells),
            "n_pairs": float(len(found)),
            "n_claimed": float(sum(found)),
            **dict(pair for on in comparison.tasks for pair in level_metrics(on.task, on.levels)),
        },
        {"settings": str(comparison.n_settings), "best": str(comparison.n_best)},
        (),
        markdown(comparison)[:LONGEST_NOTE],
        {name: (folder / name).read_bytes() for name in FILES},
    )
