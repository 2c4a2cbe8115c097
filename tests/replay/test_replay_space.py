"""The distance between cells, and the space of recorded ones."""

from itertools import pairwise
from math import sqrt
from random import Random

import numpy as np
import pytest

from nas.cell import loads, renamed
from nas.cell.distance import distance, features
from nas.replay.bench import CHOICE, Nearness, RecordedSpace
from nas.samplers.propose import FilledTrial
from nas.zoo import ZOO
from tests.replay.replay_tables import smooth, walked
from tests.tolerances import SAME_FORMULA


def test_a_distance_by_hand() -> None:
    """Of the canonical forms' labels: input, state, matrix twice, vector, sum, the function, and
    two outputs, a state and an interface; without rounds only the function differs, 10 of 12."""
    one = features(loads("def a(x, h):\n    return tanh(linear(x, h))\n"), rounds=0)
    other = features(loads("def b(x, h):\n    return sigmoid(linear(x, h))\n"), rounds=0)
    assert one.total() == other.total() == 11
    assert one - other == {"tanh": 1}
    assert distance(one, other) == pytest.approx(1 - 10 / 12, rel=SAME_FORMULA["rtol"])


def test_it_is_a_metric_that_the_key_decides() -> None:
    cells = [*list(ZOO.values())[:12], *walked(1, 4)]
    counted = [features(cell) for cell in cells]
    apart = np.array([[distance(a, b) for a in counted] for b in counted])
    assert np.array_equal(apart, apart.T)
    same = np.array([[a.key == b.key for a in cells] for b in cells])
    assert np.array_equal(apart == 0, same)
    # the direct way over the other: [i, j] <= [i, k] + [k, j], up to rounding
    assert (apart[:, None, :] <= apart[:, :, None] + apart[None, :, :] + 1e-12).all()
    together = Nearness(cells)
    assert np.array_equal(np.array([together.distances(one) for one in counted]), apart)
    gru = ZOO["gru"]
    assert features(renamed(gru, "other")) == features(gru)


def test_mutations_lead_away_step_by_step() -> None:
    n_walks, length = 4, 9
    counted = [features(cell) for cell in walked(n_walks, length)]
    walks = [counted[k : k + length] for k in range(0, len(counted), length)]
    means = [
        np.mean([distance(w[k], w[k + lag]) for w in walks for k in range(length - lag)])
        for lag in (1, 2, 4, 8)
    ]
    assert all(near < far for near, far in pairwise(means))


# --- the space of recorded cells ---


def test_a_child_is_one_of_the_nearest_unseen() -> None:
    bench = smooth(4, 6, 7)
    counted = [features(cell) for cell in bench.cells]
    n = bench.n_candidates
    for parent in (5, len(bench.cells) - 1):  # a candidate, and a given cell
        apart = [distance(counted[parent], one) for one in counted[:n]]
        seen = {parent, *sorted(range(n), key=lambda index: apart[index])[:5]}
        space = RecordedSpace(bench, seen, neighbours=3)
        found = {int(space.vary({CHOICE: parent}, seed)[CHOICE]) for seed in range(60)}
        unseen = set(range(n)) - seen
        assert len(found) == 3
        assert found <= unseen
        assert max(apart[k] for k in found) <= min(apart[k] for k in unseen - found)


def test_random_points_are_uniform() -> None:
    bench = smooth(2, 5, 3)
    space, n = RecordedSpace(bench, set()), 4000
    rng = Random(0)
    keys = [space.propose(FilledTrial({}, rng)).key for _ in range(n)]
    counts = np.array([keys.count(cell.key) for cell in bench.cells])
    expected = n / len(bench.cells)
    chi = float(((counts - expected) ** 2 / expected).sum())
    degrees = len(bench.cells) - 1
    assert chi < degrees + 4 * sqrt(2 * degrees)  # its mean and deviation
