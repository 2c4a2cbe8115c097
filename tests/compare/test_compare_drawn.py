"""Random settings between ends: their laws, and the way back from a setting to its place."""

import math
import random

import numpy as np
import pytest
from scipy.stats import kstest

from nas.compare.drawn import axes, draw
from nas.protocol.settings import SettingsGrid
from nas.tasks import Xml

GRID = SettingsGrid(
    init_scale=(0.5, 2.0),
    learning_rate=(0.001, 10.0),
    clip_norm=(1.0, 20.0),
    num_layers=(1, 2),
    momentum=(0.0, 0.99),
    dropout=(0.0, 0.5),
)
TASK = Xml(n_params=(3000, 6000, 12000, 24000))


def test_what_is_drawn_has_the_laws_of_greff() -> None:
    """Kolmogorov and Smirnov find nothing against log-uniform rates and 1 - log-uniform momenta."""
    drawn = draw(GRID, TASK, 400, 3)
    rates = [math.log10(one.learning_rate / (1 - one.momentum)) for one in drawn]
    assert kstest(rates, "uniform", (-3, 4)).pvalue > 0.05
    slowness = [math.log10(1 - one.momentum) for one in drawn]
    assert kstest(slowness, "uniform", (-2, 2)).pvalue > 0.05
    assert kstest([one.dropout for one in drawn], "uniform", (0, 0.5)).pvalue > 0.05
    scales = [math.log(one.init_scale) for one in drawn]
    assert kstest(scales, "uniform", (math.log(0.5), math.log(4))).pvalue > 0.05
    assert abs(np.corrcoef(rates, slowness)[0, 1]) < 0.1


def test_budgets_are_dealt_out_evenly_and_in_order() -> None:
    budgets = [one.n_params for one in draw(GRID, TASK, 40, 0)]
    assert budgets == [budget for budget in TASK.n_params for _ in range(10)]


def test_the_same_for_all_who_ask_and_others_with_another_seed() -> None:
    assert draw(GRID, TASK, 20, 0) == draw(GRID, TASK, 20, 0)
    assert len({*draw(GRID, TASK, 20, 0), *draw(GRID, TASK, 20, 1)}) == 40


def test_places_are_the_way_back() -> None:
    """A value at a place lies at that place, a setting's places are those it was drawn at, and
    they are uniform."""
    found = axes(GRID, TASK)
    assert [axis.name for axis in found] == [
        "n_params", "num_layers", "learning_rate", "momentum", "init_scale", "clip_norm", "dropout"
    ]  # fmt: skip
    drawn = draw(GRID, TASK, 400, 5)
    generator = random.Random(f"5 {TASK.name} between")
    for number, settings in enumerate(drawn):
        for axis in found:
            expected = (number + 0.5) / 400 if axis.name == "n_params" else generator.random()
            place = axis.place(settings)
            if axis.is_level:
                assert axis.at(place) == axis.at(expected) == axis.value(settings)
            else:
                assert place == pytest.approx(expected, abs=1e-9)
                assert axis.at(place) == pytest.approx(axis.value(settings), abs=1e-9)


def test_one_value_is_no_axis_and_stays_what_it_is() -> None:
    grid = SettingsGrid((1.3,), (0.1, 1.0), (5.0,), (2,), momentum=(0.9,))
    assert [axis.name for axis in axes(grid, Xml(n_params=(3000,)))] == ["learning_rate"]
    for one in draw(grid, Xml(n_params=(3000,)), 30, 0):
        assert (one.init_scale, one.clip_norm, one.num_layers) == (1.3, 5.0, 2)
        assert 0.1 <= one.learning_rate / (1 - 0.9) <= 1.0 * (1 + 1e-12)
        assert (one.n_params, one.momentum) == (3000, 0.9)
