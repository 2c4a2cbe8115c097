"""The configuration of learning curves: one tree of dataclasses, read once and passed down."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from nas.errors import UserError
from nas.protocol.settings import SettingsGrid
from nas.study.config import RunConfig
from nas.tasks.base import Task
from nas.workers.config import check_devices

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
class CurvesConfig(RunConfig):
    """Cells and tasks whose learning curves are drawn."""

    seed: Annotated[int, "in [0, 9223372036854775807]"] = 0
    """The first seed of weights and data."""
    settings: SettingsGrid = field(default_factory=_few_settings)
    workers: Annotated[int, "at least 0"] = 0
    """Worker processes of one thread each; 0: as many as there are cores."""
    devices: tuple[str, ...] = ()
    """Devices to train on, such as cuda:0 cuda:1, at most four workers each unless `workers` says
    more; the CPU if empty."""
    cells: tuple[str, ...] = ("lstm",)
    """Zoo names, .cell or .json files, a winner's folder, studies/STUDY/NAME; "zoo" is all
    known cells."""
    out: str = "curves"
    """The folder of the curves, the table and the pictures; what it holds is not trained again."""
    seeds: Annotated[int, "at least 1"] = 1
    """Seeds that each cell is trained with: seed, seed + 1, …"""
    epochs: Annotated[int, "at least 0"] = 0
    """Most epochs of a run on any task; 0: those of each task."""
    solved: Annotated[float, "in (0, 1]"] = 0.99
    """A task that has a perfect score is solved this share of the way to it from blind guessing."""

    contrast: tuple[str, ...] = ()
    """Some of `cells`, such as those with gates: a table says by how much the best of them leads
    the best of all others on each task. None: no table."""

    def check(self) -> None:
        super().check()
        check_devices(self.devices)
        if not self.cells:
            raise UserError("cells needs at least one cell, or zoo for all known ones, got none.")
        if not self.out:
            raise UserError("out must name a folder, got nothing.")
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
