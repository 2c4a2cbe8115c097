"""Functional ANOVA: how much of a quantity's variance each variable and each pair explains.

Hutter, Hoos & Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance":
a random forest is grown on the points, and each of its trees, which is constant on boxes, is
decomposed exactly over the unit cube. A share is the mean over the trees. Optuna has the same for
single variables; pairs and marginals are what it has not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
N_TREES = 64
N_PLACES = 64
"""Places at which marginals are computed."""


@dataclass(frozen=True)
class Marginal:
    """The prediction at each value of one variable, averaged over all values of the others."""

    places: tuple[float, ...]
    """Values of the variable in [0, 1]."""
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    """Standard deviations between trees, each of which was grown on another sample."""


@dataclass(frozen=True)
class Shares:
    """Shares of the variance of the predictions over the unit cube; their sum is 1."""

    single: dict[str, float]
    """The share that each variable explains alone."""
    pairs: dict[tuple[str, str], float]
    """The share that two explain together, beyond that of each alone."""
    higher: float
    """The share that only three and more explain together."""
    marginals: dict[str, Marginal]

    @property
    def interactions(self) -> float:
        """The share that no variable explains alone."""
        return sum(self.pairs.values()) + self.higher


def shares(names: Sequence[str], points: Array, values: Array, seed: int = 0) -> Shares | None:
    """Decompose the variance of `values` (n,) at `points` (n, variables) in the unit cube.

    None if there is no variance to decompose.
    """
    from sklearn.ensemble import RandomForestRegressor

    assert points.shape == (len(values), len(names))
    assert ((points >= 0) & (points <= 1)).all()
    forest = RandomForestRegressor(n_estimators=N_TREES, random_state=seed).fit(points, values)
    trees = [_Boxes.of(tree.tree_, len(names)) for tree in forest.estimators_]
    varied = [tree for tree in trees if tree.variance > 0]
    if not varied:
        return None
    parts = np.array([_parts(tree) for tree in varied]).mean(axis=0)
    single = dict(zip(names, map(float, parts), strict=False))
    pairs = dict(zip(combinations(names, 2), map(float, parts[len(names) :]), strict=True))
    curves = {name: _marginal(trees, place) for place, name in enumerate(names)}
    return Shares(single, pairs, max(0.0, 1 - float(parts.sum())), curves)


@dataclass(frozen=True)
class _Boxes:
    """A tree as its leaves: a value on each of the boxes that fill the unit cube."""

    low: Array
    """The lower corners: (leaves, variables)."""
    high: Array
    values: Array
    """(leaves,)"""

    @staticmethod
    def of(tree: Any, n_variables: int) -> "_Boxes":
        """The leaves of a tree of scikit-learn."""
        leaves: list[tuple[Array, Array, float]] = []
        stack = [(0, np.zeros(n_variables), np.ones(n_variables))]
        while stack:
            node, low, high = stack.pop()
            variable = tree.feature[node]
            if variable < 0:
                leaves.append((low, high, float(tree.value[node].item())))
                continue
            below, above = high.copy(), low.copy()
            below[variable] = above[variable] = tree.threshold[node]
            stack.append((tree.children_left[node], low, below))
            stack.append((tree.children_right[node], above, high))
        lows, highs, values = zip(*leaves, strict=True)
        return _Boxes(np.array(lows), np.array(highs), np.array(values))

    @property
    def sizes(self) -> Array:
        """The lengths of the edges."""
        return self.high - self.low

    @property
    def mean(self) -> float:
        return float(self.values @ self.sizes.prod(axis=1))

    @property
    def variance(self) -> float:
        return float((self.values - self.mean) ** 2 @ self.sizes.prod(axis=1))

    def pieces(self, variable: int) -> tuple[Array, Array]:
        """The parts of [0, 1] between splits: their lengths, and `holds` of their middles."""
        edges = np.unique(np.concatenate([self.low[:, variable], self.high[:, variable]]))
        return np.diff(edges), self.holds(variable, (edges[1:] + edges[:-1]) / 2)

    def holds(self, variable: int, places: Array) -> Array:
        """(leaves, places): 1 where the place lies in the leaf's box."""
        low, high = self.low[:, variable, None], self.high[:, variable, None]
        # A place on an edge is in the lower box, as in the tree; 0 is in the first.
        inside = ((places > low) | ((low == 0) & (places == 0))) & (places <= high)
        return np.asarray(inside, dtype=np.float64)

    def without(self, *variables: int) -> Array:
        """Each leaf's value times the share of the other variables' space that its box fills."""
        others = np.delete(self.sizes, variables, axis=1)
        return np.asarray(self.values * others.prod(axis=1))


def _parts(boxes: _Boxes) -> list[float]:
    """The shares of the single variables, then those of the pairs, in their order."""
    n_variables = boxes.low.shape[1]
    mean, total = boxes.mean, boxes.variance
    pieces = [boxes.pieces(variable) for variable in range(n_variables)]
    single = []
    for variable, (lengths, holds) in enumerate(pieces):
        marginal = boxes.without(variable) @ holds
        single.append(float((marginal - mean) ** 2 @ lengths))
    pairs = []
    for first, second in combinations(range(n_variables), 2):
        (rows, holds), (columns, others) = pieces[first], pieces[second]
        marginal = (holds * boxes.without(first, second)[:, None]).T @ others
        together = float(rows @ (marginal - mean) ** 2 @ columns)
        pairs.append(max(0.0, together - single[first] - single[second]))
    return [part / total for part in (*single, *pairs)]


def _marginal(trees: Sequence[_Boxes], variable: int) -> Marginal:
    places = (np.arange(N_PLACES) + 0.5) / N_PLACES
    curves = np.array([tree.without(variable) @ tree.holds(variable, places) for tree in trees])
    means, deviations = curves.mean(axis=0), curves.std(axis=0)
    return Marginal(*(tuple(map(float, line)) for line in (places, means, deviations)))
