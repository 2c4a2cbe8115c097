"""The configuration of a comparison: one tree of dataclasses, read once and passed down."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from nas.cell.cell import Cell
from nas.errors import UserError
from nas.study.config import StudyConfig
from nas.study.leaderboard import BASELINES
from nas.tasks.base import Task
from nas.tasks.fields import described
from nas.workers.config import device_kind
from nas.zoo.lookup import cell as look_up
from nas.zoo.lookup import unique_cells

Finding = Literal["better", "worse", "same"]
"""How a cell compares with another; "same" means no evidence of a difference."""


@dataclass(frozen=True)
class CompareConfig(StudyConfig):
    """A comparison. The same configuration, seed and cells give the same numbers."""

    study: str = ""
    """Name of the comparison, a folder under `studies`; named after its cells if empty."""
    seed: Annotated[int, "in [0, 9223372036854775807]"] = 0
    """Seed that settings and all other seeds are drawn from."""
    cells: tuple[str, ...] = ()
    """Cells beside GRU and LSTM: zoo names, .cell or .json files, a winner's folder,
    studies/STUDY/NAME, runs:/ID."""
    against: tuple[str, ...] = ()
    """Cells that all others are compared with, beside GRU and LSTM; not with a best_share."""
    seeds: Annotated[int, "at least 1"] = 10
    """Fresh seeds that each cell is trained on with its best setting, and measured on test."""
    tuning: Annotated[int, "at least 1"] = 20
    """Settings a task that each cell is tried on, measured on validation; the same for all."""
    best_share: Annotated[float, "in [0, 1]"] = 0.0
    """Above 0 nothing is trained on fresh seeds: as by Greff et al. 2015, the settings are drawn
    between the smallest and the largest of each list, every run is measured on test, and of each
    cell this share, the best on validation, is compared with that of the first of `cells`."""
    published: tuple[str, ...] = ()
    """With a best_share, a paper's findings about cells beside the first one, as "TASK CELL worse",
    "same" or "better"; they are shown beside the findings here."""
    settings_per_evaluation: Annotated[int, "at least 0"] = 0
    """Settings that one worker trains in one go; 0: all of a task's."""

    def check(self) -> None:
        super().check()
        self._check_best_share()
        for task in self.compared:
            check_comparable(task, self.seed, many_budgets=bool(self.best_share))

    def _check_best_share(self) -> None:
        if self.best_share and self.n_best < 2:
            raise UserError(
                f"best_share {self.best_share:g} of tuning {self.tuning} leaves {self.n_best} "
                "setting of each cell, and a test needs 2 at least: raise either."
            )
        if self.best_share and self.against:
            raise UserError(
                "against names cells for a comparison on fresh seeds; with a best_share all are "
                f"compared with the first of cells, so it must be empty, got {self.against[0]}."
            )
        if self.best_share and not self.cells:
            raise UserError("best_share needs cells, the first of which others are compared with.")
        if self.published and not self.best_share:
            raise UserError("published findings are shown with a best_share above 0, got none.")
        for text in self.published:
            task, cell, _ = published_of(text)
            look_up(cell)
            if task not in (names := [one.name for one in self.compared]):
                known = ", ".join(names)
                raise UserError(f'published names tasks of tasks.use, {known}, got "{text}".')

    @property
    def n_best(self) -> int:
        """Settings of each cell that are compared with a best_share."""
        return max(1, round(self.best_share * self.tuning))

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
        compared = {"best_share": self.best_share} if self.best_share else {"seeds": self.seeds}
        return {
            "kind": "comparison",
            **compared,
            "tuning": self.tuning,
            "seed": self.seed,
            "settings_per_evaluation": self.settings_per_evaluation,
            "tasks.use": list(self.tasks.use),
            "tasks": {
                name: {**described(task), "version": task.version} for name, task in tasks.items()
            },
            "settings": described(self.settings),
            **device_kind(self.devices, self.cluster),
        }


def drawn_seed(seed: int, purpose: str) -> int:
    """A seed that no search was given, as far as seeds are small numbers."""
    return int.from_bytes(hashlib.sha256(f"compare {seed} {purpose}".encode()).digest()[:4])


def cells_of(sources: Sequence[str], tracking_uri: str = "") -> tuple[Cell, ...]:
    """GRU and LSTM, then the cells that are named; each key once.

    Raises:
        UserError: if there is no such cell, with the nearest name.
    """
    return unique_cells([cell_of(source, tracking_uri) for source in (*BASELINES, *sources)])


def cell_of(source: str, tracking_uri: str = "") -> Cell:
    """The cell that a name means; `runs:/ID` is a run of MLflow that recorded a cell.

    Raises:
        UserError: if there is no such cell, with the nearest name.
    """
    if not source.startswith("runs:/"):
        return look_up(source)
    from nas.record.comparison import recorded_cell

    return recorded_cell(source, tracking_uri)


def published_of(text: str) -> tuple[str, str, Finding]:
    """Task, cell and finding of a line of `published`.

    Raises:
        UserError: unless it has these three words.
    """
    words = text.split()
    if len(words) == 3:
        for finding in get_args(Finding):
            if words[2] == finding:
                return words[0], words[1], finding
    known = ", ".join(get_args(Finding))
    raise UserError(f'published is lines such as "music lstm_nfg worse" ({known}), got "{text}".')


def check_comparable(task: Task, seed: int, *, many_budgets: bool = False) -> None:
    """Refuse a task on which cells cannot be compared.

    Raises:
        UserError: if it has several parameter budgets and may not, or nothing to test on.
    """
    if len(set(task.n_params)) != 1 and not many_budgets:
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
