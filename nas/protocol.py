"""How a candidate is judged: a generator yields evaluations, receives outcomes, returns a verdict.

It does no I/O and reads no clock, so that it is tested with made-up outcomes and replayed on stored
ones. `Staged` follows Jozefowicz et al. 2015, section 3.1: a memorization filter, then task after
task while the best setting reaches 90 % of the GRU's best; the score is the smallest ratio to it.
`flat` has the same score without stages, for comparisons of samplers, spaces and tasks.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nas.errors import SearchError, UserError
from nas.evaluation import ADDED, Evaluation, Outcome, Settings
from nas.settings import SettingsGrid
from nas.tasks.base import Task
from nas.zoo import ZOO

REFERENCE = "gru"
"""The cell whose best metric, at the same budget, is the unit of every ratio."""


@dataclass(frozen=True)
class ProtocolConfig:
    """How much is spent on a candidate, and when it is rejected."""

    filter: bool = True
    """Whether a candidate must first learn memorization on one setting; not so in flat."""
    filter_accuracy: float = 0.95
    """Accuracy on memorization below which a candidate is rejected, in [0, 1]."""
    n_settings: int = 20
    """Settings drawn for each task, the same for every cell."""
    pass_ratio: float = 0.9
    """A candidate is rejected at a task where its best is below this share of the GRU's best."""
    settings_per_evaluation: int = 0
    """Settings that one worker trains in one go; 0: all of a task's."""
    fidelity: float = 1.0
    """Share of each task's epochs that is trained, in (0, 1]."""
    halving: int = field(default=0, metadata=ADDED)
    """Successive halving: at 1/halving of the epochs, and at its powers, only the best 1/halving of
    an evaluation's settings go on; 0: all are trained to their end."""
    kind: Literal["staged", "flat"] = field(default="staged", metadata=ADDED)
    """staged: task after task, rejected at the first that it does not pass; flat: every cell is
    trained on all tasks with the same settings, nothing is rejected. --protocol sets it."""

    @property
    def filters(self) -> bool:
        """Whether there is a filter."""
        return self.filter and self.kind == "staged"

    def check(self) -> None:
        """Raise UserError if a value is out of range."""
        for name in ("filter_accuracy", "fidelity"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise UserError(f"protocol.{name} must be in (0, 1], got {value}.")
        if not self.pass_ratio >= 0:  # nor nan
            raise UserError(f"protocol.pass_ratio must be at least 0, got {self.pass_ratio}.")
        if self.n_settings < 1:
            raise UserError(f"protocol.n_settings must be at least 1, got {self.n_settings}.")
        if self.settings_per_evaluation < 0:
            value = self.settings_per_evaluation
            raise UserError(f"protocol.settings_per_evaluation must be at least 0, got {value}.")
        if self.halving < 0 or self.halving == 1:
            raise UserError(f"protocol.halving must be 0 or at least 2, got {self.halving}.")


@dataclass(frozen=True)
class Judgement:
    """What became of a candidate."""

    stage: str
    """"scored", or the task at which it was rejected."""
    best: dict[str, float | None]
    """The best metric on each task that was tried; None if no setting gave one."""
    ratios: dict[str, float] = field(default_factory=dict)
    """Relative to the GRU's best, above 1 is better."""
    score: float | None = None
    """The smallest ratio; None for a candidate that was rejected."""
    value: float = 0.0
    """What the sampler maximises: the score, or for a rejected candidate how far it came, less
    than any accepted candidate's."""

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "best": self.best,
            "ratios": self.ratios,
            "score": self.score,
            "value": self.value,
        }


class NeedReference:
    """Yielded where a protocol cannot go on before the reference's best metrics are known."""


Request = tuple[Evaluation, ...] | NeedReference
Answer = Sequence[Sequence[Outcome]] | Mapping[str, float]
"""The outcomes of each evaluation, or the reference's best metric on each task."""
Requests = list[tuple[Task, tuple[Evaluation, ...]]]
Judging = Generator[Request, Answer, Judgement]


