"""A comparison as runs of MLflow: one for each cell, and one for all with the files."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from nas.cell.json import to_json
from nas.cell.reader import loads
from nas.compare.report import files, markdown, plain_cell
from nas.compare.result import Comparison, Contrast, Measured, OnTask
from nas.record import page
from nas.record.entry import PICTURE, Entry, legal, shown_param
from nas.record.view import view_of_comparison
from nas.study.leaderboard import BASELINES
from nas.zoo import ZOO

SUMMARY = "comparison"
"""Key, name and kind of the run of all cells."""
LONGEST_NOTE = 7000
"""Characters: MLflow cuts a note at 8000, silently."""


def entries(comparison: Comparison, folder: Path) -> list[Entry]:
    """The runs to be written; `folder` holds the files. More cells write all of them anew."""
    cells = [_of_cell(comparison, place) for place in range(len(comparison.tasks[0].cells))]
    return [*cells, _summary(comparison, folder)]


def view(comparison: Comparison) -> str:
    """What MLflow shows of the experiment at first: the best cells on the first task first, with
    the test metric, the gain on the GRU and both intervals."""
    columns: list[str] = []
    for on in comparison.tasks:
        task = legal(on.task.name)
        measured = dict.fromkeys(name for cell in on.cells for name, _ in _metrics(on, cell))
        shown = (f"{task}.test", f"{task}.better_than")
        columns += [name for name in measured if name.startswith(shown)]
    first = comparison.tasks[0].task
    return view_of_comparison(first.name, columns, is_ascending=not first.metric.higher_is_better)


def _of_cell(comparison: Comparison, place: int) -> Entry:
    on_tasks = [(on, on.cells[place]) for on in comparison.tasks]
    first = on_tasks[0][1]
    text = comparison.cells[first.name]
    kind = "baseline" if first.key in {ZOO[name].key for name in BASELINES} else "compared"
    verdicts = [verdict for verdict in comparison.verdicts if verdict.startswith(f"{first.name} ")]
    listed = [f"- {verdict}" for verdict in verdicts]
    cell = loads(text)
    image = f"![{first.name}](get-artifact?path={PICTURE}&run_uuid={page.RUN_ID})"
    note = "\n".join([page.beginning(cell), "", *listed, "", image, "", page.end(cell)])
    picture = cell.svg()
    artifacts: dict[str, str | bytes] = {
        PICTURE: picture,
        page.SMALL: page.small(picture),
        "cell.cell": text,
        "cell.json": json.dumps(to_json(cell), indent=2) + "\n",
    }
    if not comparison.n_best:
        numbers = [plain_cell(cell) for _, cell in on_tasks]
        artifacts["numbers.json"] = json.dumps(numbers, indent=2) + "\n"
    return Entry(
        first.key,
        first.name,
        kind,
        "FINISHED",
        sum(cell.seconds for _, cell in on_tasks),
        _tags(comparison, first.key, kind),
        dict(pair for on, cell in on_tasks for pair in _metrics(on, cell)),
        _counts(comparison)
        if comparison.n_best
        else dict(pair for on, cell in on_tasks for pair in _params(on, cell)),
        (),
        note[:LONGEST_NOTE],
        artifacts,
    )


def _tags(comparison: Comparison, key: str, kind: str) -> dict[str, str]:
    """The tags by which a run of a comparison is found again."""
    # Corrected p values depend on how many cells there are: with more of them, all is written anew.
    n_cells = str(len(comparison.cells))
    return {"nas.key": key, "nas.kind": kind, "nas.study": comparison.study, "nas.turn": n_cells}


def _counts(comparison: Comparison) -> dict[str, str]:
    if comparison.n_best:
        return {"settings": str(comparison.tuning), "best": str(comparison.n_best)}
    return {"seeds": str(len(comparison.seeds)), "tuning": str(comparison.tuning)}


def _metrics(on: OnTask, cell: Measured) -> Iterator[tuple[str, float]]:
    task = on.task.name
    yield legal(f"{task}.test"), sum(cell.values) / len(cell.values)
    if cell.mean is not None:
        yield legal(f"{task}.test.low"), cell.mean.low
        yield legal(f"{task}.test.high"), cell.mean.high
    for name, values in cell.curves.items():
        yield legal(f"{task}.{name}"), sum(values) / len(values)
    for name, values in cell.beside.items():
        yield legal(f"{task}.test.{name}"), sum(values) / len(values)
    if cell.tuned is not None:
        yield legal(f"{task}.validation"), cell.tuned
    if cell.n_params:
        yield legal(f"{task}.n_params"), float(cell.n_params)
    for other, pairs in on.against.items():
        if (pair := pairs.get(cell.name)) is not None and pair.gain is not None:
            is_many = isinstance(pair, Contrast)
            name = f"{task}.better_than_{'first' if is_many else other}"
            yield legal(name), pair.gain.mean
            yield legal(f"{name}.low"), pair.gain.low
            yield legal(f"{name}.high"), pair.gain.high
            yield legal(f"{task}.p" if is_many else f"{name}.p"), pair.corrected
    for other, pairs in on.fast.items():
        if (pair := pairs.get(cell.name)) is not None and pair.gain is not None:
            yield legal(f"{task}.area_better_than_{other}"), pair.gain.mean
            yield legal(f"{task}.area_better_than_{other}.low"), pair.gain.low
            yield legal(f"{task}.area_better_than_{other}.high"), pair.gain.high
            yield legal(f"{task}.area_better_than_{other}.p"), pair.corrected
    if cell.shares is not None:
        for name, share in cell.shares.single.items():
            yield legal(f"{task}.share.{name}"), share
        yield legal(f"{task}.share.interactions"), cell.shares.interactions


def _params(on: OnTask, cell: Measured) -> Iterator[tuple[str, str]]:
    if cell.settings is not None:
        for name, value in {**asdict(cell.settings), "hidden_size": cell.hidden_size}.items():
            yield legal(f"{on.task.name}.{name}"), shown_param(value)


def _of_rankings(comparison: Comparison) -> Iterator[tuple[str, float]]:
    """How well one run ranks the cells."""
    for on in comparison.tasks:
        for name, one in on.rankings.items():
            of = legal(f"reliability.{on.task.name}.{name}")
            yield f"{of}.deviation", one.one_run.deviation
            for half, tau in (("tau", one.one_run.tau), ("tau_half_of_seeds", one.halves.tau)):
                if tau is not None:
                    yield f"{of}.{half}", tau.mean
                    yield f"{of}.{half}.low", tau.low
                    yield f"{of}.{half}.high", tau.high


def _summary(comparison: Comparison, folder: Path) -> Entry:
    pairs = [pair for on in comparison.tasks for of in on.against.values() for pair in of.values()]
    levels = {
        legal(f"{on.task.name}.{level.name}"): level.value
        for on in comparison.tasks
        for level in on.levels.shown
    }
    return Entry(
        SUMMARY,
        SUMMARY,
        SUMMARY,
        "FINISHED",
        sum(cell.seconds for on in comparison.tasks for cell in on.cells),
        _tags(comparison, SUMMARY, SUMMARY),
        {
            "n_cells": float(len(comparison.cells)),
            "n_pairs": float(len(pairs)),
            "n_claimed": float(sum(pair.is_claimed for pair in pairs)),
            **levels,
            **dict(_of_rankings(comparison)),
        },
        _counts(comparison),
        (),
        markdown(comparison)[:LONGEST_NOTE],
        {name: (folder / name).read_bytes() for name in files(comparison)},
    )
