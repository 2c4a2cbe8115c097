"""How well one run ranks the cells of a comparison, and how well half of the seeds do.

A comparison trains every cell on the same fresh seeds with the best setting of each. So it says,
for a list of cells that a user names, what a search's score cannot say of itself: how far an order
by one seed is to be trusted, by which number of a run, and what more seeds change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.report.document import Table
from nas.report.reliability import shown
from nas.statistics.reliability import FEWEST, Agreement, agreement, agreement_of_runs
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
