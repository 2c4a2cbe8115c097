"""Successive halving: which runs go on at which epochs (Jamieson & Talwalkar 2016).

All runs train to the first rung, the best 1/eta of them to the second, and so on to the end. The
rungs lie at 1/eta, 1/eta², … of the epochs, so that each round costs about the same.
"""

import math
from collections.abc import Sequence

from nas.tasks.base import Metric


def rungs(n_epochs: int, n_runs: int, eta: int) -> list[int]:
    """Return the epochs after which runs are cut, in order; none with `eta` 0.

    The last cut leaves one run or more, and none comes before the first epoch.
    """
    epochs: list[int] = []
    while eta and n_runs > 1 and n_epochs > 1:
        n_epochs, n_runs = math.ceil(n_epochs / eta), math.ceil(n_runs / eta)
        epochs.insert(0, n_epochs)
    return epochs


def survivors(values: Sequence[float | None], metric: Metric, eta: int) -> list[int]:
    """Return the places of the best 1/eta of the values (rounded up), in order; None is the worst.

    Of equal values the first is preferred.
    """
    sign = -1.0 if metric.higher_is_better else 1.0
    keys = [math.inf if value is None else sign * value for value in values]
    ranked = sorted(range(len(values)), key=lambda place: (keys[place], place))
    return sorted(ranked[: math.ceil(len(values) / eta)])
