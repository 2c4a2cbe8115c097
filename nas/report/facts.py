"""The facts of a study: its judged visits and all training runs, without their curves."""

import contextlib
import dataclasses
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import UserError, counted
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import best_outcome
from nas.protocol.staged import Staged
from nas.protocol.statistic import blind, endpoints, planned_epochs
from nas.report.reliability import Reliability, open_places, reliability_of
from nas.study.config import SearchConfig, protocol_of
from nas.study.leaderboard import BASELINES, Row, leaderboard, ranks, verdict, winner
from nas.study.location import OpenedStudy
from nas.study.parse import parse
from nas.tasks.base import Task
from nas.tasks.config import TasksConfig
from nas.tasks.levels import Levels, levels_of
from nas.tasks.resolution import Resolution, resolution_of
from nas.zoo import ZOO

if TYPE_CHECKING:
    from nas.study.visit import Evaluated, Visit


@dataclass(frozen=True)
class Run:
    """One training run."""

    number: int
    """The number of the trial with which it lies."""
    key: str
    """The key of the cell that was trained: at a later visit also the reference."""
    task: str
    task_version: str
    seed: int
    settings: Settings
    outcome: Outcome
    """The outcome without its curve."""
    n_epochs: int
    """Finished epochs."""
    repeat: int = 0
    """1 if it is of a second measurement, which no result of the search rests on."""
    endpoints: tuple[float, float] | None = None
    """The mean of the metric over all planned epochs and its value at the last one; None where the
    task's data are needed for them and are not here."""


@dataclass(frozen=True)
class Facts:
    """All that a report is made of."""

    seen: OpenedStudy
    config: SearchConfig
    protocol: Staged
    visits: tuple["Visit", ...]
    """All visits in trial order, those in flight included."""
    runs: tuple[Run, ...]
    baselines: tuple[str, ...] = field(default=tuple(ZOO[name].key for name in BASELINES))
    """Keys, the reference's first."""

    @property
    def name(self) -> str:
        return self.seen.name

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks in the order in which a candidate meets them, the filter first."""
        first = self.protocol.filter
        names = [task.name for task in self.protocol.tasks]
        return (*([first] if first and first.name not in names else []), *self.protocol.tasks)

    @cached_property
    def drawn(self) -> list["Visit"]:
        """Visits of candidates."""
        return [visit for visit in self.visits if visit.kind == "drawn"]

    @cached_property
    def rows(self) -> list[Row]:
        """The leaderboard."""
        return leaderboard(self.visits, self.baselines)

    @cached_property
    def reliability(self) -> Reliability:
        """How well the score ranks, as far as cells were measured twice."""
        return reliability_of(self.protocol, self.rows, self.visits)

    @cached_property
    def ranks(self) -> list[str]:
        """The rank of each row of the leaderboard."""
        return ranks(self.rows, self.resolutions, open_places(self.reliability, self.rows))

    @property
    def verdict(self) -> str:
        """Whether a cell beat the GRU."""
        return verdict(self.rows, self.tried, self.resolutions, self.reliability.noise)

    @cached_property
    def levels(self) -> dict[str, Levels]:
        """The levels of each task that need no network, on the validation split."""
        return {task.name: levels_of(task, self.config.seed) for task in self.tasks}

    @cached_property
    def resolutions(self) -> dict[str, Resolution]:
        """The examples that each task's metric rests on, where its data are here."""
        known = {task.name: resolution_of(task, self.config.seed) for task in self.tasks}
        return {name: resolution for name, resolution in known.items() if resolution}

    def compared(self, row: Row | None, task: Task) -> float | None:
        """What is compared of a cell on a task, which its score comes from."""
        judgement = row.visit.judgement if row else None
        return judgement.on(task.name) if judgement else None

    def reached(self, row: Row | None, task: Task) -> float | None:
        """The best metric of a cell on a task."""
        judgement = row.visit.judgement if row else None
        return judgement.best.get(task.name) if judgement else None

    def row_of(self, key: str) -> Row | None:
        """A cell on the leaderboard."""
        return self._row_by_key.get(key)

    @property
    def n_scored(self) -> int:
        """Candidates with a score."""
        return sum(row.kind == "candidate" and not row.rejected for row in self.rows)

    @property
    def winner(self) -> Row | None:
        return winner(self.rows)

    @property
    def tried(self) -> str:
        """What the best cell was tried on, such as "2 settings a task, 1 seed"."""
        best = self.winner
        return self.protocol.tried(best.visit.turn if best else 0)

    @property
    def seeds(self) -> str:
        """How many seeds the best cells were measured with, such as "1 seed"."""
        if self.config.protocol.kind != "ladder":
            return counted(len(self.protocol.seeds_at(0)), "seed")
        top = self.protocol.seeds_at(len(self.config.protocol.ladder) - 1)
        return f"{counted(len(top), 'seed')} at the top rung"

    @property
    def comparison(self) -> str:
        """The command that compares the best cell with GRU and LSTM on fresh seeds."""
        best = self.seen.folder / "winner"
        cell = shlex.quote(str(best)) if best.is_dir() else "CELL"
        return f"python -m nas.compare {cell} --config {shlex.quote(str(self.seen.folder))}"

    @cached_property
    def first_runs(self) -> list[Run]:
        """All runs but those of second measurements."""
        return [run for run in self.runs if not run.repeat]

    def runs_of(self, task: str) -> list[Run]:
        """The runs on a task; on a ladder those of the top rung."""
        runs = [run for run in self.first_runs if run.task == task]
        if self.config.protocol.kind != "ladder":
            return runs
        top = self.protocol.seeds_at(len(self.config.protocol.ladder) - 1)
        return [run for run in runs if run.seed in top]

    @cached_property
    def _by_cell(self) -> dict[tuple[str, str, int], list[Run]]:
        groups: dict[tuple[str, str, int], list[Run]] = {}
        for run in self.runs:
            groups.setdefault((run.key, run.task, run.repeat), []).append(run)
        return groups

    def repeats_of(self, key: str, task: str) -> list[Run]:
        """The runs of second measurements of a cell on a task, at all its visits."""
        return self._by_cell.get((key, task, 1), [])

    @cached_property
    def _row_by_key(self) -> dict[str, Row]:
        return {row.key: row for row in self.rows}

    def of_cell(self, key: str, task: str) -> list[Run]:
        """The runs of a cell on a task, at all its visits; on a ladder those of its last rung."""
        runs, row = self._by_cell.get((key, task, 0), []), self._row_by_key.get(key)
        rungs = row.visit.judgement.rungs if row and row.visit.judgement else ()
        if not rungs:
            return runs
        seeds = self.protocol.seeds_at(rungs[-1].rung)
        return [run for run in runs if run.seed in seeds]

    def most_settings(self, key: str) -> int:
        """Different settings that a cell was tried on, on the task of the score that had most."""
        return max(self.count_settings(key, task.name) for task in self.protocol.tasks)

    def count_settings(self, key: str, task: str) -> int:
        """Different settings that a cell was tried on, on a task."""
        return len({run.settings for run in self.of_cell(key, task)})

    def step_ms(self, key: str) -> float | None:
        """Milliseconds of training for each minibatch, validation included, with the best setting
        of each task; None if that was not noted."""
        outcomes = [
            best_outcome(task, [run.outcome for run in self.of_cell(key, task.name)])
            for task in self.protocol.tasks
        ]
        costs = [outcome.cost for outcome in outcomes if outcome]
        steps = sum(cost.steps for cost in costs)
        return 1000 * sum(cost.wall_s for cost in costs) / steps if steps else None


