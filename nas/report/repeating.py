"""Which number of a cell repeats: the agreement of both measurements, by each statistic.

The runs of cells that were measured twice are there with their curves, so that every statistic is
compared on the same runs, whichever the study itself goes by.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from nas.protocol.repeating import repeat_seed
from nas.protocol.statistic import Of, Over, Statistic, blind
from nas.report.document import Table
from nas.report.facts import Facts, Run
from nas.report.reliability import shown
from nas.report.statistics.reliability import Agreement, agreement
from nas.study.leaderboard import Row
from nas.tasks.base import Task

OVER: tuple[Over, ...] = ("best", "mean")
OF: tuple[Of, ...] = ("best", "last", "area")


def by_statistic(facts: Facts) -> Iterator[tuple[Task, Statistic, Agreement]]:
    """The agreement on each task by each statistic, of scored cells that were measured twice."""
    rows = [row for row in facts.rows if not row.rejected and _repeated(row)]
    for task in facts.protocol.tasks:
        both = [pair for row in rows if all(pair := _both(facts, row, task))]
        for over, of in itertools.product(OVER, OF):
            values = [[_value(task, runs, over, of) for runs in pair] for pair in both]
            known = [(a, b) for a, b in values if a is not None and b is not None]
            is_higher = task.metric.higher_is_better
            first, second = ([pair[side] for pair in known] for side in (0, 1))
            found = agreement(first, second, higher_is_better=is_higher)
            if found is not None:
                yield task, Statistic(over, of), found


def _repeated(row: Row) -> bool:
    return bool(row.visit.judgement and row.visit.judgement.repeated)


def _both(facts: Facts, row: Row, task: Task) -> tuple[list[Run], list[Run]]:
    """The runs of the first and of the second measurement."""
    first = facts.of_cell(row.key, task.name)
    seeds = {repeat_seed(run.seed) for run in first}
    again = [run for run in facts.repeats_of(row.key, task.name) if run.seed in seeds]
    # The GRU has further settings, with which later visits of candidates are compared.
    settings = {run.settings for run in again}
    return [run for run in first if run.settings in settings], again


def _value(task: Task, runs: Sequence[Run], over: Over, of: Of) -> float | None:
    """A statistic from the numbers that are kept of each run; None if one has no such number."""
    if any(run.endpoints is None for run in runs):
        return None
    values = []
    for run in runs:
        area, last = run.endpoints or (0.0, 0.0)
        best = blind(task) if run.outcome.best is None else run.outcome.best
        values.append({"area": area, "last": last}.get(of, best))
    if over == "mean":
        return float(np.mean(values))
    return max(values) if task.metric.higher_is_better else min(values)


def table(facts: Facts) -> Table | None:
    """A row for each task and statistic; None where no two cells were measured twice."""
    found = [
        (
            task.name,
            f"{statistic.over} of the settings",
            {"best": "best epoch", "last": "last epoch"}.get(statistic.of, "area"),
            str(one.n),
            shown(one.tau),
            shown(one.better),
            f"{one.deviation:.3g}",
        )
        for task, statistic, one in by_statistic(facts)
    ]
    if not found:
        return None
    caption = (
        "Which number of a cell repeats, on the same runs: tau of both measurements by the best or "
        "the mean over the settings, of each run's best epoch, its last one, or its mean over all "
        f"epochs (area). The study goes by {facts.protocol.statistic.said}."
    )
    head = ("task", "over", "of a run", "cells", "tau", "tau, better half", "standard deviation")
    return Table(caption, head, found)
