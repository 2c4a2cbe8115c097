"""Curves without training: outcomes that are made up, and workers that run in this process.

`python -m tests.curves.made_up ARGUMENTS` is `python -m nas.curves ARGUMENTS` with made-up
outcomes, in processes that can be killed.
"""

import functools
import os
import sys
import time
from typing import Any

from nas.nn.settings import Settings
from nas.protocol.evaluation import Cost, Epoch, Evaluation, Outcome, Result
from nas.tasks.base import Task
from nas.zoo import ZOO
from tests.fake_training import log

QUALITIES = {"gru": 0.4, "lstm": 0.3, "rnn": 0.1}
"""How much of the way from blind guessing to a perfect score a cell goes at each epoch, with a
learning rate of 1; with smaller ones less, with larger ones it diverges."""


def outcome_of(task: Task, values: tuple[float, ...], **fields: Any) -> Outcome:
    """A run whose metric on validation was this after each epoch."""
    best = (max if task.metric.higher_is_better else min)(values)
    if task.metric.mark:
        curve = tuple(Epoch(1.0, 1.0, 0.0, 0.1, {task.metric.mark: value}) for value in values)
    else:
        curve = tuple(Epoch(1.0, value, value, 0.1) for value in values)
    about = ("ok", best, values.index(best), curve, 900, 12, Cost(7, 7, 1.0, 0.25))
    return Outcome(*about, **{"test": best / 2, **fields})


def run(evaluation: Evaluation) -> Result:
    """A function of the evaluation alone."""
    log("start", evaluation)
    time.sleep(float(os.environ.get("NAS_TEST_SLEEP_S", "0")))
    outcomes = tuple(_outcome(evaluation, settings) for settings in evaluation.settings)
    log("end", evaluation)
    return Result(outcomes, b"weights")


def _outcome(evaluation: Evaluation, settings: Settings) -> Outcome:
    task = evaluation.task
    if settings.learning_rate > 1:
        return Outcome("diverged", message="the loss was not finite")
    name = ZOO.named(evaluation.key) or ""
    pace = QUALITIES.get(name, 0.2) * settings.learning_rate + 0.01 * (evaluation.seed % 10)
    chance, perfect = task.chance(), 1.0 if task.metric.higher_is_better else 0.0
    ways = (min(1.0, pace * epoch) for epoch in range(1, task.epochs + 1))
    return outcome_of(task, tuple(chance + way * (perfect - chance) for way in ways))


if __name__ == "__main__":
    import nas.workers.local
    from nas.curves.command import main

    # The command's own workers, which are a class, with what they run given.
    nas.workers.local.LocalWorkers = functools.partial(  # type: ignore[misc,assignment]
        nas.workers.local.LocalWorkers, run="tests.curves.made_up:run"
    )
    sys.exit(main(sys.argv[1:]))
