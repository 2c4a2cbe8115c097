"""Shares of the variance against functions whose shares are known, and against Optuna's."""

import warnings

import numpy as np
import pytest

from nas.report.statistics.anova import Array, _Boxes, _parts, shares
from tests.tolerances import FOREST_SHARE, GRID_SHARE


def cube(n_points: int, n_variables: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).random((n_points, n_variables))


def test_shares_of_a_sum_are_those_of_its_terms() -> None:
    """Var(2a + b) is 4/12 + 1/12; c does nothing, and nothing interacts."""
    points = cube(400, 3)
    found = shares("abc", points, 2 * points[:, 0] + points[:, 1])
    assert found is not None
    assert found.single["a"] == pytest.approx(0.8, abs=FOREST_SHARE)
    assert found.single["b"] == pytest.approx(0.2, abs=FOREST_SHARE)
    assert found.single["c"] == pytest.approx(0, abs=FOREST_SHARE)
    assert found.interactions == pytest.approx(0, abs=FOREST_SHARE)


def test_noise_is_taken_for_interactions_to_a_known_part() -> None:
    """What the reports of comparisons say: 2 % of a sum, 14 % with noise of a fifth of the
    variance, at 200 places of five variables."""
    generator = np.random.default_rng(0)
    points = generator.random((200, 5))
    values = 4 * (points[:, 0] - 0.6) ** 2 + 0.3 * points[:, 1]
    clean = shares("abcde", points, values)
    noisy = shares("abcde", points, values + generator.normal(0, values.std() / 2, 200))
    assert clean is not None
    assert noisy is not None
    assert clean.interactions == pytest.approx(0.02, abs=0.01)
    assert noisy.interactions == pytest.approx(0.14, abs=0.01)


def test_a_product_is_an_interaction() -> None:
    """(a - 1/2)(b - 1/2) has a mean of 0 at every value of either."""
    points = cube(400, 3)
    found = shares("abc", points, (points[:, 0] - 0.5) * (points[:, 1] - 0.5))
    assert found is not None
    assert found.pairs["a", "b"] > 0.75
    assert max(found.pairs, key=lambda two: found.pairs[two]) == ("a", "b")
    assert max(found.single.values()) < 0.1


def test_single_shares_are_optunas() -> None:
    """On the same forest: its decomposition of each tree is another algorithm."""
    import optuna

    points = cube(150, 4)
    values = np.sin(5 * points[:, 0]) + points[:, 1] * points[:, 2]
    study = optuna.create_study()
    names = ["a", "b", "c", "d"]
    space = optuna.distributions.FloatDistribution(0, 1)
    study.add_trials(
        [
            optuna.create_trial(
                params=dict(zip(names, map(float, row), strict=True)),
                distributions=dict.fromkeys(names, space),
                value=float(value),
            )
            for row, value in zip(points, values, strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=64, max_depth=64, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        theirs = optuna.importance.get_param_importances(
            study, evaluator=evaluator, normalize=False
        )
    ours = shares(names, points, values)
    assert ours is not None
    assert ours.single == pytest.approx(theirs, rel=1e-6)


def test_a_trees_shares_are_those_of_its_predictions() -> None:
    """Against means over a fine grid of what the tree itself predicts."""
    from sklearn.ensemble import RandomForestRegressor

    points = cube(150, 2)
    tree = RandomForestRegressor(n_estimators=1, max_leaf_nodes=8, random_state=0)
    tree.fit(points, np.sin(5 * points[:, 0]) + points[:, 0] * points[:, 1])
    only = tree.estimators_[0]
    places = (np.arange(1000) + 0.5) / 1000
    mesh = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    predicted = only.predict(mesh).reshape(1000, 1000)
    alone = [float(predicted.mean(axis=axis).var()) for axis in (1, 0)]
    total = float(predicted.var())
    expected = [*(one / total for one in alone), 1 - sum(alone) / total]
    assert expected[2] > 0.01
    assert _parts(_Boxes.of(only.tree_, 2)) == pytest.approx(expected, abs=GRID_SHARE)


def test_a_marginal_follows_its_variable() -> None:
    points = cube(400, 2)
    found = shares("ab", points, points[:, 0] ** 2 + points[:, 1])
    assert found is not None
    curve = found.marginals["a"]
    expected = np.array(curve.places) ** 2 + 0.5
    # At its ends a tree is flat, so that the largest error is there.
    assert np.sqrt(((np.array(curve.means) - expected) ** 2).mean()) < 0.02
    assert all(one >= 0 for one in curve.deviations)


def test_levels_weigh_alike_however_often_they_were_drawn() -> None:
    """Of two levels, in the middle of their halves, the split is between the halves."""
    levels = np.array([0.25] * 90 + [0.75] * 10)[:, None]
    found = shares("a", levels, levels[:, 0])
    assert found is not None
    assert np.mean(found.marginals["a"].means) == pytest.approx(0.5, abs=0.01)


def test_nothing_varies() -> None:
    assert shares("a", cube(20, 1), np.ones(20)) is None
