"""How well one run ranks the cells of a comparison, and how well half of the seeds do.

A comparison trains every cell on the same fresh seeds with the best setting of each. So it says,
for a list of cells that a user names, what a search's score cannot say of itself: how far an order
by one seed is to be trusted, by which number of a run, and what more seeds change.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.report.document import Table
from nas.report.reliability import shown
from nas.report.statistics.intervals import Interval
from nas.report.statistics.reliability import FEWEST, Agreement, agreement, agreement_of_runs
from nas.tasks.base import Metric

TEST = "test"
"""The name of the metric on the test split, beside the statistics on validation."""
NOTE = (
    "How well one run ranks these cells: Kendall's tau of one seed with another, 1 the same order "
    "and 0 chance, over all cells and over the better half by the first of the two, and tau of the "
    "means of one half of the seeds with those of the other; brackets are 95 % intervals "
    f"(percentile bootstrap over cells), given for {FEWEST} cells and more. The deviation is that "
    "of one run over seeds; two runs of one cell are apart by less than the last column in 95 % of "
    "cases. "
    "best, last and area are of the validation curve: its best epoch, its last one, its mean over "
    "all epochs."
)

ACROSS_NOTE = (
    "Whether an order carries over: Kendall's tau of the cells' means on test of one task with "
    f"those of another, with 95 % intervals (percentile bootstrap over cells), for {FEWEST} cells "
    "and more."
)


@dataclass(frozen=True)
class Ranking:
    """The agreement of the seeds of a comparison, by one number of a run."""

    one_run: Agreement
    """Of one seed with another."""
    halves: Agreement
    """Of the mean of every second seed with the mean of the others."""


def rankings(values: Mapping[str, Sequence[Sequence[float]]], metric: Metric) -> dict[str, Ranking]:
    """The agreement by each number of a run; `values` are [cells, seeds] for each of them.

    Nothing for one cell or one seed.
    """
    found = {}
    for name, by_cell in values.items():
        is_higher = metric.higher_is_better
        one_run = agreement_of_runs(by_cell, higher_is_better=is_higher)
        if one_run is not None:
            of_seeds = np.array(by_cell)
            means = of_seeds[:, ::2].mean(axis=1).tolist(), of_seeds[:, 1::2].mean(axis=1).tolist()
            halves = agreement(*means, higher_is_better=is_higher)
            assert halves is not None
            found[name] = Ranking(one_run, halves)
    return found


def across(by_task: Mapping[str, tuple[Metric, Sequence[float]]]) -> dict[str, Interval]:
    """Return Kendall's tau of the order of the cells on one task with that on another, by the pair
    of tasks; `by_task` has a value for each cell, in one order. Nothing for too few cells.
    """
    goods = {
        name: [value if metric.higher_is_better else -value for value in values]
        for name, (metric, values) in by_task.items()
    }
    found = {}
    for one, other in itertools.combinations(goods, 2):
        pair = agreement(goods[one], goods[other], higher_is_better=True)
        if pair is not None and pair.tau is not None:
            found[f"{one}, {other}"] = pair.tau
    return found


def across_table(taus: Mapping[str, Interval]) -> Table:
    """A row for each pair of tasks."""
    rows = [(*pair.split(", "), shown(tau)) for pair, tau in taus.items()]
    return Table("", ("task", "other task", "tau"), rows)


def table(by_task: Mapping[str, Mapping[str, Ranking]]) -> Table:
    """A row for each task and number of a run."""
    rows = [
        (
            task,
            name,
            str(of.one_run.n),
            shown(of.one_run.tau),
            shown(of.one_run.better),
            shown(of.halves.tau),
            shown(of.halves.better),
            f"{of.one_run.deviation:.4f}",
            "-" if of.one_run.noise is None else f"{of.one_run.noise:.4f}",
        )
        for task, by_name in by_task.items()
        for name, of in by_name.items()
    ]
    head = ("task", "of a run", "cells", "tau", "better half", "half of the seeds",
            "its better half", "deviation", "noise below")  # fmt: skip
    return Table("", head, rows)
