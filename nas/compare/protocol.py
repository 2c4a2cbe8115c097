"""How a cell is compared: by fresh seeds, or by the best share of many random settings.

Generators like that of a search (`nas/protocol/staged.py`): they do no I/O and are replayed on
stored outcomes. The test split decides nothing: neither the epoch nor the setting.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from nas.compare.config import CompareConfig, cells_of
from nas.compare.drawn import draw
from nas.errors import SearchError
from nas.nn.settings import Settings
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement, best_outcome, score_of
from nas.protocol.staged import Answer, Judging, NeedReference, Request, Staged, answered, referred
from nas.study.leaderboard import BASELINES
from nas.tasks.base import Task
from nas.zoo import ZOO


class _Comparing(Staged):
    """What both protocols share. The coordinator runs it for each given cell; none is drawn."""

    def _outcomes(
        self, asked: Mapping[str, Sequence[Evaluation]]
    ) -> Generator[Request, Answer, dict[str, list[Outcome]]]:
        """Ask for evaluations, and return their outcomes by task."""
        answers = iter(answered((yield tuple(e for own in asked.values() for e in own))))
        return {name: [o for _ in own for o in next(answers)] for name, own in asked.items()}

    def _tried(
        self, cell: str, key: str, *, is_reference: bool
    ) -> Generator[Request, Answer, dict[str, list[Outcome]]]:
        """Try all settings of each task.

        Raises:
            SearchError: if the reference has no metric on some task.
        """
        asked = {task.name: self.given_evaluations(cell, key, task) for task in self.tasks}
        outcomes = yield from self._outcomes(asked)
        for task in self.tasks:
            if is_reference and best_outcome(task, outcomes[task.name]) is None:
                raise SearchError(self._too_little(task, None))
        return outcomes

    def _judged(self, values: Mapping[str, Sequence[float]], *, is_reference: bool) -> Judging:
        """Judge a cell by its mean on the test split of each task, beside the reference's."""
        means = {
            task.name: sum(values[task.name]) / len(values[task.name])
            if values[task.name]
            else task.chance("test")
            for task in self.tasks
        }
        of_reference = means if is_reference else referred((yield NeedReference())).best
        ratios = {
            task.name: task.metric.ratio(means[task.name], of_reference[task.name])
            for task in self.tasks
        }
        score = score_of(ratios)
        return Judgement("scored", dict(means), ratios, score, score)


@dataclass(frozen=True)
class FreshSeeds(_Comparing):
    """Tune a cell on validation, then train it with its best setting on fresh seeds and test it."""

    seeds: tuple[int, ...]
    """Fresh ones, none of which is `seed`, that of tuning."""
    baselines: tuple[str, ...] = tuple(ZOO[name].key for name in BASELINES)
    """The keys of the cells that all others are compared with."""

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        tuning = yield from self._tried(cell, key, is_reference=is_reference)
        fresh = {
            task.name: self.fresh(cell, key, task, self.tuned(cell, key, task, tuning[task.name]))
            for task in self.tasks
        }
        tested = yield from self._outcomes(fresh)
        values = {task.name: [value_of(task, o) for o in tested[task.name]] for task in self.tasks}
        return (yield from self._judged(values, is_reference=is_reference))

    def tuned(
        self, cell: str, key: str, task: Task, outcomes: Sequence[Outcome]
    ) -> Settings | None:
        """The setting that is best on validation, the first of equals; None if none has a metric.

        What these evaluations measured on test, if anything, does not count.
        """
        asked = self.given_evaluations(cell, key, task)
        settings = [settings for evaluation in asked for settings in evaluation.settings]
        best = best_outcome(task, outcomes)
        pairs = zip(settings, outcomes, strict=True)
        return next((s for s, outcome in pairs if outcome is best), None) if best else None

    def fresh(
        self, cell: str, key: str, task: Task, settings: Settings | None
    ) -> tuple[Evaluation, ...]:
        """An evaluation a seed, since each seed has data of its own; none without a setting."""
        if settings is None:
            return ()
        about = (cell, key, task, (settings,))
        return tuple(Evaluation(*about, seed, measure_test=True) for seed in self.seeds)


@dataclass(frozen=True)
class BestShare(_Comparing):
    """Train a cell once on each of the same random settings, as Greff et al. 2015, section IV.

    Every run is measured on test. The share of them that is best on validation is compared.
    """

    n_best: int
    """Settings of each cell that are compared."""

    def settings_of(self, task: Task | None, turn: int = 0) -> tuple[Settings, ...]:
        """The settings that every cell is trained on."""
        assert task is not None
        return draw(self.grid, task, self.config.n_settings, self.seed)

    def given_evaluations(self, cell: str, key: str, task: Task) -> tuple[Evaluation, ...]:
        asked = self._evaluations(cell, key, task, self.settings_of(task))
        return tuple(replace(evaluation, measure_test=True) for evaluation in asked)

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        outcomes = yield from self._tried(cell, key, is_reference=is_reference)
        values = {}
        for task in self.tasks:
            own = outcomes[task.name]
            values[task.name] = [value_of(task, own[i]) for i in self.best_places(task, own)]
        return (yield from self._judged(values, is_reference=is_reference))

    def best_places(self, task: Task, outcomes: Sequence[Outcome]) -> list[int]:
        """Places of the outcomes that are best on validation, the best first.

        The first of equals; those without a metric come last.
        """
        sign = -1.0 if task.metric.higher_is_better else 1.0

        def rank(place: int) -> tuple[bool, float]:
            best = outcomes[place].best
            return (best is None, 0.0 if best is None else sign * best)

        return sorted(range(len(outcomes)), key=rank)[: self.n_best]


def protocol_of(config: CompareConfig) -> FreshSeeds | BestShare:
    """The protocol of a comparison."""
    how = ProtocolConfig(
        filter=False,
        kind="flat",
        n_settings=config.tuning,
        settings_per_evaluation=config.settings_per_evaluation,
    )
    about = (None, config.compared, how, config.settings, config.tuning_seed)
    if config.best_share:
        return BestShare(*about, config.n_best)
    keys = [cell.key for cell in cells_of(config.against, config.tracking_uri)]
    return FreshSeeds(*about, config.fresh_seeds, tuple(keys))


def value_of(task: Task, outcome: Outcome) -> float:
    """The metric on test, and that of blind guessing for a run without a metric.

    Leaving such a run out would favour the cell that diverges.
    """
    return task.chance("test") if is_missing(outcome) else float(outcome.test or 0.0)


def is_missing(outcome: Outcome) -> bool:
    """Whether a run has no finite metric on test."""
    return outcome.test is None or not math.isfinite(outcome.test)
