"""The files of a cell's run: its equations, its picture, and what each setting gave."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from nas.cell.json import to_json
from nas.cell.reader import loads
from nas.study.visit import Evaluated, Visit

PICTURE = "cell.svg"


def files_of(visit: Visit) -> dict[str, str | bytes]:
    """By name; settings.csv is settings.json for people, whom MLflow shows a table."""
    rows = [row for evaluated in visit.evaluated.values() for row in _outcome_rows(evaluated)]
    cell = loads(visit.cell)
    return {
        "cell.cell": visit.cell,
        "cell.json": json.dumps(to_json(cell), indent=2) + "\n",
        PICTURE: cell.svg(),
        "settings.json": json.dumps(rows, indent=2) + "\n",
        "settings.csv": as_csv([_flat(row) for row in rows]),
    }


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """A line a row, headed by the names of the first; None is empty."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of settings.json without nesting."""
    found = {name: value for name, value in row.items() if not isinstance(value, dict)}
    message = found.pop("message")
    settings = {**row["settings"]}
    budget = {"parameter_budget": settings.pop("n_params")}
    return {**found, **budget, **settings, **row["cost"], "message": message}


def _outcome_rows(evaluated: Evaluated) -> Iterator[dict[str, Any]]:
    for settings, outcome in zip(evaluated.settings, evaluated.outcomes, strict=True):
        row = {
            "task": evaluated.task,
            "task_version": evaluated.task_version,
            "seed": evaluated.seed,
            "fidelity": evaluated.fidelity,
            "settings": dataclasses.asdict(settings),
            "status": outcome.status,
            "best": outcome.best,
            "best_epoch": outcome.best_epoch,
            "epochs": len(outcome.curve),
            "n_params": outcome.n_params,
            "hidden_size": outcome.hidden_size,
            "cost": dataclasses.asdict(outcome.cost),
            "message": outcome.message,
        }
        yield row
