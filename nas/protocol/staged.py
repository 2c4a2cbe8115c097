"""How a candidate is judged: a generator yields evaluations, receives outcomes, returns a verdict.

It does no I/O and reads no clock, so that it is tested with made-up outcomes and replayed on stored
ones. `Staged` follows Jozefowicz et al. 2015, section 3.1: a memorization filter, then task after
task while the best setting reaches 90 % of the GRU's best; the score is the smallest ratio to it.
`flat` has the same score without stages, for comparisons of samplers, spaces and tasks.
"""

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from nas.errors import SearchError
from nas.protocol.evaluation import Bar, Evaluation, Outcome
from nas.protocol.judgement import Judgement, Reference, Score, best_value, score_of, value_at
from nas.protocol.repeating import again
from nas.protocol.requests import REFERENCE, Asking, Candidate
from nas.protocol.statistic import Statistic, of_run, planned_epochs, value_of
from nas.tasks.base import Task


class NeedReference:
    """The request of a protocol that cannot go on without the reference's best metrics."""


Request = tuple[Evaluation, ...] | NeedReference
Answer = Sequence[Sequence[Outcome]] | Reference
"""The outcomes of each evaluation, or the metrics that the reference reaches."""
Judging = Generator[Request, Answer, Judgement]


@dataclass
class _Results:
    """The results so far of a cell that is being judged."""

    best: dict[str, float | None] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    looks: dict[str, float] = field(default_factory=dict)
    compared: dict[str, float] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)
    """What the ratios are relative to."""
    repeated: dict[str, float] = field(default_factory=dict)
    repeated_ratios: dict[str, float] = field(default_factory=dict)

    def accepted(self, kind: Score) -> Judgement:
        score = score_of(self.ratios, kind)
        about = (self.best, self.ratios, score, score, self.looks)
        return Judgement(
            "scored",
            *about,
            compared=self.compared,
            repeated=self.repeated,
            repeated_ratios=self.repeated_ratios,
        )

    def rejected(self, stage: str, value: float, *, cut: bool = False) -> Judgement:
        about = (self.best, self.ratios, None, value, self.looks, cut)
        return Judgement(stage, *about, compared=self.compared)


