"""One number of a cell on a task, against NumPy on hand-made learning curves."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest

from nas.errors import UserError
from nas.protocol.config import ProtocolConfig
from nas.protocol.evaluation import Epoch, Evaluation, Outcome, Status
from nas.protocol.judgement import Judgement
from nas.protocol.requests import Candidate
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.protocol.statistic import (
    FAST,
    FINAL,
    Of,
    Over,
    Statistic,
    after_each_epoch,
    of_run,
    perfect,
    planned_epochs,
    ratio_of_shares,
    share,
    value_of,
)
from nas.tasks import Arithmetic, Memorization, Task, Text
from nas.zoo import ZOO
from tests.protocol.test_protocol import drive

ACCURACY, LOSS = Arithmetic(epochs=6, batches_per_epoch=50), Text(epochs=6, batches_per_epoch=50)
BLIND = {"arithmetic": ACCURACY.chance(), "text": LOSS.chance()}
TASKS = pytest.mark.parametrize("task", [ACCURACY, LOSS], ids=["accuracy", "loss"])


def ran(task: Task, values: list[float], status: Status = "ok") -> Outcome:
    """A run with these values of the task's metric after its epochs."""
    is_share = task.metric.name == "accuracy"
    curve = [Epoch(1.0, 9.0 if is_share else v, v if is_share else 0.0, 0.01) for v in values]
    best = (max if task.metric.higher_is_better else min)(values) if values else None
    return Outcome(status, best, curve=tuple(curve))


CURVES = {
    "arithmetic": [[0.2, 0.3, 0.5, 0.4, 0.6, 0.55], [0.1, 0.2, 0.3, 0.35, 0.3, 0.2]],
    "text": [[3.0, 2.5, 2.2, 2.4, 2.0, 2.1], [3.5, 3.0, 2.9, 2.8, 2.9, 3.1]],
}


@TASKS
def test_each_statistic_of_whole_runs_is_numpys(task: Task) -> None:
    curves = np.array(CURVES[task.name])
    outcomes = [ran(task, curve) for curve in CURVES[task.name]]
    best = np.max if task.metric.higher_is_better else np.min
    of_runs = {"best": best(curves, axis=1), "last": curves[:, -1], "area": curves.mean(axis=1)}
    for of, expected in of_runs.items():
        name: Of = of  # type: ignore[assignment]
        found = value_of(task, outcomes, Statistic("mean", name), 6)
        assert found == pytest.approx(float(np.mean(expected)), abs=1e-12)
        found = value_of(task, outcomes, Statistic("best", name), 6)
        assert found == pytest.approx(float(best(expected)), abs=1e-12)


def test_the_area_is_the_integral_of_the_curve_as_steps() -> None:
    """Each epoch's value holds for the epoch: the trapezoid over doubled points is the same."""
    (values, _) = CURVES["arithmetic"]
    steps = np.repeat(values, 2)
    edges = np.repeat(np.arange(7), 2)[1:-1]
    area = float(np.trapezoid(steps, edges)) / 6
    assert of_run(ACCURACY, ran(ACCURACY, values), FAST, 6) == pytest.approx(area, abs=1e-12)


@TASKS
@pytest.mark.parametrize("status", ["ok", "cut"])
def test_a_run_that_ended_early_keeps_its_last_value(task: Task, status: Status) -> None:
    values = CURVES[task.name][0][:3]
    path = [*values, *[values[-1]] * 3]
    assert after_each_epoch(task, ran(task, values, status), 6) == pytest.approx(path)
    assert of_run(task, ran(task, values, status), FAST, 6) == pytest.approx(np.mean(path))
    assert of_run(task, ran(task, values, status), FINAL, 6) == values[-1]


@TASKS
@pytest.mark.parametrize(
    "status", ["diverged", "vetoed", "failed", "crashed", "out of memory", "timed out"]
)
def test_after_any_other_end_it_guesses_blindly(task: Task, status: Status) -> None:
    values = CURVES[task.name][0][:2]
    blind = BLIND[task.name]
    ended = ran(task, values, status)
    assert of_run(task, ended, FAST, 6) == pytest.approx((sum(values) + 4 * blind) / 6)
    assert of_run(task, ended, FINAL, 6) == blind
    assert of_run(task, ran(task, [], status), Statistic("mean", "best"), 6) == blind
    whole = ran(task, CURVES[task.name][1])
    mean = value_of(task, [whole, ran(task, [], status)], FINAL, 6)
    assert mean == pytest.approx((CURVES[task.name][1][-1] + blind) / 2)


@TASKS
def test_nothing_counts_as_worse_than_blind_guessing(task: Task) -> None:
    blind = BLIND[task.name]
    awful = 0.0 if task.metric.higher_is_better else 1e9
    good = CURVES[task.name][0][0]
    for bad in (awful, math.nan, math.inf):
        path = after_each_epoch(task, ran(task, [good, bad, good]), 3)
        assert path == pytest.approx([good, blind, good])
    assert of_run(task, ran(task, [good, awful, good]), FAST, 3) == pytest.approx(
        (2 * good + blind) / 3
    )


