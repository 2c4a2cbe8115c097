"""How far a search among recorded cells is from the best of them, as it pays for more of them.

Regret is the best candidate's value minus the best value so far: a step function of what was paid
(training runs, FLOPs or seconds), never rising, 0 once the best is seen. Before the first candidate
it is that of the worst. Given cells cost every sampler the same and do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.statistics.intervals import Array


@dataclass(frozen=True)
class Curves:
    """The searches of one sampler, one a seed."""

    sampler: str
    paid: Array
    """[seeds, candidates + 1], from 0 on: what the candidates so far cost."""
    regret: Array
    """[seeds, candidates + 1]: after so many candidates."""

    def at(self, budgets: Sequence[float]) -> Array:
        """Regret once so much is paid: [seeds, budgets]."""
        found = np.empty((len(self.paid), len(budgets)))
        for seed, (paid, regret) in enumerate(zip(self.paid, self.regret, strict=True)):
            found[seed] = regret[np.searchsorted(paid, budgets, side="right") - 1]
        return found

    def area(self, budget: float) -> Array:
        """The mean regret up to a budget, of each seed: the area under the curve over its width."""
        ends = np.minimum(self.paid[:, 1:], budget)
        starts = np.minimum(self.paid[:, :-1], budget)
        last = np.maximum(budget - self.paid[:, -1], 0.0) * self.regret[:, -1]
        total: Array = ((ends - starts) * self.regret[:, :-1]).sum(axis=1) + last
        return total / budget


def curves(
    sampler: str, orders: Sequence[Sequence[int]], values: Sequence[float], costs: Sequence[float]
) -> Curves:
    """What searches paid and had left to gain, from the order in which they saw the candidates."""
    of = np.array(orders, dtype=np.int64)
    best = np.maximum.accumulate(np.array(values)[of], axis=1)
    worst = np.full((len(of), 1), min(values))
    paid = np.cumsum(np.array(costs)[of], axis=1)
    return Curves(
        sampler,
        np.hstack([np.zeros((len(of), 1)), paid]),
        max(values) - np.hstack([worst, best]),
    )
