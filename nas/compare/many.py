"""Cells judged by the best share of many random settings, as by Greff et al. 2015, section IV.

A generator like that of a comparison on fresh seeds (`protocol.py`): every cell is trained once on
each of the same settings, and every run is measured on test. The share of them that is best on
validation is what is compared, so that nothing is chosen by the test split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nas.compare.config import CompareConfig
from nas.compare.drawn import draw
from nas.compare.protocol import compared, value_of
from nas.errors import SearchError
from nas.nn.settings import Settings
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import best_value
from nas.protocol.staged import Judging, NeedReference, Staged, answered, referred
from nas.tasks.base import Task


@dataclass(frozen=True)
class ManySettings(Staged):
    """What the coordinator runs for each given cell; no candidates are drawn."""

    n_best: int
    """Settings of each cell that are compared."""

    def settings_of(self, task: Task | None, turn: int = 0) -> tuple[Settings, ...]:
        """The settings that every cell is trained on."""
        assert task is not None
        return draw(self.grid, task, self.config.n_settings, self.seed)

    def given_evaluations(self, cell: str, key: str, task: Task) -> tuple[Evaluation, ...]:
        asked = self._evaluations(cell, key, task, self.settings_of(task))
        return tuple(replace(one, measure_test=True) for one in asked)

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        """Train on all settings. `Judgement.best` is the mean test metric of the best of them.

        Raises:
            SearchError: if the reference has no metric on some task.
        """
        asked = {task.name: self.given_evaluations(cell, key, task) for task in self.tasks}
        answers = answered((yield tuple(one for own in asked.values() for one in own)))
        means: dict[str, float] = {}
        for task in self.tasks:
            outcomes = [one for _ in asked[task.name] for one in answers.pop(0)]
            if is_reference and best_value(task, outcomes) is None:
                raise SearchError(self._too_little(task, None))
            values = [value_of(task, outcomes[i]) for i in best_places(task, outcomes, self.n_best)]
            means[task.name] = sum(values) / len(values)
        of_reference = means if is_reference else referred((yield NeedReference())).best
        return compared(self.tasks, means, of_reference)


def best_places(task: Task, outcomes: Sequence[Outcome], count: int) -> list[int]:
    """Places of the `count` outcomes that are best on validation, the best first.

    The first of equals; those without a metric come last.
    """
    sign = -1.0 if task.metric.higher_is_better else 1.0

    def rank(place: int) -> tuple[bool, float]:
        best = outcomes[place].best
        return (best is None, 0.0 if best is None else sign * best)

    return sorted(range(len(outcomes)), key=rank)[:count]


def many_settings(config: CompareConfig) -> ManySettings:
    """The protocol of a comparison with a `best_share`."""
    how = ProtocolConfig(
        filter=False,
        kind="flat",
        n_settings=config.tuning,
        settings_per_evaluation=config.settings_per_evaluation,
    )
    about = (None, config.compared, how, config.settings, config.tuning_seed)
    return ManySettings(*about, config.n_best)
