"""Scores against what a cell costs its user, and which cells nothing beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas.report.facts import Facts


@dataclass(frozen=True)
class Measured:
    """A scored cell and its costs."""

    name: str
    key: str
    kind: str
    score: float
    n_params: int
    """Of its largest model."""
    step_ms: float | None
    """Milliseconds of training for each minibatch, validation included, with the best setting of
    each task; None if that was not noted."""


def measured(facts: Facts) -> list[Measured]:
    """All scored cells, the best first."""
    return [
        Measured(r.name, r.key, r.kind, r.score, r.n_params, step_ms(facts, r.key))
        for r in facts.rows
        if r.score is not None
    ]


def step_ms(facts: Facts, key: str) -> float | None:
    """Time over steps, of the best setting of each task together."""
    outcomes = [facts.best_of_cell(key, task) for task in facts.protocol.tasks]
    costs = [one.cost for one in outcomes if one]
    steps = sum(cost.steps for cost in costs)
    return 1000 * sum(cost.wall_s for cost in costs) / steps if steps else None


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (cost, score) that no other beats: none costs less and scores as much,
    or scores more and costs as much. The cheapest first."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    found: list[int] = []
    for place in order:
        cost, score = points[place]
        if not found or score > points[found[-1]][1] or (cost, score) == points[found[-1]]:
            found.append(place)
    return found
