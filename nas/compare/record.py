"""What MLflow is told of a comparison: a run a cell, and one of all with the picture."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from nas.cell.json import to_json
from nas.cell.reader import loads
from nas.compare.report import FILES, markdown
from nas.compare.result import Comparison, Measured, OnTask
from nas.record.entry import Entry, legal
from nas.study.leaderboard import BASELINES
from nas.tasks.base import Task
from nas.tasks.levels import Levels
from nas.zoo import ZOO

SUMMARY = "comparison"
"""Key, name and kind of the run of all cells."""
LONGEST_NOTE = 7000
"""Characters: MLflow cuts a note at 8000, silently."""


def entries(comparison: Comparison, folder: Path) -> list[Entry]:
    """The runs to be written; `folder` holds the files. More cells write all of them anew."""
    n_cells = len(comparison.cells)
    names = [one.name for one in comparison.tasks[0].cells]
    cells = [_of_cell(comparison, place, n_cells) for place in range(len(names))]
    return [*cells, _summary(comparison, folder, n_cells)]


def _of_cell(comparison: Comparison, place: int, n_cells: int) -> Entry:
    on_tasks = [(on, on.cells[place]) for on in comparison.tasks]
    first = on_tasks[0][1]
    text = comparison.cells[first.name]
    baselines = [ZOO[name].key for name in BASELINES]
    kind = "baseline" if first.key in baselines else "compared"
    said = [one for one in comparison.verdicts if one.startswith(f"{first.name} ")]
    note = "\n".join([*(f"- {one}" for one in said), "", f"```python\n{text.rstrip()}\n```"])
    numbers = [asdict(one) for _, one in on_tasks]
    return Entry(
        first.key,
        first.name,
        kind,
        "FINISHED",
        sum(one.seconds for _, one in on_tasks),
        tags(comparison.study, first.key, kind, n_cells),
        dict(pair for on, one in on_tasks for pair in _metrics(on, one)),
        dict(pair for on, one in on_tasks for pair in _params(on, one)),
        (),
        note[:LONGEST_NOTE],
        {
            "cell.cell": text,
            "cell.json": json.dumps(to_json(loads(text)), indent=2) + "\n",
            "numbers.json": json.dumps(numbers, indent=2) + "\n",
        },
    )


def tags(study: str, key: str, kind: str, n_cells: int) -> dict[str, str]:
    """What a run of a comparison is found by."""
    # Corrected p values depend on how many cells there are: with more of them, all is written anew.
    return {
        "nas.key": key,
        "nas.kind": kind,
        "nas.study": study,
        "nas.turn": str(n_cells),
    }


def _metrics(on: OnTask, one: Measured) -> Iterator[tuple[str, float]]:
    task = on.task.name
    yield legal(f"{task}.test"), sum(one.values) / len(one.values)
    if one.mean is not None:
        yield legal(f"{task}.test.low"), one.mean.low
        yield legal(f"{task}.test.high"), one.mean.high
    if one.tuned is not None:
        yield legal(f"{task}.validation"), one.tuned
    yield legal(f"{task}.n_params"), float(one.n_params)
    for baseline, found in on.against.items():
        if (pair := found.get(one.name)) is not None and pair.gain is not None:
            yield legal(f"{task}.better_than_{baseline}"), pair.gain.mean
            yield legal(f"{task}.better_than_{baseline}.low"), pair.gain.low
            yield legal(f"{task}.better_than_{baseline}.high"), pair.gain.high
            yield legal(f"{task}.better_than_{baseline}.p"), pair.corrected


def level_metrics(task: Task, levels: Levels) -> Iterator[tuple[str, float]]:
    """Of the summary: what needs no network."""
    for one in levels.shown:
        yield legal(f"{task.name}.{one.name}"), one.value


def _params(on: OnTask, one: Measured) -> Iterator[tuple[str, str]]:
    if one.settings is not None:
        for name, value in {**asdict(one.settings), "hidden_size": one.hidden_size}.items():
            yield legal(f"{on.task.name}.{name}"), str(value)


def _summary(comparison: Comparison, folder: Path, n_cells: int) -> Entry:
    claimed = [
        found.is_claimed
        for on in comparison.tasks
        for of_baseline in on.against.values()
        for found in of_baseline.values()
    ]
    return Entry(
        SUMMARY,
        SUMMARY,
        SUMMARY,
        "FINISHED",
        sum(one.seconds for on in comparison.tasks for one in on.cells),
        tags(comparison.study, SUMMARY, SUMMARY, n_cells),
        {
            "n_cells": float(n_cells),
            "n_pairs": float(len(claimed)),
            "n_claimed": float(sum(claimed)),
            **dict(pair for on in comparison.tasks for pair in level_metrics(on.task, on.levels)),
        },
        {"seeds": str(len(comparison.seeds)), "tuning": str(comparison.tuning)},
        (),
        markdown(comparison)[:LONGEST_NOTE],
        {name: (folder / name).read_bytes() for name in FILES},
    )
