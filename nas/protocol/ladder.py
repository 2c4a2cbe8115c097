"""The ladder: many cells on a small budget, the best of them on larger ones.

A cell's visit k is judged at rung k. Every visit measures all tasks and rejects nothing; which
cells climb is proposed by the sampler (`nas/samplers/promotion.py`), so promotions are trials like
all others and follow from the results that the sampler knows. On each task a cell has one number,
the mean over its settings and seeds of the area under the learning curve, as a share of the way
from blind guessing to perfect; its ratio is that share relative to the GRU's at the same rung, and
its score, at the top rung, comes of these ratios. Successive halving: Jamieson & Talwalkar 2016,
arXiv:1502.07943; asynchronous: Li et al. 2020, arXiv:1810.05934.
"""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from nas.errors import SearchError
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement, Rung, best_value, score_of
from nas.protocol.repeating import again
from nas.protocol.requests import REFERENCE, Candidate, spent
from nas.protocol.rungs import LadderConfig
from nas.protocol.staged import (
    Answer,
    Judging,
    NeedReference,
    Request,
    Staged,
    outcomes_of,
    referred,
)
from nas.protocol.statistic import (
    FAST,
    Statistic,
    blind,
    planned_epochs,
    ratio_of_shares,
    share,
    value_of,
)
from nas.tasks.base import Task


@dataclass(frozen=True)
class Ladder(Staged):
    """The protocol of one study on a ladder; `tasks` have the budgets of the top rung."""

    @property
    def ladder(self) -> LadderConfig:
        return self.config.ladder

    @property
    def statistic(self) -> Statistic:
        return FAST

    def relative(self, task: Task, value: float, reference: float) -> float:
        return ratio_of_shares(share(task, value), share(task, reference))

    @property
    def n_turns(self) -> int:
        return len(self.ladder)

    def tried(self, turn: int) -> str:
        return spent(self.ladder.n_settings[turn], self.ladder.n_seeds[turn])

    def seeds_at(self, rung: int) -> tuple[int, ...]:
        return tuple(self._seed(rung, repeat) for repeat in range(self.ladder.n_seeds[rung]))

    def rung_task(self, rung: int, task: Task) -> Task:
        """The task with the parameter budget of a rung."""
        return replace(task, n_params=(self.ladder.n_params[rung],))

    @property
    def all_tasks(self) -> tuple[Task, ...]:
        rungs = range(len(self.ladder))
        return tuple(self.rung_task(rung, task) for rung in rungs for task in self.tasks)

    def judge(self, candidate: Candidate) -> Judging:
        """Measure a candidate at the rung of its visit."""
        rung = candidate.turn
        asked = [self._at(rung, candidate.cell, candidate.key, task) for task in self.tasks]
        answers = yield from outcomes_of(asked)
        known = referred((yield NeedReference())).rungs[rung]
        result = self._result(rung, answers, known)
        second = None
        if self.is_repeated(candidate.key):
            second = yield from self._second(rung, asked, known)
        return self._judgement([result], answers, second)

    def revisit(self, candidate: Candidate) -> Judging:
        return (yield from self.judge(candidate))

    def measure(self, cell: str, key: str, *, is_reference: bool = False) -> Judging:
        """Measure a given cell at every rung.

        Raises:
            SearchError: if the reference has no finite metric at some rung.
        """
        rungs = range(len(self.ladder))
        asked = [self._at(rung, cell, key, task) for rung in rungs for task in self.tasks]
        outcomes = yield from outcomes_of(asked)
        n_tasks = len(self.tasks)
        answers = [outcomes[rung * n_tasks : (rung + 1) * n_tasks] for rung in rungs]
        known: Sequence[Mapping[str, float]]
        if is_reference:
            known = [self._values(rung, answers[rung]) for rung in rungs]
            self._check_reference(known, answers)
        else:
            known = referred((yield NeedReference())).rungs
        results = [self._result(rung, answers[rung], known[rung]) for rung in rungs]
        second = None
        if self.config.repeat:
            second = yield from self._second(rungs[-1], asked[-n_tasks:], known[-1])
        return self._judgement(results, answers[-1], second)

    def _second(
        self, rung: int, asked: Sequence[Sequence[Evaluation]], known: Mapping[str, float]
    ) -> Generator[Request, Answer, Rung]:
        """Measure the same with fresh seeds, to know how well the first measurement ranks."""
        parts = [[again(evaluation) for evaluation in of_task] for of_task in asked]
        answers = yield from outcomes_of(parts)
        return self._result(rung, answers, known)

    def _at(self, rung: int, cell: str, key: str, task: Task) -> list[Evaluation]:
        """The evaluations of a cell on a task at a rung, one a seed."""
        ladder = self.ladder
        own = self.rung_task(rung, task)
        settings = self.grid.draw(own, ladder.n_settings[rung], self.seed)
        about = (ladder.fidelity[rung], ladder.halving[rung])
        return [
            Evaluation(cell, key, own, settings, seed, *about, veto=self._veto(key))
            for seed in self.seeds_at(rung)
        ]

    def _seed(self, rung: int, repeat: int) -> int:
        """The seed of weights and data, another one for each rung and repetition."""
        digest = hashlib.sha256(f"rung {self.seed} {rung} {repeat}".encode()).digest()
        return int.from_bytes(digest[:4])

    def _values(self, rung: int, answers: Sequence[Sequence[Outcome]]) -> dict[str, float]:
        """The number by which cells are compared on each task; a task without one is left out."""
        values = {}
        for task, outcomes in zip(self.tasks, answers, strict=True):
            n_epochs = planned_epochs(task, self.ladder.fidelity[rung])
            value = value_of(task, outcomes, FAST, n_epochs)
            if value is not None:
                values[task.name] = value
        return values

    def _result(
        self, rung: int, answers: Sequence[Sequence[Outcome]], reference: Mapping[str, float]
    ) -> Rung:
        values = self._values(rung, answers)
        ratios = {
            task.name: self.relative(task, values.get(task.name, blind(task)), reference[task.name])
            for task in self.tasks
        }
        return Rung(rung, values, ratios)

    def _judgement(
        self, results: Sequence[Rung], answers: Sequence[Sequence[Outcome]], second: Rung | None
    ) -> Judgement:
        """The judgement of a visit; only the top rung gives a score."""
        last = results[-1]
        best = {
            task.name: best_value(task, outcomes)
            for task, outcomes in zip(self.tasks, answers, strict=True)
        }
        is_top = last.rung == len(self.ladder) - 1
        return Judgement(
            "scored" if is_top else f"rung {last.rung + 1}",
            best,
            last.ratios,
            score_of(last.ratios, self.config.score) if is_top else None,
            last.rung + last.mean / (1 + last.mean),
            compared=last.values,
            repeated={t.name: second.values.get(t.name, blind(t)) for t in self.tasks}
            if second
            else {},
            repeated_ratios=second.ratios if second else {},
            rungs=tuple(results),
        )

    def _check_reference(
        self, known: Sequence[Mapping[str, float]], answers: Sequence[Sequence[Sequence[Outcome]]]
    ) -> None:
        for rung, values in enumerate(known):
            for task, outcomes in zip(self.tasks, answers[rung], strict=True):
                if task.name not in values or best_value(task, outcomes) is None:
                    raise SearchError(
                        f"the reference cell {REFERENCE} has no finite metric on {task.name} at "
                        f"rung {rung + 1}, so no candidate can be judged by it: choose other "
                        "settings, under a new --study name."
                    )
