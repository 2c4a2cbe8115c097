"""The schedule of section 3.6: when the rate falls, when a run stops, what is kept."""

from collections.abc import Sequence

import pytest

from nas.tasks.base import ACCURACY, LOSS, Metric
from nas.training.schedule import Schedule, advance


def follow(
    metric: Metric, values: Sequence[float], goal: float | None = None
) -> tuple[list[float], Schedule]:
    """The learning rates of the epochs that the metrics `values` lead to."""
    schedule, rates = Schedule(16.0), []
    for value in values:
        rates.append(schedule.rate)
        schedule = advance(schedule, value, metric, goal)
        if schedule.finished:
            break
    return rates, schedule


def test_the_rate_stays_while_validation_improves() -> None:
    rates, schedule = follow(ACCURACY, [0.1, 0.2, 0.15, 0.1, 0.3, 0.3, 0.3, 0.4])
    assert rates == [16.0] * 8
    assert not schedule.finished
    assert (schedule.best, schedule.best_epoch) == (0.4, 7)


def test_after_three_epochs_without_improvement_four_are_halved() -> None:
    rates, schedule = follow(ACCURACY, [0.1, 0.2, *[0.2] * 20])
    assert rates == [16.0] * 5 + [8.0, 4.0, 2.0, 1.0]
    assert schedule.finished
    assert (schedule.best, schedule.best_epoch) == (0.2, 1)


def test_an_improvement_at_falling_rates_is_kept_and_does_not_raise_them() -> None:
    rates, schedule = follow(ACCURACY, [0.2, 0.1, 0.1, 0.1, 0.1, 0.5, 0.6, 0.1, *[0.9] * 9])
    assert rates == [16.0] * 4 + [8.0, 4.0, 2.0, 1.0]
    assert schedule.finished
    assert (schedule.best, schedule.best_epoch) == (0.6, 6)


def test_a_loss_improves_downward() -> None:
    rates, schedule = follow(LOSS, [3.0, 2.0, 1.0, 0.5, 4.0, 4.0, 4.0, 4.0])
    assert rates == [16.0] * 7 + [8.0]
    assert (schedule.best, schedule.best_epoch) == (0.5, 3)


def test_an_epoch_says_whether_it_is_the_best() -> None:
    improved = [follow(LOSS, [3.0, 2.0, 2.5, 2.0, 1.0][:n])[1].improved for n in range(6)]
    assert improved == [False, True, True, False, False, True]


@pytest.mark.parametrize(
    ("metric", "values"),
    [(ACCURACY, [0.4, 0.49, 0.5, 0.6]), (LOSS, [1.4, 0.51, 0.3, 0.2])],
    ids=["accuracy", "loss"],
)
def test_a_goal_ends_the_run(metric: Metric, values: list[float]) -> None:
    rates, schedule = follow(metric, values, goal=0.5)
    assert schedule.finished
    assert len(rates) == 3
