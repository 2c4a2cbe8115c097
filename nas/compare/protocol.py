"""How a cell is compared: tuned on validation, then trained on fresh seeds and tested.

A generator like that of a search (`nas/protocol/staged.py`): it does no I/O and is replayed on
stored outcomes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.compare.config import CompareConfig
from nas.errors import SearchError
from nas.nn.settings import Settings
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement, best_outcome
from nas.protocol.staged import Judging, NeedReference, Staged, answered, referred
from nas.tasks.base import Task


@dataclass(frozen=True)
class Comparing(Staged):
    """What the coordinator runs for each given cell; no candidates are drawn."""

    seeds: tuple[int, ...]
    """Fresh ones, none of which is `seed`, that of tuning."""

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        """Tune, then test. `Judgement.best` is the mean test metric of each task.

        Raises:
            SearchError: if the reference has no metric on some task.
        """
        tuning = {task.name: self.given_evaluations(cell, key, task) for task in self.tasks}
        answers = answered((yield tuple(one for asked in tuning.values() for one in asked)))
        fresh: dict[str, tuple[Evaluation, ...]] = {}
        for task in self.tasks:
            own = [answers.pop(0) for _ in tuning[task.name]]
            settings = self.tuned(task, tuning[task.name], own)
            if settings is None and is_reference:
                raise SearchError(self._too_little(task, None))
            fresh[task.name] = self.fresh(cell, key, task, settings)
        answers = answered((yield tuple(one for asked in fresh.values() for one in asked)))
        means = {}
        for task in self.tasks:
            values = [value_of(task, answers.pop(0)[0]) for _ in fresh[task.name]]
            means[task.name] = sum(values) / len(values) if values else task.chance("test")
        of_reference = means if is_reference else referred((yield NeedReference())).best
        return compared(self.tasks, means, of_reference)

    def tuned(
        self, task: Task, asked: Sequence[Evaluation], answers: Sequence[Sequence[Outcome]]
    ) -> Settings | None:
        """The setting that is best on validation, the first of equals; None if none has a metric.

        What these evaluations measured on test, if anything, does not count.
        """
        outcomes = [outcome for of_one in answers for outcome in of_one]
        settings = [one for evaluation in asked for one in evaluation.settings]
        best = best_outcome(task, outcomes)
        pairs = zip(settings, outcomes, strict=True)
        return next((one for one, outcome in pairs if outcome is best), None) if best else None

    def fresh(
        self, cell: str, key: str, task: Task, settings: Settings | None
    ) -> tuple[Evaluation, ...]:
        """An evaluation a seed, since each seed has data of its own; none without a setting."""
        if settings is None:
            return ()
        about = (cell, key, task, (settings,))
        return tuple(Evaluation(*about, seed, measure_test=True) for seed in self.seeds)


def compared(
    tasks: Sequence[Task], means: Mapping[str, float], reference: Mapping[str, float]
) -> Judgement:
    """The score of a cell by its means on test, one a task, and those of the reference."""
    best: dict[str, float | None] = dict(means)
    ratios = {
        task.name: task.metric.ratio(means[task.name], reference[task.name]) for task in tasks
    }
    score = min(ratios.values())
    return Judgement("scored", best, ratios, score, score)


def value_of(task: Task, outcome: Outcome) -> float:
    """The metric on test; that of blind guessing for a run without one.

    To leave such a run out would favour the cell that diverges.
    """
    return task.chance("test") if is_missing(outcome) else float(outcome.test or 0.0)


def is_missing(outcome: Outcome) -> bool:
    """Whether a run has no finite metric on test."""
    return outcome.test is None or not math.isfinite(outcome.test)


def protocol_of(config: CompareConfig) -> Comparing:
    """The protocol of a comparison."""
    how = ProtocolConfig(
        filter=False,
        kind="flat",
        n_settings=config.tuning,
        settings_per_evaluation=config.settings_per_evaluation,
    )
    return Comparing(
        None, config.compared, how, config.settings, config.tuning_seed, config.fresh_seeds
    )
