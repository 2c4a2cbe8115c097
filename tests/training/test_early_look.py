"""An early look: runs end at the bar's epoch unless one has reached it; what a cut saves."""

import dataclasses
from collections.abc import Sequence

import pytest

from nas.errors import UserError
from nas.protocol.evaluation import Bar, Outcome
from nas.tasks import TASKS, Task
from nas.tasks.base import ACCURACY, Metric
from nas.training.train import run, train, train_members
from nas.training.window_tensors import extent
from tests.tasks.own_data import EMBEDDED
from tests.training.evaluations import evaluation
from tests.training.plain import ENDLESS, LSTM, SEED, SETTINGS, XML

RATES = (0.001, 2.0, 0.5, 1e38, 0.1, 1.0)
MANY = [dataclasses.replace(SETTINGS, learning_rate=rate) for rate in RATES]
MANY[1] = dataclasses.replace(MANY[1], num_layers=1)
MANY[4] = dataclasses.replace(MANY[4], n_params=900)
MANY[5] = dataclasses.replace(MANY[5], momentum=0.5, dropout=0.3)
EPOCHS = 6
AT = 3


@pytest.fixture(scope="module", params=[XML, ENDLESS], ids=["accuracy", "loss"])
def task(request: pytest.FixtureRequest) -> Task:
    return dataclasses.replace(request.param, epochs=EPOCHS)


def values(outcome: Outcome, metric: Metric, n_epochs: int) -> list[float]:
    curve = outcome.curve[:n_epochs]
    return [epoch.accuracy if metric is ACCURACY else epoch.loss for epoch in curve]


def best_of(outcomes: Sequence[Outcome], metric: Metric, n_epochs: int) -> float:
    """Of all runs, over their first epochs."""
    found = [value for outcome in outcomes for value in values(outcome, metric, n_epochs)]
    return max(found) if metric is ACCURACY else min(found)


def beyond(value: float, metric: Metric) -> float:
    """Slightly better than a value."""
    return value + 1e-9 if metric is ACCURACY else value - 1e-9


@pytest.mark.parametrize("halving", [0, 2, 4])
def test_a_bar_that_is_reached_changes_no_bit(task: Task, halving: int) -> None:
    """Rungs lie at 1, 2 and 3 (of 2), and at 1 and 2 (of 4): before, at and after the looks."""
    free = train(LSTM, task, MANY, SEED, halving=halving)
    for epoch in (1, AT, 5):
        reached = Bar(epoch, best_of(free, task.metric, epoch))
        assert train(LSTM, task, MANY, SEED, halving=halving, bar=reached) == free


@pytest.mark.parametrize("halving", [0, 2, 4])
def test_a_bar_that_is_not_reached_ends_all_that_still_train(task: Task, halving: int) -> None:
    free = train(LSTM, task, MANY, SEED, halving=halving)
    bar = Bar(AT, beyond(best_of(free, task.metric, AT), task.metric))
    looked = train(LSTM, task, MANY, SEED, halving=halving, bar=bar)
    for before, after in zip(free, looked, strict=True):
        assert after.curve == before.curve[:AT]
        if before.status == "diverged" or len(before.curve) < AT:  # it ended earlier, as ever
            assert after == before
            continue
        assert after.status == "cut"
        expected = f"no setting had reached {task.metric.name} {bar.value:.4g} by epoch {AT}"
        assert after.message == expected or "not among the best" in before.message
        assert after.best == best_of([after], task.metric, AT)
        assert after.cost.steps == AT * task.batches_per_epoch
    statuses = {outcome.status for outcome in looked}
    assert "ok" not in statuses
    assert {"cut", "diverged"} <= statuses


def test_a_run_that_ended_before_counts_with_its_best(task: Task) -> None:
    """The first run reaches the goal in an epoch and stops; the others go on because of it."""
    free = train(LSTM, task, MANY, SEED)
    goal = best_of(free, task.metric, 1)
    stopping = dataclasses.replace(task, stop_at=goal)
    whole = train(LSTM, stopping, MANY, SEED)
    assert min(len(outcome.curve) for outcome in whole if outcome.curve) == 1
    assert train(LSTM, stopping, MANY, SEED, bar=Bar(AT, goal)) == whole


def test_at_the_last_epoch_nobody_looks(task: Task) -> None:
    free = train(LSTM, task, MANY, SEED)
    never = 2.0 if task.metric is ACCURACY else -1.0
    for epoch in (EPOCHS, EPOCHS + 3):
        assert train(LSTM, task, MANY, SEED, bar=Bar(epoch, never)) == free
    half = train(LSTM, task, MANY, SEED, fidelity=0.5)
    assert train(LSTM, task, MANY, SEED, fidelity=0.5, bar=Bar(EPOCHS // 2, never)) == half


@pytest.mark.parametrize("halving", [0, 3])
def test_what_a_cut_run_took_and_saved_is_what_a_whole_run_takes(task: Task, halving: int) -> None:
    """No schedule stops a run before the sixth epoch, so that only divergence ends one earlier."""
    never = Bar(AT, 2.0 if task.metric is ACCURACY else -1.0)
    whole = train(LSTM, task, MANY, SEED)
    cut = train(LSTM, task, MANY, SEED, halving=halving, bar=never)
    for before, after in zip(whole, cut, strict=True):
        assert before.cost.saved_flops == 0
        if before.status == "ok":
            assert len(before.curve) == EPOCHS
            assert after.cost.saved_flops > 0
            assert after.cost.flops + after.cost.saved_flops == before.cost.flops
        else:
            assert after.cost.saved_flops == 0


@pytest.mark.parametrize("name", EMBEDDED)
def test_all_epochs_of_a_task_are_equally_long(name: str) -> None:
    """And as long as `extent` says, which the saving of runs that were not begun rests on."""
    task = dataclasses.replace(TASKS[name](), batches_per_epoch=3, batch_size=4)
    for epoch in range(3):
        windows = list(task.windows("train", SEED, epoch))
        assert sum(window.scored.size for window in windows) == extent(task, SEED).n_tokens
    n_steps = [len(window.inputs) for window in windows]
    carried = max(n_steps) if windows[1].fresh else 3 * task.window
    assert extent(task, SEED).n_steps == carried


def test_a_worker_looks_as_the_evaluation_says_and_keeps_the_best_weights() -> None:
    task = dataclasses.replace(XML, epochs=4)
    bar = Bar(2, 0.999)
    looked = evaluation(LSTM, task, MANY[:3], SEED, bar=bar)
    result = run(looked)
    members = train_members(looked)
    assert list(result.outcomes) == [member.outcome for member in members]
    assert {outcome.status for outcome in result.outcomes} == {"cut"}
    best = max(members, key=lambda member: member.outcome.best or 0.0)
    assert result.weights == best.weights
    assert result.weights is not None


def test_a_bar_before_the_first_epoch_is_refused() -> None:
    with pytest.raises(UserError, match="a bar's epoch must be at least 1, got 0"):
        train(LSTM, XML, MANY[:1], SEED, bar=Bar(0, 0.5))
