"""How a candidate is judged: a generator yields evaluations, receives outcomes, returns a verdict.

It does no I/O and reads no clock, so that it is tested with made-up outcomes and replayed on stored
ones. `Staged` follows Jozefowicz et al. 2015, section 3.1: a memorization filter, then task after
task while the best setting reaches 90 % of the GRU's best; the score is the smallest ratio to it.
`flat` has the same score without stages, for comparisons of samplers, spaces and tasks.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

from nas.errors import SearchError
from nas.protocol.evaluation import Bar, Evaluation, Outcome
from nas.protocol.judgement import Judgement, Reference, best_value, value_at
from nas.protocol.requests import REFERENCE, Asking, Candidate
from nas.tasks.base import Task


class NeedReference:
    """Yielded where a protocol cannot go on before the reference's best metrics are known."""


Request = tuple[Evaluation, ...] | NeedReference
Answer = Sequence[Sequence[Outcome]] | Reference
"""The outcomes of each evaluation, or what the reference reaches."""
Judging = Generator[Request, Answer, Judgement]


@dataclass
class _Found:
    """What is known so far of a cell that is being judged."""

    best: dict[str, float | None] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    looks: dict[str, float] = field(default_factory=dict)

    def scored(self) -> Judgement:
        score = min(self.ratios.values())
        return Judgement("scored", self.best, self.ratios, score, score, self.looks)

    def rejected(self, stage: str, value: float, *, cut: bool = False) -> Judgement:
        return Judgement(stage, self.best, self.ratios, None, value, self.looks, cut)


