"""Random settings between the ends of a grid's lists, and where each lies between them.

As in Greff et al. 2015, arXiv:1503.04069, section IV: what is a factor (learning rate, initial
scale, clip norm) is drawn log-uniformly, momentum as 1 less a log-uniform number, and the learning
rate is scaled by 1 - momentum, so that momentum does not lengthen the steps. A setting's place is
that of each hyperparameter between its ends, in [0, 1], where all draws are uniform.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from nas.nn.settings import Settings
from nas.protocol.settings import SettingsGrid
from nas.tasks.base import Task

LEVELS = ("n_params", "num_layers")
"""Hyperparameters of which each value of the list is drawn, and none between."""


@dataclass(frozen=True)
class Axis:
    """A hyperparameter that is drawn."""

    name: str
    """As a reader knows it."""
    levels: tuple[float, ...]
    """All values of a hyperparameter that has none between them; else its two ends."""
    value: Callable[[Settings], float]
    """What was drawn for these settings."""
    forward: Callable[[float], float]
    """To the scale on which it is uniform."""
    back: Callable[[float], float]
    is_level: bool = False

    def at(self, place: float) -> float:
        """The value at a place in [0, 1]."""
        if self.is_level:
            n = len(self.levels)
            return self.levels[min(n - 1, int(place * n))]
        low, high = (self.forward(end) for end in self.levels)
        # The ends themselves, whatever rounding does to a logarithm.
        return min(max(self.back(low + place * (high - low)), min(self.levels)), max(self.levels))

    def place(self, settings: Settings) -> float:
        """The inverse; of a level the middle of its part of [0, 1]."""
        value = self.value(settings)
        if self.is_level:
            return (self.levels.index(value) + 0.5) / len(self.levels)
        low, high = (self.forward(end) for end in self.levels)
        return min(1.0, max(0.0, (self.forward(value) - low) / (high - low)))


def axes(grid: SettingsGrid, task: Task) -> tuple[Axis, ...]:
    """The hyperparameters that have more than one value, in the order in which they are drawn."""
    every = [
        _levels("n_params", task.n_params),
        _levels("num_layers", grid.num_layers),
        _between("learning_rate", grid.learning_rate, value=_rate_at_rest),
        _between("momentum", grid.momentum, _slowness, _of_slowness),
        _between("init_scale", grid.init_scale),
        _between("clip_norm", grid.clip_norm),
        _between("dropout", grid.dropout, float, float),
    ]
    return tuple(axis for axis in every if len(set(axis.levels)) > 1)


def draw(grid: SettingsGrid, task: Task, count: int, seed: int) -> tuple[Settings, ...]:
    """`count` settings for a task, a function of the arguments alone: all cells share them.

    Parameter budgets are dealt out evenly and in their order, so that settings that train together
    have the same width.
    """
    generator = random.Random(f"{seed} {task.name} between")
    drawn = axes(grid, task)
    settings = []
    for number in range(count):
        values = {
            axis.name: axis.at(
                (number + 0.5) / count if axis.name == "n_params" else generator.random()
            )
            for axis in drawn
        }
        settings.append(_settings(grid, task, values))
    return tuple(settings)


def _settings(grid: SettingsGrid, task: Task, values: Mapping[str, float]) -> Settings:
    momentum = values.get("momentum", grid.momentum[0])
    return Settings(
        n_params=int(values.get("n_params", task.n_params[0])),
        num_layers=int(values.get("num_layers", grid.num_layers[0])),
        init_scale=values.get("init_scale", grid.init_scale[0]),
        learning_rate=values.get("learning_rate", grid.learning_rate[0]) * (1 - momentum),
        clip_norm=values.get("clip_norm", grid.clip_norm[0]),
        optimizer=grid.optimizer,
        dropout=values.get("dropout", grid.dropout[0]),
        momentum=momentum,
        stacking=grid.stacking,
    )


def _rate_at_rest(settings: Settings) -> float:
    """The distance that a lasting gradient of 1 moves a weight at each step."""
    return settings.learning_rate / (1 - settings.momentum)


def _slowness(momentum: float) -> float:
    return math.log(1 - momentum)


def _of_slowness(logarithm: float) -> float:
    return 1 - math.exp(logarithm)


def _levels(name: str, values: Sequence[int]) -> Axis:
    return Axis(name, tuple(sorted(set(values))), attrgetter(name), float, float, is_level=True)


def _between(
    name: str,
    values: Sequence[float],
    forward: Callable[[float], float] = math.log,
    back: Callable[[float], float] = math.exp,
    value: Callable[[Settings], float] | None = None,
) -> Axis:
    return Axis(name, (min(values), max(values)), value or attrgetter(name), forward, back)
