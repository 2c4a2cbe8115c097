"""Which settings a candidate is tried on: a grid, and draws from it that every cell shares."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

from nas.errors import UserError, check_fields
from nas.nn.settings import Settings, Stacking
from nas.tasks.base import Task
from nas.tasks.fields import ADDED


@dataclass(frozen=True)
class SettingsGrid:
    """The hyperparameters that settings are drawn from; a list of one value fixes it.

    The defaults are those of Jozefowicz et al. 2015, section 3.7. Parameter budgets belong to the
    tasks (`tasks.<name>.n_params`).
    """

    init_scale: tuple[Annotated[float, "in (0, inf)"], ...] = (0.3, 0.7, 1.0, 1.4, 2.0, 2.8)
    """Weights are drawn from U[-s, s], s = init_scale / sqrt(units in the layer)."""
    learning_rate: tuple[Annotated[float, "in (0, inf)"], ...] = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
    """For gradients summed over the steps of a window and averaged over the minibatch."""
    clip_norm: tuple[Annotated[float, "in (0, inf)"], ...] = (1.0, 2.5, 5.0, 10.0, 20.0)
    """Largest norm of a gradient."""
    num_layers: tuple[Annotated[int, "at least 1"], ...] = (1, 2, 3, 4)
    """Layers of the cell."""
    dropout: tuple[Annotated[float, "in [0, 1)"], ...] = (0.0,)
    """Probability of dropping a value between layers and before the output layer."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """sgd, as in the paper, or adamw, which wants learning rates of about 0.001 to 0.01."""
    momentum: tuple[Annotated[float, "in [0, 1)"], ...] = field(default=(0.0,), metadata=ADDED)
    """For sgd: the share of the last step that is taken again."""
    stacking: Stacking = field(default="plain", metadata=ADDED)
    """How layers above the first are joined: residual adds their input to their output, norm
    normalises their input, residual_norm does both."""

    def check(self) -> None:
        """Raise UserError if a value is out of range."""
        for name in (axis.name for axis in fields(self)):
            if getattr(self, name) == ():
                raise UserError(f"settings.{name} needs at least one value, got an empty list.")
        check_fields(self, "settings.")
        if self.optimizer != "sgd" and any(self.momentum):
            raise UserError(
                f"settings.momentum is of sgd and must be 0 with {self.optimizer}, got "
                f"{max(self.momentum)}."
            )

    def points(self, n_params: Sequence[int]) -> list[Settings]:
        """Return all different settings, in a fixed order."""
        return list(_points(self, tuple(n_params)))

    def draw(
        self, task: Task, count: int, seed: int, turn: int = 0, first: int = 0
    ) -> tuple[Settings, ...]:
        """Draw `count` different settings for a task, or all if there are fewer.

        They are the same for every cell of a study: equal tuning budgets, and less noise between
        cells. Each further `turn` draws `count` fresh ones, until none is left. Turn 0 has `first`
        settings, `count` if that is 0.
        """
        begun, rest = _drawn(self, task.name, tuple(task.n_params), first or count, seed)
        return rest[(turn - 1) * count : turn * count] if turn else begun

    def n_turns(self, task: Task, count: int) -> int:
        """Return how many turns of `count` settings the grid has for a task."""
        return -(-len(self.points(task.n_params)) // count)


# Every candidate asks for the same draws; making one takes 12 ms.


@lru_cache
def _points(grid: SettingsGrid, n_params: tuple[int, ...]) -> tuple[Settings, ...]:
    axes: dict[str, Sequence[Any]] = {
        "n_params": n_params,
        "num_layers": grid.num_layers,
        "init_scale": grid.init_scale,
        "learning_rate": grid.learning_rate,
        "clip_norm": grid.clip_norm,
        "dropout": grid.dropout,
        "momentum": grid.momentum,
    }
    fixed = Settings(optimizer=grid.optimizer, stacking=grid.stacking)
    points = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    return tuple(dict.fromkeys(replace(fixed, **point) for point in points))


@lru_cache
def _drawn(
    grid: SettingsGrid, task: str, n_params: tuple[int, ...], n_first: int, seed: int
) -> tuple[tuple[Settings, ...], tuple[Settings, ...]]:
    """Draw the settings of turn 0, and the order of all others."""
    points = _points(grid, n_params)
    first = random.Random(f"{seed} {task}").sample(points, min(n_first, len(points)))
    taken = {*first}
    rest = [point for point in points if point not in taken]
    random.Random(f"{seed} {task} further").shuffle(rest)
    return tuple(first), tuple(rest)
