"""`nas.search --confirm N`: the best cells of a search, on seeds and tasks that it never saw."""

from collections.abc import Sequence
from dataclasses import replace

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.compare.config import CompareConfig
from nas.compare.run import check_cells, run
from nas.compare.sources import cells_of
from nas.study.config import SearchConfig
from nas.study.leaderboard import Row


def confirming(search: SearchConfig) -> CompareConfig:
    """The comparison at the end of a search: its settings, fresh seeds, and fresh tasks if given.

    Raises:
        UserError: if a task cannot be compared on, or its budget is too small for GRU or LSTM.
    """
    tasks = replace(search.tasks, use=search.confirm_tasks or search.tasks.use)
    config = CompareConfig(
        study=f"{search.study}-confirm",
        seeds=search.confirm_seeds,
        tuning=search.confirm_tuning or search.protocol.n_settings,
        seed=search.seed,
        tasks=tasks,
        settings=search.settings,
        settings_per_evaluation=search.protocol.settings_per_evaluation,
        workers=search.workers,
        devices=search.devices,
        cluster=search.cluster,
        evaluation_time_limit=search.evaluation_time_limit,
        evaluation_memory_limit_gb=search.evaluation_memory_limit_gb,
        storage=search.storage,
        storage_wait=search.storage_wait,
        tracking_uri=search.tracking_uri,
        studies=search.studies,
    )
    config.check()
    check_cells(config, cells_of(()))
    return config


def best_cells(rows: Sequence[Row], count: int) -> list[Cell]:
    """The first `count` cells of a leaderboard, baselines aside."""
    best = [row for row in rows if row.kind != "baseline" and not row.rejected]
    return [loads(row.visit.cell) for row in best[:count]]


def confirm(comparison: CompareConfig, best: Sequence[Cell], command: str) -> int:
    """Compare the best cells of a search with GRU and LSTM; the exit code.

    `comparison` is what `confirming` made of the search, `command` goes on with it.

    A search that goes on later may have other best cells: those that were confirmed before stay in
    the comparison, since they were tried.
    """
    config = replace(comparison, cells=tuple(map(str, best)))
    check_cells(config, best)
    return run(config, [*cells_of(()), *best], command)
