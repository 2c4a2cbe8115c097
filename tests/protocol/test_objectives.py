"""Fronts against brute force and Optuna's; what samplers are told."""

import itertools
import random
from dataclasses import replace

import numpy as np
import optuna
import pytest

from nas.errors import UserError
from nas.protocol.judgement import Judgement
from nas.protocol.objectives import check, dominates, front, shortfall, values_of


@pytest.mark.parametrize("n_objectives", [2, 3, 4])
def test_a_front_is_what_optuna_finds(n_objectives: int) -> None:
    rng = random.Random(n_objectives)
    points = [tuple(rng.randrange(6) for _ in range(n_objectives)) for _ in range(60)]
    study = optuna.create_study(directions=["minimize"] * n_objectives)
    for point in points:
        study.add_trial(optuna.trial.create_trial(values=[float(v) for v in point]))
    numbers = list(range(len(points)))
    found = front(numbers, lambda i: points[i])
    assert found == sorted(trial.number for trial in study.best_trials)
    assert 1 < len(found) < len(points)


def test_dominance_by_hand() -> None:
    assert dominates((1, 2), (1, 3))
    assert not dominates((1, 2), (1, 2))
    assert not dominates((1, 3), (2, 2))


def test_what_is_told_has_the_twin_of_a_time() -> None:
    sizes = {"macs": 7.0, "step_time": 1e-6}
    judgement = Judgement("scored", {}, score=0.9, value=0.9, sizes=sizes)
    names = ("score", "step_time")
    assert values_of(judgement, names) == [0.9, 7.0]
    slower = replace(judgement, sizes={"macs": 7.0, "step_time": 5e-6})
    assert values_of(slower, names) == values_of(judgement, names)


def test_a_rejected_candidate_is_the_nearer_to_a_score_the_further_it_came() -> None:
    judgements = [Judgement("xml", {}, value=value) for value in (0.0, 0.3, 0.8)]
    far = [shortfall(judgement) for judgement in judgements]
    assert far == sorted(far, reverse=True)
    assert far[-1] > 0
    assert shortfall(Judgement("scored", {}, score=0.5, value=0.5)) == 0


@pytest.mark.parametrize("names", [("macs",), ("score", "macs", "macs"), ("macs", "score"), ()])
def test_objectives_begin_with_the_score(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="must be score and then any of"):
        check(names)


def test_an_unknown_objective_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="step_time"):
        check(("score", "steptime"))


def brute_force(losses: np.ndarray, worst: np.ndarray, n: int = 40) -> float:
    """The share of a grid's cells that some point dominates, times the volume."""
    axes = [np.linspace(0, w, n, endpoint=False) + w / n / 2 for w in worst]
    grid = np.array(list(itertools.product(*axes)))
    covered = (grid[:, None, :] >= losses[None]).all(-1).any(-1)
    return float(covered.mean() * worst.prod())


def test_the_hypervolume_that_is_used_is_that_of_counted_cells() -> None:
    from optuna._hypervolume import compute_hypervolume

    for n in (2, 3):
        losses = np.random.default_rng(n).uniform(0, 1, (8, n))
        worst = np.full(n, 1.2)
        counted = brute_force(losses, worst)
        assert compute_hypervolume(losses, worst) == pytest.approx(counted, rel=0.05)
