"""A stand-in for `nas.training.train:run` with known effects: what a cell is better by is made up.

`python -m tests.fake_comparing ARGUMENTS` is `python -m nas.compare ARGUMENTS` with it, and
`python -m tests.fake_comparing search ARGUMENTS` is `python -m nas.search ARGUMENTS`. The best
setting on validation is the worst on test, so that a choice by the test split would be seen.
"""

import functools
import hashlib
import os
import random
import sys
import time

from nas.nn.settings import Settings
from nas.protocol.evaluation import Cost, Epoch, Evaluation, Outcome, Result
from nas.tasks.base import Task
from nas.zoo import ZOO
from tests.fake_training import log

EFFECTS = {ZOO["mut1"].key: 0.05, ZOO["rnn"].key: -0.08}
"""By how much these are better than all others."""
NOISE = 0.01
"""Of a run; what runs of one seed share is five times as large."""


def run(evaluation: Evaluation) -> Result:
    """What a worker would send back."""
    log("start", evaluation)
    time.sleep(float(os.environ.get("NAS_TEST_SLEEP_S", "0")))
    outcomes = tuple(outcome(evaluation, settings) for settings in evaluation.settings)
    log("end", evaluation)
    return Result(outcomes, b"weights")


def outcome(evaluation: Evaluation, settings: Settings) -> Outcome:
    """Validation grows with the learning rate, test falls with it."""
    about = f"{evaluation.task.name} {evaluation.seed}"
    shared = random.Random(about).gauss(0, 5 * NOISE)
    own = random.Random(f"{evaluation.key} {about}").gauss(0, NOISE)
    quality = 0.5 + EFFECTS.get(evaluation.key, 0.0) + shared + own
    of_rate = 0.1 * settings.learning_rate
    best = metric(evaluation.task, quality + of_rate)
    test = metric(evaluation.task, quality - of_rate) if evaluation.measure_test else None
    n_params = settings.n_params - 1 - hashlib.sha256(evaluation.key.encode()).digest()[0]
    curve = (Epoch(1.0, best, best, 0.5),)
    return Outcome("ok", best, 0, curve, n_params, 10, Cost(1, 1, 1.0, 0.01), test=test)


def metric(task: Task, quality: float) -> float:
    return quality if task.metric.higher_is_better else 3 - quality


if __name__ == "__main__":
    import nas.workers.local
    from nas.compare.command import main as compare
    from nas.search.search import main as search

    nas.workers.local.LocalWorkers = functools.partial(  # type: ignore[misc,assignment]
        nas.workers.local.LocalWorkers, run="tests.fake_comparing:run"
    )
    if sys.argv[1:2] == ["search"]:
        sys.exit(search(sys.argv[2:]))
    sys.exit(compare(sys.argv[1:]))
