"""Epsilon-lexicase selection: parents that are good at some of the tasks.

A parent is drawn by the tasks in a random order: on each, those stay that are within the median
absolute deviation of the best (La Cava, Helmuth, Spector & Moore 2019, arXiv:1709.05394, the
semi-dynamic form). So a cell that is the best at one task has children although it fails at
another, and crossover may join it with one that does not. The population is the youngest cells. A
task that a cell did not come to, since a protocol rejected it before, is its worst.
"""

import statistics
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from optuna.trial import FrozenTrial

from nas.samplers.promotion import Ratios, ratios_by_rung
from nas.samplers.propose import Past, Proposal, Proposer

Known = Mapping[Any, Mapping[int, Ratios]]
"""The ratios to the GRU by task, of each cell by key, at each rung."""


class Lexicase(Proposer):
    """Mutates and crosses parents that are drawn by epsilon-lexicase."""

    def proposal(self, past: Past, rng: Random) -> Proposal:
        ratios = with_sizes(past.trials, ratios_by_rung(past.trials))
        living = population(past, ratios, self.config.lexicase_population)
        if not living:
            return past.drawn(rng)
        parent = select(living, ratios, rng)
        if rng.random() < self.config.crossover and len(living) > 1:
            others = [t for t in living if t is not parent]
            crossed = past.crossed(parent, select(others, ratios, rng), rng)
            if crossed is not None:
                return crossed
        return past.mutant(parent, rng, 2 if rng.random() < self.config.twice else 1)


def with_sizes(trials: Sequence[FrozenTrial], ratios: Known) -> Known:
    """The ratios, and with several objectives what the sampler was told of the others, negated, so
    that parents are drawn by them as by tasks."""
    told = {t.user_attrs.get("key"): t.values[1:] for t in trials if t.values}
    return {
        key: {
            rung: {**own, **{f"objective {k}": -v for k, v in enumerate(told[key])}}
            for rung, own in rungs.items()
        }
        for key, rungs in ratios.items()
    }


def population(past: Past, ratios: Known, size: int) -> list[FrozenTrial]:
    """The cells that were judged last, one trial each, given cells of the space among them."""
    last: dict[Any, FrozenTrial] = {}
    for trial in past.complete:
        key = trial.user_attrs.get("key")
        if key in ratios:
            last.pop(key, None)  # a cell that climbed is young again
            last[key] = trial
    return list(last.values())[-size:]


def select(living: Sequence[FrozenTrial], ratios: Known, rng: Random) -> FrozenTrial:
    """Draw a parent by epsilon-lexicase.

    On each task, cells are compared at the highest rung that all that are left were judged at.
    """
    left = list(living)
    own = {t.number: ratios[t.user_attrs.get("key")] for t in left}
    tasks = list(dict.fromkeys(t for rungs in own.values() for one in rungs.values() for t in one))
    rng.shuffle(tasks)
    for task in tasks:
        if len(left) == 1:
            break
        rung = max(set.intersection(*({*own[t.number]} for t in left)))
        values = [own[t.number][rung].get(task, 0.0) for t in left]
        bound = max(values) - _deviation(values)
        left = [t for t, value in zip(left, values, strict=True) if value >= bound]
    return rng.choice(left)


def _deviation(values: Sequence[float]) -> float:
    """The median absolute deviation from the median."""
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values)
