"""Settings that a candidate inherits, where they are not the same for all.

Jozefowicz et al. 2015, section 3.3: a child is tried on settings of its parent, on those that were
best for LSTM and GRU, and on random ones; none is tried twice on a cell (section 3.1). All random
numbers come from the candidate's number, so a candidate that a crash cut short draws the same.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.nn.settings import Settings
from nas.protocol.requests import Asking
from nas.tasks.base import Metric, Task

FILTER = "filter"
"""The filter's name in `Visit.settings`; its task may also be one of the score."""
BEST = 100
"""The number of best settings of a parent, or of LSTM and GRU, that are drawn from."""
MANY = 420
"""A parent that was tried on more settings than this hands on only its best."""
BEST_SHARE = 0.8
"""The share of settings that its child inherits; the others are random."""


@dataclass(frozen=True)
class Known:
    """A cell's result with a setting of a task."""

    place: int
    """The place of the setting in the grid."""
    value: float | None
    """The best metric; None if there was none."""


@dataclass(frozen=True)
class Ancestry:
    """The results on one task from which a candidate's settings are drawn."""

    parent: Sequence[Known] = ()
    baselines: Sequence[Known] = ()
    """Results of LSTM and GRU."""
    n_parent: int = 0
    """Settings that the parent was tried on, in all tasks."""


def inherit(
    n_points: int,
    count: int,
    metric: Metric,
    known: Ancestry,
    taken: set[int],
    generator: random.Random,
) -> tuple[int, ...]:
    """Draw places of `count` different settings in a grid of `n_points`, fewer if fewer are left.

    `taken` are the places of settings that the cell was tried on before. If a source has nothing
    left, the setting is random.
    """
    drawn: list[int] = []
    for _ in range(min(count, n_points - len(taken))):
        closed = taken.union(drawn)
        source = _source(metric, known, generator)
        open_ = [place for place in source if place not in closed]
        if not open_:
            open_ = [place for place in range(n_points) if place not in closed]
        drawn.append(generator.choice(open_))
    return tuple(drawn)


def _source(metric: Metric, known: Ancestry, generator: random.Random) -> Sequence[int]:
    """Return the places that one setting is drawn from; none for a random one."""
    if known.n_parent > MANY:
        is_best = generator.random() < BEST_SHARE
        return _best(metric, known.parent) if is_best else ()
    third = generator.randrange(3)
    if third == 0:
        return ()
    if third == 1:
        return _best(metric, known.baselines)
    return list(dict.fromkeys(result.place for result in known.parent))


def _best(metric: Metric, known: Sequence[Known]) -> list[int]:
    """Return the places of the best values, each once."""
    sign = -1 if metric.higher_is_better else 1
    ranked = sorted((sign * r.value, r.place) for r in known if r.value is not None)
    return list(dict.fromkeys(place for _, place in ranked))[:BEST]


def draw(
    asking: Asking,
    number: int,
    ancestry: Mapping[str, Ancestry],
    taken: Mapping[str, set[int]],
) -> dict[str, list[int]]:
    """Draw the settings of candidate `number`: places in the grid, by task and for the filter.

    The filter's setting is random, as in section 3.1.
    """
    drawn: dict[str, list[int]] = {}
    stages: list[tuple[str, Task, int, Ancestry]] = []
    if asking.filter is not None:
        stages.append((FILTER, asking.filter, 1, Ancestry()))
    for task in asking.tasks:
        known = ancestry.get(task.name, Ancestry())
        stages.append((task.name, task, asking.config.n_settings, known))
    for name, task, count, known in stages:
        parts = f"settings {asking.seed} {number} {name}"
        generator = random.Random(int.from_bytes(hashlib.sha256(parts.encode()).digest()[:8]))
        n_points = len(asking.grid.points(task.n_params))
        places = inherit(n_points, count, task.metric, known, taken.get(name, set()), generator)
        drawn[name] = list(places)
    return drawn


def settings_at(asking: Asking, task: Task | None, places: Sequence[int]) -> tuple[Settings, ...]:
    """Return the settings at places of the grid, for a task or (None) the filter."""
    tried = asking.filter if task is None else task
    assert tried is not None
    points = asking.grid.points(tried.n_params)
    return tuple(points[place] for place in places)
