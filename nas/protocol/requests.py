"""The evaluations that a protocol asks for: which cell on which task with which settings.

They follow from the configuration of a study and, for candidates, from the settings that
`nas/protocol/inheritance.py` gives each visit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from nas.nn.settings import Settings
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Bar, Evaluation, Veto
from nas.protocol.judgement import Reference
from nas.protocol.repeating import share_of
from nas.protocol.settings import SettingsGrid
from nas.protocol.statistic import planned_epochs
from nas.tasks.base import Task
from nas.zoo import ZOO

REFERENCE = "gru"
"""The cell whose best metric, at the same budget, is the unit of every ratio."""

Tried = Callable[[Task | None, int], tuple[Settings, ...]]
"""The settings of a cell at its visit 0, 1, 2, …, for a task or (None) the filter."""


@dataclass(frozen=True)
class Candidate:
    """A drawn cell at one of its visits."""

    cell: str
    key: str
    tried: Tried
    turn: int = 0
    """The number of visits before this one, each on settings of its own."""
    filter_turn: int | None = None
    """The visit at which it passed the filter; None: not yet."""


@dataclass(frozen=True)
class Asking:
    """The evaluations of one study: the same tasks, budgets and seed for every cell."""

    filter: Task | None
    tasks: tuple[Task, ...]
    config: ProtocolConfig
    grid: SettingsGrid
    seed: int

    @property
    def all_tasks(self) -> tuple[Task, ...]:
        """Return all tasks that cells are trained on, with their parameter budgets."""
        return self.tasks if self.filter is None else (self.filter, *self.tasks)

    @property
    def n_turns(self) -> int:
        """Return how often a cell can be visited until no task has fresh settings."""
        count = self.config.n_settings
        return max(self.grid.n_turns(task, count) for task in self.tasks)

    @property
    def n_given(self) -> int:
        """The number of settings a task for the reference and other given cells."""
        return self.config.reference_settings or self.config.n_settings

    def tried(self, turn: int) -> str:
        """Return what a candidate has had after a visit, such as "20 settings a task, 1 seed"."""
        most = max(len(self.grid.points(task.n_params)) for task in self.tasks)
        return spent(min((turn + 1) * self.config.n_settings, most), 1)

    def settings_of(self, task: Task | None, turn: int = 0) -> tuple[Settings, ...]:
        """Draw the settings that candidates share at a visit, for a task or (None) the filter."""
        if task is None:
            assert self.filter is not None
            return self.grid.draw(self.filter, 1, self.seed, turn)
        return self.grid.draw(task, self.config.n_settings, self.seed, turn)

    def seeds_at(self, rung: int) -> tuple[int, ...]:
        """Return the seeds of the evaluations that a cell is judged by, at a rung of a ladder."""
        return (self.seed,)

    def look_epoch(self, task: Task) -> int | None:
        """Return the epoch of the first look at candidates; None if none comes before the end."""
        n_epochs = planned_epochs(task, self.config.fidelity)
        epoch = math.ceil(self.config.first_look * n_epochs)
        return epoch if 0 < epoch < n_epochs else None

    def is_audited(self, key: str) -> bool:
        """Return whether a candidate is trained to the end whatever the shortcuts say."""
        return share_of(self.seed, key) < self.config.audit

    def is_repeated(self, key: str) -> bool:
        """Return whether a candidate is measured a second time once it has a score."""
        return share_of(self.seed, key) < self.config.repeat

    def given_evaluations(self, cell: str, key: str, task: Task) -> tuple[Evaluation, ...]:
        """Return the evaluations of a given cell on a task of the score."""
        settings = self.grid.draw(task, self.config.n_settings, self.seed, 0, self.n_given)
        return self._evaluations(cell, key, task, settings)

    def given_filter(self, cell: str, key: str) -> tuple[Evaluation, ...]:
        """Return the evaluation of a given cell on the filter."""
        assert self.filter is not None
        about = (cell, key, self.filter, self.settings_of(None), self.seed)
        return (Evaluation(*about, self.config.fidelity),)

    def filter_evaluations(self, candidate: Candidate) -> tuple[Evaluation, ...]:
        """Return the evaluation of a candidate on the filter, the same again if it has passed."""
        assert self.filter is not None
        passed = candidate.filter_turn
        settings = candidate.tried(None, candidate.turn if passed is None else passed)
        about = (candidate.cell, candidate.key, self.filter, settings, self.seed)
        return (Evaluation(*about, self.config.fidelity, veto=self._veto(candidate.key)),)

    def own(self, candidate: Candidate, task: Task, reference: Reference) -> list[Evaluation]:
        """Return the evaluations of a candidate on a task, at all its visits."""
        bar = None if self.is_audited(candidate.key) else self._bar(task, reference)
        veto = self._veto(candidate.key)
        about = (candidate.cell, candidate.key, task)
        return [
            evaluation
            for turn in range(candidate.turn + 1)
            for evaluation in self._evaluations(*about, candidate.tried(task, turn), bar, veto=veto)
        ]

    def _veto(self, key: str) -> Veto:
        if not self.config.veto:
            return "off"
        return "note" if self.is_audited(key) else "end"

    def _bar(self, task: Task, reference: Reference) -> Bar | None:
        epoch, look = self.look_epoch(task), reference.looks.get(task.name)
        if epoch is None or look is None:
            return None
        return Bar(epoch, task.metric.at_ratio(self.config.first_look_ratio, look))

    def further(self, task: Task, candidate: Candidate) -> list[Evaluation]:
        """Return the reference's further evaluations, so that it has had as many settings."""
        count, gru = self.config.n_settings, ZOO[REFERENCE]
        n_turns = max(0, -(-(count * (candidate.turn + 1) - self.n_given) // count))
        return [
            evaluation
            for turn in range(1, n_turns + 1)
            for evaluation in self._evaluations(
                str(gru),
                gru.key,
                task,
                self.grid.draw(task, count, self.seed, turn, self.n_given),
            )
        ]

    def _evaluations(
        self,
        cell: str,
        key: str,
        task: Task,
        settings: tuple[Settings, ...],
        bar: Bar | None = None,
        *,
        veto: Veto = "off",
    ) -> tuple[Evaluation, ...]:
        config = self.config
        size = config.settings_per_evaluation or max(1, len(settings))
        chunks = [settings[i : i + size] for i in range(0, len(settings), size)]
        about = (self.seed, config.fidelity, config.halving, bar, veto)
        return tuple(Evaluation(cell, key, task, chunk, *about) for chunk in chunks)


def spent(n_settings: int, n_seeds: int) -> str:
    """Return the words for so many settings a task and seeds."""
    settings = f"{n_settings} setting{'s' if n_settings > 1 else ''} a task"
    return f"{settings}, {n_seeds} seed{'s' if n_seeds > 1 else ''}"
