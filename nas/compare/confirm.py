"""`nas.search --confirm N`: the best cells of a search, on seeds and tasks that it never saw."""

from collections.abc import Sequence
from dataclasses import fields, replace

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.compare.config import CompareConfig, cells_of
from nas.compare.run import plan, run
from nas.session.manner import COMMAND, Manner
from nas.session.plan import Plan
from nas.study.config import SearchConfig, StudyConfig
from nas.study.leaderboard import Row


def confirming(search: SearchConfig) -> Plan[CompareConfig]:
    """The comparison at the end of a search: its settings, fresh seeds, and fresh tasks if given.

    Raises:
        UserError: if a task cannot be compared on, or its budget is too small for GRU or LSTM.
    """
    shared = {field.name: getattr(search, field.name) for field in fields(StudyConfig)}
    shared["study"] = f"{search.study}-confirm"
    shared["tasks"] = replace(search.tasks, use=search.confirm_tasks or search.tasks.use)
    shared["time_budget"] = ""  # it is the search's
    config = CompareConfig(
        **shared,
        seeds=search.confirm_seeds,
        tuning=search.confirm_tuning or search.protocol.n_settings,
        settings_per_evaluation=search.protocol.settings_per_evaluation,
    )
    config.check()
    return plan(config, cells_of(()))


def best_cells(rows: Sequence[Row], count: int) -> list[Cell]:
    """The first `count` cells of a leaderboard, baselines aside."""
    best = [row for row in rows if row.may_win]
    return [loads(row.visit.cell) for row in best[:count]]


def confirm(
    comparison: Plan[CompareConfig], best: Sequence[Cell], command: str, manner: Manner = COMMAND
) -> int:
    """Compare the best cells of a search with GRU and LSTM; the exit code.

    `comparison` is what `confirming` made of the search, `command` goes on with it. A search that
    goes on later may have other best cells: those that were confirmed before stay in the
    comparison, since they were tried.
    """
    config = replace(comparison.config, cells=tuple(map(str, best)))
    return run(plan(config, [*comparison.cells, *best]), command, manner)