def read_facts(seen: OpenedStudy) -> Facts:
    """Read a study that `find_study` opened.

    Raises:
        UserError: if its configuration is not known, or nothing in it is judged.
    """
    path = seen.folder / "config.yaml"
    if not seen.config:
        raise UserError(
            f"study {seen.name} has no {path}, which says what its tasks and protocol are: copy it "
            "from the folder in which the search ran."
        )
    config = _config(path)
    return facts_of(seen, config, protocol_of(config))


def facts_of(seen: OpenedStudy, config: SearchConfig, protocol: Staged) -> Facts:
    """The facts of an open study, which may be the one that a search has just filled.

    Raises:
        UserError: if nothing in it is judged.
    """
    visits = tuple(visit for visit in seen.study.visits if visit)
    if not any(visit.judgement for visit in visits):
        raise UserError(f"study {seen.name} has no judged cell yet, so there is nothing to report.")
    return Facts(seen, config, protocol, visits, tuple(_runs(visits, protocol)))


def _config(path: Path) -> SearchConfig:
    """The configuration in a study's file; the data of its tasks need not be here."""
    config = parse([str(path)], check=False)
    config.tasks.check_names()
    dataclasses.replace(config, tasks=TasksConfig(use=("memorization",))).check()
    return config


def _runs(visits: Iterable["Visit"], protocol: Staged) -> Iterator[Run]:
    by_version = dict(_with_levels(protocol.all_tasks))
    for visit in visits:
        for evaluated in (*visit.evaluated.values(), *visit.beside.values()):
            yield from _runs_of(visit, evaluated, by_version.get(evaluated.task_version))


def _with_levels(tasks: Iterable[Task]) -> Iterator[tuple[str, Task]]:
    """The tasks, by their versions, whose data are here, so that blind guessing has a metric."""
    for task in tasks:
        with contextlib.suppress(UserError):
            if not task.missing():
                blind(task)
                yield task.version, task


def _runs_of(visit: "Visit", evaluated: "Evaluated", task: Task | None) -> Iterator[Run]:
    about = (visit.number, evaluated.key or visit.key, evaluated.task, evaluated.task_version)
    for settings, outcome in zip(evaluated.settings, evaluated.outcomes, strict=True):
        # 5,000 candidates have a million epochs, of which a report needs the number.
        bare = dataclasses.replace(outcome, curve=())
        ends = None
        if task is not None:
            ends = endpoints(task, outcome, planned_epochs(task, evaluated.fidelity))
        n_epochs = len(outcome.curve)
        seed, repeat = evaluated.seed, evaluated.repeat
        yield Run(*about, seed, settings, bare, n_epochs, repeat=repeat, endpoints=ends)


def number(value: float | None, form: str = ".3f") -> str:
    """The value as text, "-" for None."""
    return "-" if value is None else format(value, form)
