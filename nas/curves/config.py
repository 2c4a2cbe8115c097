"""The configuration of learning curves: one tree of dataclasses, read once and passed down."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from nas.errors import UserError, check_fields
from nas.protocol.settings import SettingsGrid
from nas.study.config import seconds
from nas.tasks.base import Task
from nas.tasks.config import TasksConfig

MOST_SETTINGS = 20
"""Settings of a run that are few: more are a search."""


def _few_settings() -> SettingsGrid:
    return SettingsGrid(
        init_scale=(1.0,),
        learning_rate=(0.001, 0.003, 0.01),
        clip_norm=(5.0,),
        num_layers=(1,),
        optimizer="adamw",
    )


@dataclass(frozen=True)
class CurvesConfig:
    """Cells and tasks whose learning curves are drawn."""

    cells: tuple[str, ...] = ("lstm",)
    """Zoo names, .cell or .json files, a winner's folder; "zoo" is all known cells."""
    out: str = "curves"
    """The folder of the curves, the table and the pictures; what it holds is not trained again."""
    tasks: TasksConfig = field(default_factory=TasksConfig)
    settings: SettingsGrid = field(default_factory=_few_settings)
    seeds: Annotated[int, "at least 1"] = 1
    """Seeds that each cell is trained with: seed, seed + 1, …"""
    seed: Annotated[int, "at least 0"] = 0
    """The first one, of weights and data."""
    epochs: Annotated[int, "at least 0"] = 0
    """Most epochs of a run on any task; 0: those of each task."""
    solved: Annotated[float, "in (0, 1]"] = 0.99
    """A task that has a perfect score is solved this share of the way to it from blind guessing."""
    time_budget: str = ""
    """Stop after this much time, such as 90s, 5m or 8h; no limit if empty."""
    workers: Annotated[int, "at least 0"] = 0
    """Worker processes of one thread each; 0: as many as there are cores."""
    evaluation_time_limit: str = "1h"
    """A cell on a task, with all settings, that takes longer is ended and counts as timed out."""
    evaluation_memory_limit_gb: Annotated[float, "at least 0"] = 0.0
    """One whose worker needs more counts as out of memory; 0: no limit."""

    def check(self) -> None:
        """Raise UserError for the first field that breaks a rule."""
        check_fields(self)
        if not self.cells:
            raise UserError("cells needs at least one cell, or zoo for all known ones, got none.")
        if not self.out:
            raise UserError("out must name a folder, got nothing.")
        seconds("time_budget", self.time_budget)
        seconds("evaluation_time_limit", self.evaluation_time_limit)
        self.settings.check()
        self.tasks.check()
        for task in self.drawn:
            if (n := len(self.settings.points(task.n_params))) > MOST_SETTINGS:
                raise UserError(
                    f"settings x tasks.{task.name}.n_params must be at most {MOST_SETTINGS} "
                    f"settings, of which all are trained, got {n}: give shorter lists."
                )

    @property
    def drawn(self) -> tuple[Task, ...]:
        """The tasks, with the number of epochs that is asked for."""
        tasks = (self.tasks.task(name) for name in self.tasks.use)
        return tuple(replace(task, epochs=self.epochs) if self.epochs else task for task in tasks)