class Staged(Asking):
    """The protocol of one study."""

    def judge(self, candidate: Candidate) -> Judging:
        """A candidate that has not been accepted: rejected at the first stage that it does not
        pass; `flat` has none.

        One that was rejected before comes back on fresh settings: what counts is its best of all
        its visits, and the GRU's best of as many settings.
        """
        if self.config.kind == "flat":
            return (yield from self.measure(candidate.cell, candidate.key))
        found = _Found()
        if self.filter is not None:
            outcomes = _outcomes((yield self.filter_evaluations(candidate)))
            found.best[self.filter.name] = value = best_value(self.filter, outcomes)
            needed = self.config.filter_accuracy
            if (value or 0.0) < needed:
                return found.rejected(self.filter.name, self._came(0, value or 0.0))
        reference = referred((yield NeedReference()))
        for place, task in enumerate(self.tasks, start=1):
            own, further = self.own(candidate, task, reference), self.further(task, candidate)
            answer = answered((yield (*own, *further)))
            ratio = self._note(found, task, reference, answer[: len(own)], answer[len(own) :])
            cut = own[0].bar is not None and not self._has_reached(task, own[0].bar, found.looks)
            if cut or ratio < self.config.pass_ratio:
                return found.rejected(task.name, self._came(place, ratio), cut=cut)
        return found.scored()

    def revisit(self, candidate: Candidate) -> Judging:
        """An accepted candidate on fresh settings: it is measured on every task, never rejected.

        Its best setting of all turns is compared with the GRU's best of as many, so that the GRU
        has had no smaller tuning budget.
        """
        found = _Found()
        reference = referred((yield NeedReference()))
        own = [self.own(candidate, task, reference) for task in self.tasks]
        further = [self.further(task, candidate) for task in self.tasks]
        first = self.filter_evaluations(candidate) if self.filter is not None else ()
        parts = [first, *own, *further]
        answers = answered((yield tuple(one for part in parts for one in part)))
        pieces = [[answers.pop(0) for _ in part] for part in parts]
        if self.filter is not None:
            found.best[self.filter.name] = best_value(self.filter, _joined(pieces[0]))
        for place, task in enumerate(self.tasks, start=1):
            self._note(found, task, reference, pieces[place], pieces[place + len(self.tasks)])
        return found.scored()

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        """A given cell (a baseline, or one that the user named): every task, never rejected.

        Of the reference itself all ratios are 1, and `Judgement.best` is what others need.

        Raises:
            SearchError: if the reference learns too little for any candidate to be judged by it.
        """
        found = _Found()
        parts = [self.given_evaluations(cell, key, task) for task in self.tasks]
        if self.filter is not None:
            parts.insert(0, self.given_filter(cell, key))
        answers = answered((yield tuple(one for part in parts for one in part)))
        pieces = [[answers.pop(0) for _ in part] for part in parts]
        if self.filter is not None:
            found.best[self.filter.name] = best_value(self.filter, _joined(pieces.pop(0)))
        if is_reference:
            found.best |= {
                task.name: best_value(task, _joined(piece))
                for task, piece in zip(self.tasks, pieces, strict=True)
            }
            reference = self._as_reference(found.best)
        else:
            reference = referred((yield NeedReference()))
        for task, piece in zip(self.tasks, pieces, strict=True):
            self._note(found, task, reference, piece, [])
        return found.scored()

    def _note(
        self,
        found: _Found,
        task: Task,
        reference: Reference,
        own: Sequence[Sequence[Outcome]],
        further: Sequence[Sequence[Outcome]],
    ) -> float:
        """Add a task's results; `further` are the reference's beside `reference.best`."""
        outcomes = _joined(own)
        found.best[task.name] = value = best_value(task, outcomes)
        if epoch := self.look_epoch(task):
            # As many settings as a candidate's, where the reference has had more.
            look = value_at(task, outcomes[: self.config.n_settings], epoch)
            found.looks |= {} if look is None else {task.name: look}
        best = _better(task, reference.best[task.name], best_value(task, _joined(further)))
        found.ratios[task.name] = ratio = 0.0 if value is None else task.metric.ratio(value, best)
        return ratio

    def _has_reached(self, task: Task, bar: Bar, looks: Mapping[str, float]) -> bool:
        look = looks.get(task.name)
        return look is not None and not task.metric.better(bar.value, look)

    def _came(self, stage: int, reached: float) -> float:
        """Below `pass_ratio`, higher the later the stage and the closer to passing it."""
        needed = self.config.pass_ratio if stage else self.config.filter_accuracy
        share = min(1.0, max(0.0, reached / needed)) if needed else 1.0
        return self.config.pass_ratio * (stage + share) / (len(self.tasks) + 2)

    def _as_reference(self, best: Mapping[str, float | None]) -> Reference:
        known: dict[str, float] = {}
        for task in self.tasks if self.filter is None else (self.filter, *self.tasks):
            value = best[task.name]
            short = task is self.filter and (value or 0.0) < self.config.filter_accuracy
            if value is None or short:
                raise SearchError(self._too_little(task, value))
            known[task.name] = value
        return Reference(known)

    def _too_little(self, task: Task, value: float | None) -> str:
        got = "no finite metric" if value is None else f"{task.metric.name} {value:.3f}"
        needed = f", short of {self.config.filter_accuracy}" if task is self.filter else ""
        return (
            f"the reference cell {REFERENCE} reaches {got} on {task.name}{needed}, so no candidate "
            f"can be judged by it: raise tasks.{task.name}.epochs or batches_per_epoch, or choose "
            "other settings, under a new --study name."
        )


def answered(answer: Answer) -> list[Sequence[Outcome]]:
    """What came back of the evaluations that a protocol yielded."""
    assert not isinstance(answer, Reference)
    return list(answer)


def _outcomes(answer: Answer) -> list[Outcome]:
    return _joined(answered(answer))


def _joined(answers: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    return [outcome for outcomes in answers for outcome in outcomes]


def referred(answer: Answer) -> Reference:
    """What came back of `NeedReference`."""
    assert isinstance(answer, Reference)
    return answer


def _better(task: Task, first: float, further: float | None) -> float:
    return first if further is None or not task.metric.better(further, first) else further
