"""Successive halving: which runs go on, against a plain calculation on runs without it."""

import dataclasses
from collections.abc import Sequence

import pytest

from nas.protocol.evaluation import Epoch, Evaluation, Outcome
from nas.tasks import Task
from nas.tasks.base import ACCURACY, LOSS, Metric
from nas.training.successive_halving import rungs, survivors
from nas.training.train import run, train
from tests.training.plain import ENDLESS, LSTM, SEED, SETTINGS, XML


@pytest.mark.parametrize(
    ("n_epochs", "n_runs", "eta", "expected"),
    [
        (16, 8, 2, [2, 4, 8]),
        (27, 27, 3, [1, 3, 9]),
        (27, 9, 3, [3, 9]),
        (10, 20, 3, [1, 2, 4]),
        (100, 3, 4, [25]),
        (1, 20, 3, []),
        (16, 1, 2, []),
        (16, 8, 0, []),
    ],
)
def test_rungs_lie_at_powers_of_a_share(
    n_epochs: int, n_runs: int, eta: int, expected: list[int]
) -> None:
    assert rungs(n_epochs, n_runs, eta) == expected


@pytest.mark.parametrize(
    ("metric", "values", "eta", "expected"),
    [
        (ACCURACY, [0.1, 0.4, 0.3, 0.2], 2, [1, 2]),
        (LOSS, [0.1, 0.4, 0.3, 0.2], 2, [0, 3]),
        (LOSS, [None, 0.4, None], 3, [1]),
        (ACCURACY, [None, 0.0, None], 2, [0, 1]),
        (ACCURACY, [0.5, 0.5, 0.5], 3, [0]),
        (ACCURACY, [0.1, 0.4, 0.3, 0.2, 0.5], 2, [1, 2, 4]),
    ],
)
def test_the_best_share_survives(
    metric: Metric, values: list[float | None], eta: int, expected: list[int]
) -> None:
    assert survivors(values, metric, eta) == expected


RATES = (0.001, 2.0, 0.5, 1e38, 0.1, 1.0, 0.2, 0.01)
MANY = [dataclasses.replace(SETTINGS, learning_rate=rate) for rate in RATES]
MANY[4] = dataclasses.replace(MANY[4], num_layers=1)  # a group of its own


PLANS = {2: [(2, 4), (3, 2), (5, 1)], 3: [(1, 3), (3, 1)]}
"""Of 8 runs and 9 epochs: how many are left after which epoch."""


@pytest.mark.parametrize("task", [XML, ENDLESS], ids=["accuracy", "loss"])
@pytest.mark.parametrize("eta", PLANS)
def test_those_that_go_on_are_the_best_so_far_of_runs_that_are_never_cut(
    task: Task, eta: int
) -> None:
    task = dataclasses.replace(task, epochs=9)
    whole = train(LSTM, task, MANY, SEED)
    halved = train(LSTM, task, MANY, SEED, halving=eta)
    lengths = expected_lengths(whole, task.metric, PLANS[eta])
    for before, after, length in zip(whole, halved, lengths, strict=True):
        was_cut = length < len(before.curve)
        assert (after.status == "cut") == was_cut
        if not was_cut:
            assert after == before
            continue
        assert after.curve == before.curve[:length]
        assert f"at epoch {length}" in after.message
        assert after.best == best_of(after.curve, task.metric)
        assert after.cost.steps == length * task.batches_per_epoch
    assert sum(outcome.status == "cut" for outcome in halved) >= 4


def best_of(curve: Sequence[Epoch], metric: Metric) -> float | None:
    values = [epoch.accuracy if metric is ACCURACY else epoch.loss for epoch in curve]
    return (max if metric is ACCURACY else min)(values, default=None)


def expected_lengths(
    whole: list[Outcome], metric: Metric, plan: list[tuple[int, int]]
) -> list[int]:
    """Epochs of each run, from the curves of runs that are never cut."""
    lengths, left = [len(outcome.curve) for outcome in whole], list(range(len(whole)))
    for epoch, count in plan:
        best = {k: best_of(whole[k].curve[:epoch], metric) for k in left}
        known = [k for k in left if best[k] is not None]
        known.sort(key=lambda k, best=best: best[k], reverse=metric is ACCURACY)  # type: ignore[misc]
        for k in set(left) - {*known[:count]}:
            lengths[k] = min(lengths[k], epoch)
        left = sorted(known[:count])
    return lengths


def test_without_halving_nothing_is_cut() -> None:
    assert {outcome.status for outcome in train(LSTM, XML, MANY, SEED)} == {"ok", "diverged"}


def test_a_worker_halves_as_the_evaluation_says() -> None:
    task = dataclasses.replace(XML, epochs=4)
    evaluation = Evaluation(str(LSTM), LSTM.key, task, tuple(MANY[:3]), SEED, halving=2)
    result = run(evaluation)
    assert list(result.outcomes) == train(LSTM, task, MANY[:3], SEED, halving=2)
    assert {outcome.status for outcome in result.outcomes} == {"ok", "cut"}
