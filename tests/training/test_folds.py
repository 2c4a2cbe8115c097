"""A cross-validated outcome against models that are trained on scikit-learn's folds one by one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from sklearn.model_selection import StratifiedKFold

from nas.nn.settings import Settings
from nas.protocol.evaluation import Bar, Cost, Epoch, Evaluation, Outcome
from nas.tasks import Arrays
from nas.tasks.base import ACCURACY
from nas.training.folds import pooled
from nas.training.train import train_members
from nas.zoo import ZOO

SMALL = {"epochs": 3, "batches_per_epoch": 4, "batch_size": 8, "n_params": (600,)}
SETTINGS = (Settings(600, learning_rate=0.5), Settings(600, learning_rate=0.1))


def evaluation(task: Arrays) -> Evaluation:
    gru = ZOO["gru"]
    return Evaluation(str(gru), gru.key, task, SETTINGS, 3, measure_test=True)


def test_the_metric_is_the_mean_over_scikit_learn_s_folds_of_models_trained_on_each(
    tmp_path: Path,
) -> None:
    """The same folds reach the other tasks as a `split` in their files."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(31, 5, 2)), random.integers(0, 2, 31)
    split = np.array(["train"] * 20 + ["validation"] * 5 + ["test"] * 6)
    np.savez(tmp_path / "all.npz", x=x, y=y, split=split)
    whole = Arrays(str(tmp_path / "all.npz"), folds=3, **SMALL)  # type: ignore[arg-type]
    found = train_members(evaluation(whole))

    singles, sizes = [], []
    dealer = StratifiedKFold(3, shuffle=True, random_state=0)
    for k, (_, held) in enumerate(dealer.split(x[:25], y[:25])):
        names = np.array(["train"] * 25 + ["test"] * 6, dtype="<U10")
        names[held] = "validation"
        path = tmp_path / f"fold{k}.npz"
        np.savez(path, x=x, y=y, split=names)
        singles.append(train_members(evaluation(Arrays(str(path), **SMALL))))  # type: ignore[arg-type]
        sizes.append(len(held))
    assert sorted(sizes) == [8, 8, 9]
    for place, member in enumerate(found):
        of_folds = [single[place].outcome for single in singles]
        n_right = sum(n * (one.best or 0) for n, one in zip(sizes, of_folds, strict=True))
        assert member.outcome.best == pytest.approx(n_right / 25, abs=1e-12)
        assert n_right == pytest.approx(round(n_right)), "whole sequences"
        tests = [one.test for one in of_folds if one.test is not None]
        assert member.outcome.test == pytest.approx(np.mean(tests), abs=1e-12)
        assert member.outcome.cost.steps == sum(one.cost.steps for one in of_folds)
        losses = np.array([[epoch.loss for epoch in one.curve] for one in of_folds])
        assert losses.shape == (3, 3), "no fold ended early"
        found_losses = [epoch.loss for epoch in member.outcome.curve]
        assert found_losses == pytest.approx(np.average(losses, axis=0, weights=sizes), abs=1e-12)
    weights, first = tmp_path / "weights", tmp_path / "first"
    weights.write_bytes(found[0].weights or b"")
    first.write_bytes(singles[0][0].weights or b"")
    with safe_open(weights, "np") as ours, safe_open(first, "np") as theirs:
        assert set(ours.keys()) == set(theirs.keys())
        for name in ours.keys():
            np.testing.assert_array_equal(ours.get_tensor(name), theirs.get_tensor(name))
        assert json.loads(ours.metadata()["nas"])["task_version"] == whole.version


def test_folds_are_not_cut(tmp_path: Path) -> None:
    """With a bar that none reaches, and rungs, each fold is trained to its end all the same."""
    random = np.random.default_rng(0)
    path = tmp_path / "few.npz"
    np.savez(path, x=random.normal(size=(30, 5, 2)), y=random.integers(0, 2, 30))
    asked = evaluation(Arrays(str(path), folds=2, **SMALL))  # type: ignore[arg-type]
    whole = [member.outcome for member in train_members(asked)]
    cut = replace(asked, bar=Bar(1, 2.0), halving=2)
    assert [member.outcome for member in train_members(cut)] == whole
    assert [len(one.curve) for one in whole] == [3, 3]


def outcome(best: float | None, *losses: float, status: str = "ok", message: str = "") -> Outcome:
    curve = tuple(Epoch(loss, loss, 0.5, 0.1) for loss in losses)
    return Outcome(status, best, None, curve, 9, 3, Cost(1, 2, 3.0, 4.0), message)  # type: ignore[arg-type]


def test_metrics_are_weighted_by_examples() -> None:
    """3 of 4 and 1 of 2 are right: 4 of 6."""
    found = pooled([outcome(0.75, 1.0), outcome(0.5, 4.0)], [4, 2])
    assert found.best == pytest.approx(4 / 6)
    assert [epoch.loss for epoch in found.curve] == [pytest.approx((4 * 1.0 + 2 * 4.0) / 6)]
    assert found.cost == Cost(2, 4, 6.0, 8.0)
    assert (found.status, found.message) == ("ok", "")


def test_a_fold_that_ended_early_keeps_its_last_epoch() -> None:
    found = pooled([outcome(0.5, 3.0, 1.0), outcome(0.5, 5.0, 4.0, 2.0)], [1, 1])
    assert [epoch.loss for epoch in found.curve] == [4.0, 2.5, 1.5]


def test_a_metric_of_marked_positions_has_a_curve_too() -> None:
    folds = []
    for value in (0.5, 0.8):
        (epoch,) = outcome(value, 1.0).curve
        marked = replace(epoch, marks={"recall": value})
        folds.append(replace(outcome(value, 1.0), curve=(marked,)))
    (pooled_epoch,) = pooled(folds, [1, 2]).curve
    metric = replace(ACCURACY, mark="recall")
    assert pooled_epoch.value(metric) == pytest.approx((0.5 + 2 * 0.8) / 3)


def test_a_fold_without_a_metric_leaves_none() -> None:
    bad = outcome(None, status="diverged", message="not finite at step 3")
    found = pooled([outcome(0.5, 1.0), bad], [3, 3])
    assert (found.status, found.best, found.curve) == ("diverged", None, ())
    assert found.message == "fold 2: not finite at step 3"


def test_one_fold_is_its_own_outcome() -> None:
    one = outcome(0.5, 1.0)
    assert pooled([one], [1]) is one
