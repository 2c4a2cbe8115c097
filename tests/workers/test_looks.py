"""A coordinator looks at what its workers train."""

from pathlib import Path

import pytest
from worker_targets import evaluation, eventually

from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.protocol.look import Look
from nas.tasks import Arithmetic
from nas.workers.local import LocalWorkers
from nas.zoo import ZOO

pytestmark = pytest.mark.process


def test_what_runs_is_seen_with_how_far_it_is_and_what_waits_is_not(tmp_path: Path) -> None:
    with LocalWorkers(1, "worker_targets:run") as workers:
        assert workers.looks() == []
        first = evaluation("show", tmp_path / "first", 0.25)
        second = evaluation("show", tmp_path / "second", 0.5, seed=1)
        futures = [workers.submit(first), workers.submit(second)]

        def seen() -> list[tuple[object, Look | None]]:
            return [(running, look) for running, _, look in workers.looks()]

        shown = [Look(0.25, 3, 1.25, 60.0), Look(0.5, 3, 1.25, 60.0)]
        assert eventually(lambda: seen() == [(first, shown[0])], 60)
        running_s = [seconds for _, seconds, _ in workers.looks()]
        assert 0 < running_s[0] < 60
        (tmp_path / "first").touch()
        futures[0].result(timeout=20)
        assert eventually(lambda: seen() == [(second, shown[1])], 20)
        (tmp_path / "second").touch()
        futures[1].result(timeout=20)
        assert eventually(lambda: not workers.looks(), 20)


def test_nothing_is_seen_of_what_has_not_begun_to_train(tmp_path: Path) -> None:
    with LocalWorkers(1, "worker_targets:run") as workers:
        done = workers.submit(evaluation("show", tmp_path, 0.25))  # it shows, and ends
        done.result(timeout=60)
        path = tmp_path / "pid"
        waits = workers.submit(evaluation("sleep", path, 0.5))
        assert eventually(path.exists, 20)
        ((_, _, look),) = workers.looks()
        assert look is None, "the board was cleared"
        waits.result(timeout=20)


def test_a_training_shows_epochs_that_its_curve_has_in_the_end() -> None:
    # Two seconds of training, of which a look is taken each 0.2 s.
    task = Arithmetic(max_digits=1, n_params=(2000,), epochs=8, batches_per_epoch=100, stop_at=None)
    gru = ZOO["gru"]
    asked = Evaluation(str(gru), gru.key, task, (Settings(2000),), 0)
    seen: set[Look] = set()
    with LocalWorkers(1) as workers:
        future = workers.submit(asked)

        def watched() -> bool:
            seen.update(look for _, _, look in workers.looks() if look)
            return future.done()

        assert eventually(watched, 120)
        (outcome,) = future.result().outcomes
    accuracies = [epoch.accuracy for epoch in outcome.curve]
    told = [look for look in seen if look.epoch]
    assert told
    for look in told:
        assert look.best == max(accuracies[: look.epoch])
        assert look.share >= look.epoch / 8
    assert any(look.whole_s > 0 for look in seen)
