"""How long a search will take: from what evaluations took, and how far those that run have come.

The unit is a step: one minibatch of one setting. What a step takes is measured on each task, at
first from the evaluations that run; of a task that was not begun, it is taken from the others.
Candidates cost what those before them did, at first all of their tasks. All of it is a guess.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nas.protocol.evaluation import Evaluation, Result
from nas.protocol.look import Look
from nas.protocol.statistic import planned_epochs

if TYPE_CHECKING:
    from nas.session.coordinator import Coordinator

FEW = 3
"""Candidates that must have been judged before their mean says what others cost."""


def steps(evaluation: Evaluation) -> float:
    """The minibatches that are planned for an evaluation, over all its settings and folds."""
    task = evaluation.task
    n_epochs = planned_epochs(task, evaluation.fidelity) * len(task.in_folds())
    return float(len(evaluation.settings) * n_epochs * task.batches_per_epoch)


@dataclass
class Pace:
    """What was measured so far."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds of training by task."""
    steps: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """The steps that were planned for it."""
    n_finished: int = 0

    def stored(self, evaluation: Evaluation, result: Result) -> None:
        """Learn from an evaluation that is finished."""
        self.n_finished += 1
        self.seconds[evaluation.task.name] += sum(o.cost.wall_s for o in result.outcomes)
        self.steps[evaluation.task.name] += steps(evaluation)

    def rates(self, looks: Iterable[tuple[Evaluation, Look]]) -> dict[str, float]:
        """The seconds of a step of each task that was begun."""
        seconds, done = defaultdict(float, self.seconds), defaultdict(float, self.steps)
        for evaluation, look in looks:
            if look.whole_s:
                seconds[evaluation.task.name] += look.share * look.whole_s
                done[evaluation.task.name] += look.share * steps(evaluation)
        return {task: seconds[task] / done[task] for task in done if done[task] and seconds[task]}


def given_left_s(coordinator: "Coordinator", pace: Pace) -> float | None:
    """Seconds until all given cells are judged, if nothing else ran; None while it is unknown."""
    return _slot_s(coordinator, pace, list(_of_given(coordinator)))


def left_s(coordinator: "Coordinator", pace: Pace) -> float | None:
    """Seconds until all cells are judged; None while it is unknown.

    Of a run without candidates, it is the time of what workers have been given.
    """
    if coordinator.plan.space is None:
        return _slot_s(coordinator, pace, list(_of_busy(coordinator)))
    judged = [visit for visit in coordinator.study.finished() if visit.kind == "drawn"]
    given_s = given_left_s(coordinator, pace)
    n_open = coordinator.plan.n_candidates - len(judged)
    if len(judged) >= FEW:
        spent_s = sum(summary.wall_s for visit in judged for summary in visit.summaries())
        each_s = spent_s / len(judged) * _overhead(coordinator, pace) / _n_slots(coordinator)
        return (given_s or 0.0) + n_open * each_s
    each = _slot_s(coordinator, pace, list(_of_candidate(coordinator)))
    return None if given_s is None or each is None else given_s + n_open * each


def _slot_s(
    coordinator: "Coordinator", pace: Pace, todo: Sequence[tuple[Evaluation, float]]
) -> float | None:
    """Seconds that shares of evaluations take on all slots."""
    looks = [(running, look) for running, _, look in coordinator.workers.looks() if look]
    rates = pace.rates(looks)
    if not rates:
        return None
    usual = sum(rates.values()) / len(rates)
    total_s = sum(
        rates.get(evaluation.task.name, usual) * share * steps(evaluation)
        for evaluation, share in todo
    )
    return total_s * _overhead(coordinator, pace) / _n_slots(coordinator)


def _n_slots(coordinator: "Coordinator") -> int:
    return max(1, coordinator.workers.n_slots)


def _overhead(coordinator: "Coordinator", pace: Pace) -> float:
    """How much longer workers are busy than they train: they make data and compile cells too."""
    trained_s = sum(pace.seconds.values())
    busy_s = coordinator.workers.busy_s
    for _, running_s, _ in coordinator.workers.looks():
        busy_s -= running_s
    return max(1.0, busy_s / trained_s) if pace.n_finished > 1 and trained_s else 1.0


def _missing(coordinator: "Coordinator") -> Iterator[tuple[str, str]]:
    """Text and key of the given cells that have no judgement."""
    judged = {v.key for v in coordinator.study.visits if v and v.kind == "given" and v.judgement}
    for cell in coordinator.plan.cells:
        if cell.key not in judged:
            yield str(cell), cell.key


def _of_busy(coordinator: "Coordinator") -> Iterator[tuple[Evaluation, float]]:
    """All evaluations that workers have been given, with the share that is not done."""
    looks = [(running, look) for running, _, look in coordinator.workers.looks() if look]
    for _, evaluation in coordinator.busy.values():
        done = next((look.share for running, look in looks if running is evaluation), 0.0)
        yield evaluation, 1.0 - done


def _of_given(coordinator: "Coordinator") -> Iterator[tuple[Evaluation, float]]:
    """The evaluations that given cells still need, with the share that is not done."""
    protocol = coordinator.plan.protocol
    done = {running.digest(): look for running, _, look in coordinator.workers.looks()}
    for text, key in _missing(coordinator):
        parts = [protocol.given_evaluations(text, key, task) for task in protocol.tasks]
        if protocol.filter is not None:
            parts.append(protocol.given_filter(text, key))
        n_times = 1 + (protocol.config.repeat > 0)
        for evaluation in (one for part in parts for one in part):
            digest = evaluation.digest()
            if digest in coordinator.study.cache:
                yield evaluation, float(n_times - 1)
            else:
                look = done.get(digest)
                yield evaluation, n_times - (look.share if look else 0.0)


def _of_candidate(coordinator: "Coordinator") -> Iterator[tuple[Evaluation, float]]:
    """What a candidate takes at most that is rejected nowhere."""
    protocol, cell = coordinator.plan.protocol, coordinator.plan.cells[0]
    for task in protocol.tasks:
        for evaluation in protocol.given_evaluations(str(cell), cell.key, task):
            n_settings = min(len(evaluation.settings), protocol.config.n_settings)
            share = n_settings / len(evaluation.settings)
            yield evaluation, (1 + protocol.config.repeat) * share