@dataclass(frozen=True)
class Staged:
    """The protocol of one study: the same tasks, settings and seed for every cell."""

    filter: Task | None
    tasks: tuple[Task, ...]
    config: ProtocolConfig
    grid: SettingsGrid
    seed: int

    def judge(self, cell: str, key: str) -> Judging:
        """A drawn candidate: rejected at the first stage that it does not pass; `flat` has none."""
        if self.config.kind == "flat":
            return (yield from self.measure(cell, key))
        best: dict[str, float | None] = {}
        stages = len(self.tasks) + 1
        if self.filter is not None:
            best[self.filter.name] = value = yield from self._filter(cell, key, self.filter)
            needed = self.config.filter_accuracy
            if (value or 0.0) < needed:
                came = self._rejected(0, (value or 0.0) / needed, stages)
                return Judgement(self.filter.name, best, value=came)
        reference = yield NeedReference()
        assert isinstance(reference, Mapping)
        ratios: dict[str, float] = {}
        for place, task in enumerate(self.tasks, start=1):
            best[task.name] = value = yield from self._best(cell, key, task)
            ratios[task.name] = ratio = _ratio(task, value, reference)
            if ratio < self.config.pass_ratio:
                came = self._rejected(place, ratio / self.config.pass_ratio, stages)
                return Judgement(task.name, best, ratios, value=came)
        score = min(ratios.values())
        return Judgement("scored", best, ratios, score, score)

    def revisit(self, cell: str, key: str, turn: int) -> Judging:
        """An accepted candidate on fresh settings: it is measured on every task, never rejected.

        Its best setting of all turns is compared with the GRU's best of the same turns, so that
        both have had the same tuning budget.
        """
        own = self._measurements(cell, key, range(turn + 1))
        gru = ZOO[REFERENCE]
        further = [
            (task, self._turns(str(gru), gru.key, task, range(1, turn + 1))) for task in self.tasks
        ]
        answer = yield tuple(one for _, evaluations in (*own, *further) for one in evaluations)
        outcomes = _outcomes(answer)
        best = _best_of_each(own, outcomes)
        fresh = _best_of_each(further, outcomes[sum(len(evaluations) for _, evaluations in own) :])
        first = yield NeedReference()
        assert isinstance(first, Mapping)
        reference = {
            task.name: _better(task, first[task.name], fresh[task.name]) for task in self.tasks
        }
        ratios = {task.name: _ratio(task, best[task.name], reference) for task in self.tasks}
        score = min(ratios.values())
        return Judgement("scored", best, ratios, score, score)

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        """A given cell (a baseline, or one that the user named): every task, never rejected.

        Of the reference itself all ratios are 1, and `Judgement.best` is what others need.

        Raises:
            SearchError: if the reference learns too little for any candidate to be judged by it.
        """
        requests = self._measurements(cell, key)
        answer = yield tuple(one for _, evaluations in requests for one in evaluations)
        best = _best_of_each(requests, _outcomes(answer))
        if is_reference:
            reference: Answer = self._as_reference(best)
        else:
            reference = yield NeedReference()
        assert isinstance(reference, Mapping)
        ratios = {task.name: _ratio(task, best[task.name], reference) for task in self.tasks}
        score = min(ratios.values())
        return Judgement("scored", best, ratios, score, score)

    def _measurements(self, cell: str, key: str, turns: Sequence[int] = (0,)) -> Requests:
        """The filter and every task, with what a cell is tried on for each."""
        requests = [(task, self._turns(cell, key, task, turns)) for task in self.tasks]
        if self.filter is not None:
            requests.insert(0, (self.filter, self._filter_evaluations(cell, key, self.filter)))
        return requests

    def _as_reference(self, best: Mapping[str, float | None]) -> dict[str, float]:
        known: dict[str, float] = {}
        for task in self.tasks if self.filter is None else (self.filter, *self.tasks):
            value = best[task.name]
            short = task is self.filter and (value or 0.0) < self.config.filter_accuracy
            if value is None or short:
                raise SearchError(self._too_little(task, value))
            known[task.name] = value
        return known

    def _too_little(self, task: Task, value: float | None) -> str:
        got = "no finite metric" if value is None else f"{task.metric.name} {value:.3f}"
        needed = f", short of {self.config.filter_accuracy}" if task is self.filter else ""
        return (
            f"the reference cell {REFERENCE} reaches {got} on {task.name}{needed}, so no candidate "
            f"can be judged by it: raise tasks.{task.name}.epochs or batches_per_epoch, or choose "
            "other settings, under a new --study name."
        )

    def _rejected(self, stage: int, share: float, stages: int) -> float:
        """Below `pass_ratio`, higher the later the stage and the closer to passing it."""
        return self.config.pass_ratio * (stage + min(1.0, max(0.0, share))) / (stages + 1)

    def _filter(self, cell: str, key: str, task: Task) -> Generator[Request, Answer, float | None]:
        answer = yield self._filter_evaluations(cell, key, task)
        return _best_of(task, _outcomes(answer))

    def _best(self, cell: str, key: str, task: Task) -> Generator[Request, Answer, float | None]:
        answer = yield self.evaluations(cell, key, task)
        return _best_of(task, _outcomes(answer))

    def _filter_evaluations(self, cell: str, key: str, task: Task) -> tuple[Evaluation, ...]:
        settings = self.grid.draw(task, 1, self.seed)
        return (Evaluation(cell, key, task, settings, self.seed, self.config.fidelity),)

    @property
    def n_turns(self) -> int:
        """How often a cell can be visited until there is no task with fresh settings."""
        count = self.config.n_settings
        return max(self.grid.n_turns(task, count) for task in self.tasks)

    def settings_of(self, task: Task, turn: int = 0) -> tuple[Settings, ...]:
        """The settings that every cell is tried on for a task of the score, at one visit."""
        return self.grid.draw(task, self.config.n_settings, self.seed, turn)

    def _chunks(self, task: Task, turn: int) -> list[tuple[Settings, ...]]:
        settings = self.settings_of(task, turn)
        size = self.config.settings_per_evaluation or max(1, len(settings))
        return [settings[i : i + size] for i in range(0, len(settings), size)]

    def evaluations(self, cell: str, key: str, task: Task, turn: int = 0) -> tuple[Evaluation, ...]:
        """What a cell is tried on for a task of the score, at one visit."""
        config = self.config
        return tuple(
            Evaluation(cell, key, task, chunk, self.seed, config.fidelity, config.halving)
            for chunk in self._chunks(task, turn)
        )

    def _turns(
        self, cell: str, key: str, task: Task, turns: Sequence[int]
    ) -> tuple[Evaluation, ...]:
        return tuple(one for turn in turns for one in self.evaluations(cell, key, task, turn))


