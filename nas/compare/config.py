"""The configuration of a comparison: one tree of dataclasses, read once and passed down."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from nas.config import TasksConfig, check_floors, check_study_name, seconds
from nas.errors import UserError
from nas.evaluation import described
from nas.settings import SettingsGrid
from nas.tasks.base import Task


@dataclass(frozen=True)
class CompareConfig:
    """A comparison. The same configuration, seed and cells give the same numbers."""

    cells: tuple[str, ...] = ()
    """Cells beside GRU and LSTM: zoo names, .cell or .json files, a winner's folder, runs:/ID."""
    study: str = ""
    """Name of the comparison, a folder under `studies`; named after its cells if empty."""
    seeds: int = 10
    """Fresh seeds that each cell is trained on with its best setting, and measured on test."""
    tuning: int = 20
    """Settings a task that each cell is tried on, measured on validation; the same for all."""
    seed: int = 0
    """What settings and all other seeds are drawn from."""
    tasks: TasksConfig = field(default_factory=TasksConfig)
    settings: SettingsGrid = field(default_factory=SettingsGrid)
    settings_per_evaluation: int = 0
    """Settings that one worker trains in one go; 0: all of a task's."""
    time_budget: str = ""
    """Stop after this much time in all, such as 90s, 5m or 8h; no limit if empty."""
    workers: int = 0
    """Worker processes of one thread each; 0: as many as there are cores."""
    evaluation_time_limit: str = "1h"
    """An evaluation that takes longer is ended and counts as timed out."""
    evaluation_memory_limit_gb: float = 0.0
    """An evaluation whose worker needs more counts as out of memory; 0: no limit."""
    storage: str = ""
    """URL of Optuna's storage; a SQLite file in the study's folder if empty."""
    tracking_uri: str = ""
    """URI of MLflow's tracking store; the SQLite file mlflow.db here if empty; "off": none."""
    studies: str = "studies"
    """The folder that holds the studies' folders."""

    def check(self) -> None:
        """Raise UserError for the first field that breaks a rule."""
        floors = {"seeds": 1, "tuning": 1, "seed": 0, "workers": 0, "settings_per_evaluation": 0}
        check_floors(self, floors)
        if not self.evaluation_memory_limit_gb >= 0:  # nor nan
            value_gb = self.evaluation_memory_limit_gb
            raise UserError(f"evaluation_memory_limit_gb must be at least 0, got {value_gb}.")
        check_study_name(self.study)
        seconds("time_budget", self.time_budget)
        seconds("evaluation_time_limit", self.evaluation_time_limit)
        self.settings.check()
        self.tasks.check()
        for task in self.compared:
            check_comparable(task, self.seed)

    @property
    def compared(self) -> tuple[Task, ...]:
        """The tasks that cells are compared on."""
        return tuple(self.tasks.task(name) for name in self.tasks.use)

    @property
    def tuning_seed(self) -> int:
        """Of weights and data while settings are chosen."""
        return drawn_seed(self.seed, "tuning")

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Of weights and data in what is compared; more of them begin with the same."""
        return tuple(drawn_seed(self.seed, str(place)) for place in range(self.seeds))

    def definition(self) -> dict[str, Any]:
        """What the numbers depend on, beside the cells: another definition is another study."""
        tasks = {task.name: task for task in self.compared}
        return {
            "kind": "comparison",
            "seeds": self.seeds,
            "tuning": self.tuning,
            "seed": self.seed,
            "settings_per_evaluation": self.settings_per_evaluation,
            "tasks.use": list(self.tasks.use),
            "tasks": {
                name: {**described(task), "version": task.version} for name, task in tasks.items()
            },
            "settings": described(self.settings),
        }


def drawn_seed(seed: int, purpose: str) -> int:
    """A seed that no search was given, as far as seeds are small numbers."""
    return int.from_bytes(hashlib.sha256(f"compare {seed} {purpose}".encode()).digest()[:4])


def check_comparable(task: Task, seed: int) -> None:
    """Refuse a task on which cells cannot be compared.

    Raises:
        UserError: if it has several parameter budgets, or nothing to test on.
    """
    if len(set(task.n_params)) != 1:
        raise UserError(
            f"tasks.{task.name}.n_params must be one parameter budget in a comparison, the same "
            f"for every cell, got {', '.join(map(str, task.n_params))}: choose one with "
            f"--tasks.{task.name}.n_params."
        )
    if next(iter(task.windows("test", drawn_seed(seed, "0"))), None) is None:
        raise UserError(
            f"tasks.{task.name} has no window in its test split, which comparisons need: give it "
            "more data, or a smaller window or batch_size."
        )
