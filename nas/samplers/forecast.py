"""The forecast of a candidate's result before it is trained: a forest on its graph and its probes.

It is refitted every 16 results from the 64th on, from what the sampler was told, so that the
candidates of a study depend on no timing. Features are counts of subtrees of the graph (Weisfeiler
and Lehman), hashed to 64 places, and the numbers of `nas/samplers/probes.py`. Fitted to the first
half of four recorded tables, its forecasts and the results of the second half had a Kendall's tau
of 0.20 to 0.58. So a share of the candidates is drawn without it, from which the report says what
it is worth.
"""

import math
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas.cell.cell import Cell
from nas.cell.distance import features
from nas.cell.reader import loads
from nas.protocol.judgement import geometric_mean
from nas.samplers.probes import probe

FIRST, EVERY = 64, 16
"""Results from which the first forest is fitted, and after which it is fitted anew."""
PLACES, TREES = 64, 100
LEAST = 0.01
"""Results below this count as this, since their logarithm is forecast."""


def result_of(trial: FrozenTrial) -> float | None:
    """The number that is forecast: on a ladder the geometric mean of a cell's ratios to the GRU at
    the lowest rung, else the value that the sampler is told; None without a result there."""
    judgement = trial.user_attrs.get("judgement")
    if trial.state != TrialState.COMPLETE or not judgement or trial.user_attrs.get("turn", 0):
        return None
    rungs = judgement.get("rungs", ())
    return geometric_mean(rungs[0]["ratios"]) if rungs else trial.values[0]


def forecaster(trials: Sequence[FrozenTrial]) -> "Forecaster | None":
    """The forest that the trials before a candidate give; None if they are too few."""
    results = [(t, value) for t in trials if (value := result_of(t)) is not None]
    if len(results) < FIRST:
        return None
    told = results[: len(results) // EVERY * EVERY]
    return _fitted(tuple((str(t.user_attrs["cell"]), value) for t, value in told))


@lru_cache(maxsize=2)
def _fitted(told: tuple[tuple[str, float], ...]) -> "Forecaster":
    return Forecaster([text for text, _ in told], [value for _, value in told])


@lru_cache(maxsize=4096)
def _described(text: str) -> NDArray[np.float64]:
    return described(loads(text))


class Forecaster:
    """A random forest (Breiman 2001), fitted to the results of cells."""

    def __init__(self, cells: Sequence[str], results: Sequence[float]) -> None:
        from sklearn.ensemble import RandomForestRegressor

        targets = [math.log(max(LEAST, result)) for result in results]
        self._forest: Any = RandomForestRegressor(
            TREES, min_samples_leaf=2, max_features=1 / 3, random_state=0
        )
        self._forest.fit(np.array([_described(text) for text in cells]), targets)

    def __call__(self, cells: Sequence[Cell]) -> list[float]:
        """The results that are forecast for some cells; many at once take hardly longer."""
        rows = np.array([_described(str(cell)) for cell in cells])
        return [math.exp(forecast) for forecast in self._forest.predict(rows)]


def described(cell: Cell) -> NDArray[np.float64]:
    """The features of a cell, (64 places and 8 probes,)."""
    counts = np.zeros(PLACES)
    for label, count in features(cell).items():
        counts[zlib.crc32(label.encode()) % PLACES] += count
    return np.concatenate([counts, probe(cell)])
