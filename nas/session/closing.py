"""What a search says when it ends: why it ended, what was set aside, and how to go on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import HIDDEN, hidden
from nas.study.config import SearchConfig
from nas.study.leaderboard import n_runs
from nas.tasks.base import Task
from nas.tasks.levels import levels_of

if TYPE_CHECKING:  # it imports Optuna, and a wrong name is to be told at once
    from nas.study.leaderboard import Row
    from nas.study.visit import Visit


def levels(task: Task, rows: "Sequence[Row]", seed: int) -> str:
    """What the best cell, GRU and LSTM reached on a task, beside what needs no network."""
    scored = [row for row in rows if not row.rejected]
    best = next((row for row in scored if row.kind != "baseline"), None)
    reached: dict[str, float] = {}
    for row in [row for row in scored if row.kind == "baseline" or row is best]:
        value = row.visit.judgement.best.get(task.name) if row.visit.judgement else None
        if value is not None:
            reached[row.name] = value
    simple = levels_of(task, seed)
    reached |= {one.name: one.value for one in simple.shown}
    better = "more" if task.metric.higher_is_better else "less"
    numbers = ", ".join(f"{name} {task.metric.shown(value)}" for name, value in reached.items())
    why = f"; simple predictors are not computed: {simple.why}" if simple.why else ""
    metric = task.metric
    return f"{task.name}, {metric.name} ({metric.unit}, {better} is better): {numbers}{why}."


def used_up(budget: str, config: SearchConfig, visits: "Sequence[Visit | None]") -> str:
    """Which budget ended the search, and how to go on; `budget` is "time" or "runs"."""
    if budget == "runs":
        more = f"--run_budget {2 * config.run_budget}"
        what = f"The run budget of {config.run_budget:,} is used up ({n_runs(visits):,} runs)"
    else:
        what, more = f"The time budget of {config.time_budget} is used up", "--time_budget TIME"
    return f"{what}; with a larger one the search goes on: {command(config)} {more}"


def interrupted(config: SearchConfig, n_judged: int, n_cells: int) -> str:
    """What is kept, and how to go on."""
    return (
        f"Interrupted: {n_judged} of {n_cells} cells are judged and kept in {folder(config)}. The "
        f"same command goes on from here, as does: {command(config)}"
    )


def folder(config: SearchConfig) -> Path:
    """Of the study."""
    return Path(config.studies) / config.study


def command(config: SearchConfig) -> str:
    """What goes on with the study, a storage's password left out."""
    storage = " --storage URL" if HIDDEN in hidden(config.storage) else ""
    return f"python -m nas.search {folder(config) / 'config.yaml'}{storage}"
