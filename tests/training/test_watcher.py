"""How far an evaluation has come, as its worker shows it."""

import math

import pytest

from nas.nn.settings import Settings
from nas.protocol.look import N_NUMBERS, OF_PROCESS, Look, clear, read
from nas.tasks import Xml
from nas.training.schedule import Schedule
from nas.training.training_run import Run
from nas.training.watcher import EVERY_S, Watcher

TASK = Xml(batches_per_epoch=10)


def runs(*done: int) -> list[Run]:
    made = [Run(Settings(), seed, 8, 100, 1.0) for seed in range(len(done))]
    for run, n_steps in zip(made, done, strict=True):
        run.steps = n_steps
    return made


def test_the_share_is_that_of_the_planned_minibatches() -> None:
    two = runs(10, 20)
    assert Watcher(TASK, two, n_epochs=4).look(0.0).share == (0.25 + 0.5) / 2
    two[0].end("diverged")
    assert Watcher(TASK, two, n_epochs=4).look(0.0).share == (1 + 0.5) / 2
    assert Watcher(TASK, two, n_epochs=4, fold=2, n_folds=3).look(0.0).share == (2 + 0.75) / 3


def test_the_pace_leaves_out_what_was_before_the_first_look() -> None:
    (one,) = runs(1)
    watcher = Watcher(TASK, [one], n_epochs=10)
    assert watcher.look(100.0).whole_s == 0.0, "a cell may have been compiled"
    one.steps = 2
    assert watcher.look(100.5).whole_s == 0.0, "one step of 100 says little"
    one.steps = 11
    assert watcher.look(105.0).whole_s == pytest.approx(50.0), "10 steps in 5 s"


def test_the_metric_is_the_best_of_all_runs() -> None:
    both = runs(1, 1)
    assert Watcher(TASK, both, 4).look(0.0).best is None
    both[0].schedule = Schedule(1.0, best=2.0)
    both[1].schedule = Schedule(1.0, best=1.5)
    metric = TASK.metric
    assert Watcher(TASK, both, 4).look(0.0).best == (2.0 if metric.higher_is_better else 1.5)


def test_a_board_gives_back_what_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    board = [math.inf] * N_NUMBERS
    clear(board)
    assert read(board) is None
    monkeypatch.setattr(OF_PROCESS, "board", board)
    for look in (Look(0.5, 3, 1.25, 60.0), Look(0.01)):
        OF_PROCESS.show(look)
        assert read(board) == look
    (one,) = runs(5)
    watcher = Watcher(TASK, [one], n_epochs=1)
    watcher()
    assert read(board) == Look(0.5)
    one.steps = 6
    watcher()
    assert read(board) == Look(0.5), f"not so soon as {EVERY_S} s"


def test_nothing_is_computed_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OF_PROCESS, "board", None)
    watcher = Watcher(TASK, runs(5), n_epochs=1)
    watcher()
    assert watcher.first is None
