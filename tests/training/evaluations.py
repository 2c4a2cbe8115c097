"""Evaluations from cells, for tests that train members."""

from collections.abc import Sequence
from typing import Any

from nas.cell.cell import Cell
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.tasks.base import Task


def evaluation(
    cell: Cell, task: Task, settings: Sequence[Settings], seed: int, **options: Any
) -> Evaluation:
    return Evaluation(str(cell), cell.key, task, tuple(settings), seed, **options)