class Staged(Asking):
    """The protocol of one study."""

    @property
    def statistic(self) -> Statistic:
        """The number of a cell on a task that is compared with the GRU's."""
        return self.config.statistic

    def relative(self, task: Task, value: float, reference: float) -> float:
        """Return the ratio of a cell's number on a task to the reference's: above 1 is better."""
        return self.statistic.ratio(task, value, reference)

    def judge(self, candidate: Candidate) -> Judging:
        """Judge a candidate that has not been accepted, and reject it at the first stage that it
        does not pass; `flat` has no stages.

        A candidate that was rejected before comes back on fresh settings: its best of all its
        visits counts, and the GRU's best of as many settings.
        """
        if self.config.kind == "flat":
            repeats = self.is_repeated(candidate.key)
            return (yield from self._measured(candidate.cell, candidate.key, repeats))
        results, asked = _Results(), []
        if self.filter is not None:
            (outcomes,) = yield from outcomes_of([self.filter_evaluations(candidate)])
            results.best[self.filter.name] = value = best_value(self.filter, outcomes)
            if (value or 0.0) < self.config.filter_accuracy:
                return results.rejected(self.filter.name, self._came(0, value or 0.0))
        reference = referred((yield NeedReference()))
        for place, task in enumerate(self.tasks, start=1):
            own = self.own(candidate, task, reference)
            asked.append(own)
            answers = yield from outcomes_of([own, self.further(task, candidate)])
            ratio = self._note(results, task, reference, *answers)
            cut = own[0].bar is not None and self._was_cut(task, own[0].bar, answers[0])
            if cut or ratio < self.config.pass_ratio:
                return results.rejected(task.name, self._came(place, ratio), cut=cut)
        return (yield from self._concluded(results, asked, self.is_repeated(candidate.key)))

    def revisit(self, candidate: Candidate) -> Judging:
        """Measure an accepted candidate on fresh settings of every task, without rejecting it.

        Its best setting of all turns is compared with the GRU's best of as many, so that the GRU
        has had no smaller tuning budget.
        """
        results, n_tasks = _Results(), len(self.tasks)
        reference = referred((yield NeedReference()))
        own = [self.own(candidate, task, reference) for task in self.tasks]
        further = [self.further(task, candidate) for task in self.tasks]
        first = self.filter_evaluations(candidate) if self.filter is not None else ()
        outcomes, *answers = yield from outcomes_of([first, *own, *further])
        if self.filter is not None:
            results.best[self.filter.name] = best_value(self.filter, outcomes)
        for task, *both in zip(self.tasks, answers[:n_tasks], answers[n_tasks:], strict=True):
            self._note(results, task, reference, *both)
        return (yield from self._concluded(results, own, self.is_repeated(candidate.key)))

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        """Measure a given cell (a baseline, or one that the user named) on every task, without
        rejecting it.

        The reference itself has ratios of 1; others need its `Judgement.best`.

        Raises:
            SearchError: if the reference learns too little for any candidate to be judged by it.
        """
        repeats = self.config.repeat > 0
        return (yield from self._measured(cell, key, repeats, is_reference=is_reference))

    def _measured(
        self, cell: str, key: str, repeats: bool, *, is_reference: bool = False
    ) -> Judging:
        """Measure a cell on every task; `repeats` says whether a second time, too."""
        results = _Results()
        first = self.given_filter(cell, key) if self.filter is not None else ()
        own = [self.given_evaluations(cell, key, task) for task in self.tasks]
        outcomes, *answers = yield from outcomes_of([first, *own])
        if self.filter is not None:
            results.best[self.filter.name] = best_value(self.filter, outcomes)
        if is_reference:
            for task, answer in zip(self.tasks, answers, strict=True):
                results.best[task.name] = best_value(task, answer)
                self._compared(results, task, answer)
            reference = self._as_reference(results)
        else:
            reference = referred((yield NeedReference()))
        for task, answer in zip(self.tasks, answers, strict=True):
            # As many settings as a candidate's, where the reference has had more.
            looked_at = answer[: self.config.n_settings]
            self._note(results, task, reference, answer, looked_at=looked_at)
        return (yield from self._concluded(results, own, repeats))

    def _concluded(
        self, results: _Results, own: Sequence[Sequence[Evaluation]], repeats: bool
    ) -> Judging:
        """Return the judgement of an accepted cell, after a second measurement if there is one.

        `own` are its evaluations on each task.
        """
        if not repeats:
            return results.accepted(self.config.score)
        parts = [[again(evaluation) for evaluation in of_task] for of_task in own]
        answers = yield from outcomes_of(parts)
        for task, outcomes in zip(self.tasks, answers, strict=True):
            value = self._statistic(task, outcomes)
            # A cell that learns nothing with other seeds was lucky with the first ones.
            results.repeated[task.name] = second = self._lowest(task) if value is None else value
            unit = results.units[task.name]
            results.repeated_ratios[task.name] = self.relative(task, second, unit)
        return results.accepted(self.config.score)

    def _lowest(self, task: Task) -> float:
        """Return the statistic of a cell that guesses blindly."""
        n_epochs = planned_epochs(task, self.config.fidelity)
        return of_run(task, Outcome("failed"), self.statistic, n_epochs)

    def _note(
        self,
        results: _Results,
        task: Task,
        reference: Reference,
        own: Sequence[Outcome],
        further: Sequence[Outcome] = (),
        *,
        looked_at: Sequence[Outcome] | None = None,
    ) -> float:
        """Add a task's results, and return the ratio to the reference's.

        `further` are the reference's outcomes beside those of `reference.best`; `looked_at` those
        of the cell that count at the first look, all if None.
        """
        results.best[task.name] = best_value(task, own)
        if epoch := self.look_epoch(task):
            look = value_at(task, own if looked_at is None else looked_at, epoch)
            results.looks |= {} if look is None else {task.name: look}
        value = self._compared(results, task, own)
        results.units[task.name] = unit = self._of_reference(task, reference, further)
        ratio = 0.0 if value is None else self.relative(task, value, unit)
        results.ratios[task.name] = ratio
        return ratio

    def _compared(self, results: _Results, task: Task, outcomes: Sequence[Outcome]) -> float | None:
        """Return the statistic of a cell on a task, and note it if it is not its best metric."""
        value = self._statistic(task, outcomes)
        if value is not None and not self.statistic.is_best:
            results.compared[task.name] = value
        return value

    def _statistic(self, task: Task, outcomes: Sequence[Outcome]) -> float | None:
        n_epochs = planned_epochs(task, self.config.fidelity)
        return value_of(task, outcomes, self.statistic, n_epochs)

    def _of_reference(self, task: Task, reference: Reference, further: Sequence[Outcome]) -> float:
        """Return the reference's statistic over its first outcomes and further ones."""
        first, statistic = reference.on(task.name), self.statistic
        if not further:
            return first
        if statistic.over == "mean":
            n_epochs = planned_epochs(task, self.config.fidelity)
            values = [of_run(task, outcome, statistic, n_epochs) for outcome in further]
            n_first = sum(len(e.settings) for e in self.given_evaluations("", "", task))
            return (n_first * first + sum(values)) / (n_first + len(values))
        other = self._statistic(task, further)
        return other if other is not None and statistic.better(task, other, first) else first

    def _was_cut(self, task: Task, bar: Bar, outcomes: Sequence[Outcome]) -> bool:
        """Whether runs ended because no setting, of any visit, had reached the bar in time.

        Where every run failed or was vetoed by then, there was none to look at.
        """
        look = value_at(task, outcomes, bar.epoch)
        reached = look is not None and not task.metric.better(bar.value, look)
        return not reached and any(outcome.status in ("ok", "cut") for outcome in outcomes)

    def _came(self, stage: int, reached: float) -> float:
        """Return a value below `pass_ratio` that rises with the stage and the result there."""
        needed = self.config.pass_ratio if stage else self.config.filter_accuracy
        share = min(1.0, max(0.0, reached / needed)) if needed else 1.0
        return self.config.pass_ratio * (stage + share) / (len(self.tasks) + 2)

    def _as_reference(self, results: _Results) -> Reference:
        known: dict[str, float] = {}
        for task in self.tasks if self.filter is None else (self.filter, *self.tasks):
            value = results.best[task.name]
            short = task is self.filter and (value or 0.0) < self.config.filter_accuracy
            if value is None or short:
                raise SearchError(self._too_little(task, value))
            known[task.name] = value
        return Reference(known, compared=results.compared)

    def _too_little(self, task: Task, value: float | None) -> str:
        got = "no finite metric" if value is None else f"{task.metric.name} {value:.3f}"
        needed = f", short of {self.config.filter_accuracy}" if task is self.filter else ""
        return (
            f"the reference cell {REFERENCE} reaches {got} on {task.name}{needed}, so no candidate "
            f"can be judged by it: raise tasks.{task.name}.epochs or batches_per_epoch, or choose "
            "other settings, under a new --study name."
        )


def answered(answer: Answer) -> list[Sequence[Outcome]]:
    """Return the outcomes that answer the evaluations that a protocol yielded."""
    assert not isinstance(answer, Reference)
    return list(answer)


def outcomes_of(
    parts: Sequence[Sequence[Evaluation]],
) -> Generator[Request, Answer, list[list[Outcome]]]:
    """Ask for all evaluations at once; return the outcomes of each part."""
    answers = iter(answered((yield tuple(itertools.chain(*parts)))))
    return [list(itertools.chain(*itertools.islice(answers, len(part)))) for part in parts]


def referred(answer: Answer) -> Reference:
    """Return the answer to `NeedReference`."""
    assert isinstance(answer, Reference)
    return answer
