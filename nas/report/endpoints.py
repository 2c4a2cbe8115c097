"""Two endpoints of each cell: how fast it learns, and where it ends.

They are two things: a cell that learns fast need not end well. Both are means over all settings,
which repeat better than the best of them, and are computed from the stored learning curves.
"""

from collections.abc import Sequence

from nas.protocol.statistic import FAST, FINAL
from nas.report.document import Section, Table
from nas.report.facts import Facts, number
from nas.study.leaderboard import Row
from nas.tasks.base import Task

MOST_ROWS = 30
"""Candidates in the table, the best first."""


def endpoints_of(facts: Facts, row: Row, task: Task) -> tuple[float, float] | None:
    """The mean area and the mean last value of a cell on a task, over the settings of all visits.

    None where no run has a metric, or the task's data are needed and are not here.
    """
    runs = facts.of_cell(row.key, task.name)
    ends = [run.endpoints for run in runs if run.endpoints is not None]
    if len(ends) < len(runs) or all(run.outcome.best is None for run in runs):
        return None
    fast, final = (sum(values) / len(ends) for values in zip(*ends, strict=True))
    return fast, final


def both(facts: Facts, against: Facts | None) -> Section:
    """The table of both endpoints beside the best metric."""
    tasks = facts.protocol.tasks
    kept = [row for row in facts.rows if row.kind == "candidate"][:MOST_ROWS]
    rows = [row for row in facts.rows if row.kind != "candidate" or row in kept]
    head = ["cell", *(f"{task.name}: {what}" for task in tasks for what in ("fast", "end", "best"))]
    shown = [(row.name, *_numbers(facts, row, tasks)) for row in rows]
    directions = ", ".join(
        f"{task.name} {task.metric.name}, {'more' if task.metric.higher_is_better else 'less'}"
        for task in tasks
    )
    caption = (
        "How fast each cell learns and where it ends, on validation: fast is the mean of the "
        "metric over all planned epochs (the area under the learning curve), end its value at the "
        "last one, both as means over all settings that were tried; best is the best epoch of the "
        "best setting. A run that stopped early keeps its last value; one that diverged, failed or "
        f"was vetoed counts as blind guessing from there on. Better is: {directions}."
    )
    return Section("Two endpoints", (Table(caption, head, shown),))


def _numbers(facts: Facts, row: Row, tasks: Sequence[Task]) -> list[str]:
    numbers: list[float | None] = []
    for task in tasks:
        ends = endpoints_of(facts, row, task)
        numbers += [*(ends or (None, None)), facts.reached(row, task)]
    return [number(value, ".4g") for value in numbers]


def columns(facts: Facts, row: Row) -> dict[str, float | None]:
    """The endpoints of a cell as columns of a file."""
    found: dict[str, float | None] = {}
    for task in facts.protocol.tasks:
        ends = endpoints_of(facts, row, task) or (None, None)
        for statistic, value in zip((FAST, FINAL), ends, strict=True):
            found[f"{statistic.of} {task.name}"] = value
    return found