def test_speed_is_the_first_epoch_at_the_threshold_in_minibatches() -> None:
    blind = BLIND["arithmetic"]
    slow, fast = CURVES["arithmetic"][1], CURVES["arithmetic"][0]
    half = Statistic("mean", "speed", threshold=(0.5 - blind) / (1 - blind) - 1e-9)
    assert of_run(ACCURACY, ran(ACCURACY, fast), half, 6) == 3 * 50
    assert of_run(ACCURACY, ran(ACCURACY, slow), half, 6) == 7 * 50  # never
    outcomes = [ran(ACCURACY, fast), ran(ACCURACY, slow)]
    assert value_of(ACCURACY, outcomes, half, 6) == 5 * 50
    assert value_of(ACCURACY, outcomes, dataclasses.replace(half, over="best"), 6) == 3 * 50
    loss = Statistic("best", "speed", threshold=(LOSS.chance() - 2.2) / LOSS.chance() - 1e-9)
    assert value_of(LOSS, [ran(LOSS, CURVES["text"][0])], loss, 6) == 3 * 50
    assert half.better(ACCURACY, 50, 100)
    assert not half.better(LOSS, 100, 50)
    assert half.ratio(ACCURACY, 50, 100) == 2.0


@TASKS
def test_the_default_is_the_best_of_the_best_and_needs_no_curve(task: Task) -> None:
    outcomes = [Outcome("diverged"), Outcome("ok", 0.3), Outcome("ok", 0.7)]
    expected = 0.7 if task.metric.higher_is_better else 0.3
    assert value_of(task, outcomes, Statistic(), 6) == expected


@TASKS
def test_without_any_finished_epoch_there_is_no_value(task: Task) -> None:
    for statistic in (Statistic(), FAST, FINAL, Statistic("mean", "speed")):
        assert value_of(task, [ran(task, [], "vetoed"), Outcome("failed")], statistic, 6) is None
        assert value_of(task, [], statistic, 6) is None


def test_only_planned_epochs_count() -> None:
    longer = ran(ACCURACY, CURVES["arithmetic"][0])
    assert of_run(ACCURACY, longer, FAST, 2) == pytest.approx(0.25)
    assert planned_epochs(ACCURACY, 0.25) == 2
    assert planned_epochs(ACCURACY) == 6
    assert planned_epochs(ACCURACY, 0.01) == 1


def test_shares_run_from_blind_guessing_to_perfect() -> None:
    for task in (ACCURACY, LOSS, Memorization()):
        assert share(task, task.chance()) == 0
        assert share(task, perfect(task)) == 1
        half = (task.chance() + perfect(task)) / 2
        assert share(task, half) == pytest.approx(0.5)
    assert share(LOSS, 100.0) == share(ACCURACY, 0.0) == share(LOSS, math.nan) == 0
    # A loss of a quarter of the GRU's, where both are near 0: the ratio was 4, that of shares is 1.
    assert ratio_of_shares(share(LOSS, 0.01), share(LOSS, 0.04)) == pytest.approx(1, abs=0.01)


def test_ratios_of_shares_are_bounded() -> None:
    assert ratio_of_shares(0.6, 0.3) == pytest.approx(2)
    assert ratio_of_shares(0.9, 0.001) == ratio_of_shares(0.1, 0.0) == 20
    assert ratio_of_shares(0.0, 0.5) == 0.05
    assert ratio_of_shares(0.0, 0.0) == 1


# --- in a protocol ---


def heard_by(config: ProtocolConfig, values: Callable[[Evaluation], list[Outcome]]) -> Judgement:
    """The judgement of a candidate at its second visit, after that of the GRU."""
    staged = Staged(None, (ACCURACY, LOSS), config, SettingsGrid(), 7)
    gru = ZOO["gru"]
    reference = drive(staged.measure(str(gru), gru.key, is_reference=True), values).judgement
    candidate = Candidate("def …", "key", staged.settings_of, turn=1)
    best, compared = reference.best, reference.compared
    return drive(staged.revisit(candidate), values, best, compared=compared).judgement


def made_up(evaluation: Evaluation) -> list[Outcome]:
    """Curves that depend on the cell and the setting alone."""
    outcomes = []
    for settings in evaluation.settings:
        random = np.random.default_rng([evaluation.key == "key", int(1e6 * settings.learning_rate)])
        scale = 0.9 if evaluation.task.name == "arithmetic" else 3.0
        outcomes.append(ran(evaluation.task, list(scale * random.uniform(0.3, 1, 6))))
    return outcomes


@pytest.mark.parametrize("over", ["best", "mean"])
@pytest.mark.parametrize("of", ["best", "last", "area", "speed"])
def test_ratios_are_of_the_statistic_over_as_many_settings(over: Over, of: Of) -> None:
    config = ProtocolConfig(n_settings=2, over=over, of=of, filter=False)
    judgement = heard_by(config, made_up)
    staged = Staged(None, (ACCURACY, LOSS), config, SettingsGrid(), 7)
    for task in (ACCURACY, LOSS):
        both: dict[str, float] = {}
        for key in ("key", "gru"):
            settings = [*staged.settings_of(task, 0), *staged.settings_of(task, 1)]
            outcomes = made_up(Evaluation("", key, task, tuple(settings), 7))
            value = value_of(task, outcomes, config.statistic, 6)
            assert value is not None
            both[key] = value
        ratio = both["key"] / both["gru"]
        is_higher = task is ACCURACY and of != "speed"
        expected = ratio if is_higher else 1 / ratio
        assert judgement.ratios[task.name] == pytest.approx(expected)
        assert judgement.on(task.name) == pytest.approx(both["key"])
        assert judgement.best[task.name] == pytest.approx(
            value_of(task, made_up(Evaluation("", "key", task, tuple(settings), 7)), Statistic(), 6)
        )
    is_default = over == of == "best"
    assert ("compared" in judgement.to_json()) != is_default
    assert Judgement(**judgement.to_json()) == judgement


def test_a_mean_needs_settings_that_are_shared() -> None:
    with pytest.raises(UserError, match=r"protocol\.over mean .* shared, got inherited"):
        ProtocolConfig(over="mean", draws="inherited").check()
