"""What is trained now: cell, task, epoch, and the metric beside the GRU's at that point."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import value_at
from nas.protocol.look import Look
from nas.protocol.statistic import planned_epochs
from nas.study.visit import Evaluated

if TYPE_CHECKING:
    from nas.session.coordinator import Coordinator


@dataclass
class Yardstick:
    """What the GRU had reached on each task after so many epochs, with its best setting."""

    outcomes: dict[tuple[str, str, float], list[Outcome]] = field(default_factory=dict)
    """Its outcomes by the name and version of the task and the fidelity."""

    def learn(self, evaluated: Evaluated) -> None:
        """Add what the GRU did in an evaluation."""
        kind = (evaluated.task, evaluated.task_version, evaluated.fidelity)
        self.outcomes.setdefault(kind, []).extend(evaluated.outcomes)

    def at(self, evaluation: Evaluation, n_epochs: int) -> float | None:
        """The GRU's metric after so many epochs on an evaluation's task; None if it is unknown."""
        task = evaluation.task
        kind = (task.name, task.version, evaluation.fidelity)
        return value_at(task, self.outcomes.get(kind, ()), n_epochs)


def trained_now(
    coordinator: "Coordinator", yardstick: Yardstick, since: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
    """A line and the seconds of each evaluation that runs.

    Workers that cannot be looked at are taken to run what they were given first; `since` is when
    that was, by digest, on time.monotonic.
    """
    looks = coordinator.workers.looks()
    if not looks:
        now = time.monotonic()
        running = list(coordinator.busy.items())[: coordinator.workers.n_slots]
        for digest, (visit, evaluation) in running:
            yield f"{visit.name} on {evaluation.task.name}", now - since.get(digest, now)
    for running_now, running_s, look in looks:
        names = [v.name for v, evaluation in coordinator.busy.values() if evaluation is running_now]
        if names:
            yield f"{names[0]} on {_told(running_now, look, yardstick)}", running_s


def _told(evaluation: Evaluation, look: Look | None, yardstick: Yardstick) -> str:
    """The task, the epoch that is trained, and the metric after the one before it."""
    task, n_epochs = evaluation.task, planned_epochs(evaluation.task, evaluation.fidelity)
    if look is None:
        return f"{task.name}, getting ready"
    text = f"{task.name}, epoch {min(look.epoch + 1, n_epochs)} of {n_epochs}"
    if look.best is None:
        return text
    text += f", {task.metric.name} {look.best:.4g}"
    gru = yardstick.at(evaluation, look.epoch)
    return text if gru is None else f"{text} (the GRU's at that point {gru:.4g})"