def _outcomes(answer: Answer) -> list[Sequence[Outcome]]:
    assert not isinstance(answer, Mapping)
    return list(answer)


def best_outcome(task: Task, outcomes: Sequence[Outcome]) -> Outcome | None:
    """The outcome with the best metric, the first of equals; None if none has one."""
    best: Outcome | None = None
    for outcome in outcomes:
        if outcome.best is not None and (
            best is None or best.best is None or task.metric.better(outcome.best, best.best)
        ):
            best = outcome
    return best


def _best_of(task: Task, answers: Sequence[Sequence[Outcome]]) -> float | None:
    best = best_outcome(task, [outcome for outcomes in answers for outcome in outcomes])
    return best.best if best else None


def _best_of_each(
    requests: Requests, outcomes: Sequence[Sequence[Outcome]]
) -> dict[str, float | None]:
    """The best metric on each task, of the outcomes of all evaluations in order."""
    best: dict[str, float | None] = {}
    for task, evaluations in requests:
        best[task.name] = _best_of(task, outcomes[: len(evaluations)])
        outcomes = outcomes[len(evaluations) :]
    return best


def _better(task: Task, first: float, further: float | None) -> float:
    return first if further is None or not task.metric.better(further, first) else further


def _ratio(task: Task, value: float | None, reference: Mapping[str, float]) -> float:
    return 0.0 if value is None else task.metric.ratio(value, reference[task.name])
