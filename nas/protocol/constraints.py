"""Limits of what a candidate may take on a device, known before it is trained.

A cell has no size by itself: each task solves its width for a parameter budget and a number of
layers (`nas/nn/budget.py`). So a limit holds for the largest of all models that a cell may be
trained as in a study: over the tasks of the score, their budgets and the layers of the settings; on
a ladder those of the top rung. The filter's models are not counted: nobody uses them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.compile.passes import make_plan
from nas.errors import UserError
from nas.nn.budget import count_macs, count_params, count_state_bytes, solve_width
from nas.nn.settings import Settings
from nas.protocol.requests import Asking
from nas.tasks.base import Interface


@dataclass(frozen=True)
class Model:
    """The sizes of a model of a cell."""

    cell: Cell
    interface: Interface
    hidden_size: int
    num_layers: int

    @staticmethod
    def of(cell: Cell, interface: Interface, settings: Settings) -> "Model":
        """Return the model that a task builds.

        Raises:
            UserError: if no width meets the parameter budget.
        """
        width = solve_width(cell, interface, settings)
        return Model(cell, interface, width, settings.num_layers)

    @cached_property
    def params(self) -> int:
        """Learned values, embedding and output layer included, as a parameter budget counts."""
        return count_params(self.cell, self.interface, self.hidden_size, self.num_layers)

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of one step of one sequence, embedding and output layer included."""
        return count_macs(self.cell, self.interface, self.hidden_size, self.num_layers)

    @cached_property
    def state_bytes(self) -> int:
        """Bytes of the states that stay between two steps of one sequence, in float32."""
        return count_state_bytes(self.cell, self.hidden_size, self.num_layers)

    @cached_property
    def stages(self) -> int:
        """Products of matrices with values of the loop that wait for one another in one step of a
        layer, as `nas.show` prints them: 1 for an LSTM, 2 for a GRU, 0 where no matrix reads a
        state."""
        return make_plan(self.cell, self.hidden_size, self.hidden_size, 1).dependent_stages


SIZES: dict[str, Callable[[Model], int]] = {
    "params": lambda model: model.params,
    "macs": lambda model: model.macs,
    "state_bytes": lambda model: model.state_bytes,
    "stages": lambda model: model.stages,
}
"""What can be limited and is known before training, by name."""


@dataclass(frozen=True)
class Constraint:
    """A limit, such as macs <= 40000."""

    name: str
    """A name of `SIZES`."""
    limit: float

    def __str__(self) -> str:
        return f"{self.name} <= {self.limit:.15g}"

    def excess(self, value: float) -> float:
        """Return how far a value is off, as a share of the limit: above 0 breaks it."""
        return value / self.limit - 1


def read(texts: Sequence[str]) -> tuple[Constraint, ...]:
    """Read constraints such as "macs <= 40000", at most one of each name.

    Raises:
        UserError: for any other text.
    """
    found: dict[str, Constraint] = {}
    for text in texts:
        match = re.fullmatch(r"\s*(\w+)\s*<=\s*([\d_.]+(?:e\+?\d+)?)\s*", text)
        try:
            limit = float(match[2]) if match else 0.0
        except ValueError:
            limit = 0.0
        if not match or match[1] not in SIZES or limit <= 0:
            raise UserError(
                f'constraint must be such as "macs <= 40000": {", ".join(SIZES)}, then <= and a '
                f'positive number, got "{text}".'
            )
        if match[1] in found:
            raise UserError(
                f'constraint has {match[1]} twice, "{found[match[1]]}" and "{text.strip()}": give '
                "the smaller limit alone."
            )
        found[match[1]] = Constraint(match[1], limit)
    return tuple(found.values())


class Limits:
    """The constraints of a study, on the models that its protocol trains a cell as."""

    def __init__(self, constraints: Sequence[Constraint], protocol: Asking) -> None:
        self.constraints, self._protocol = tuple(constraints), protocol
        self._known: dict[str, dict[str, int]] = {}

    def models(self, cell: Cell) -> list[Model]:
        """Return all models that a cell may be trained as; none of a budget that no width meets,
        with which training fails."""
        made = []
        for task in self._protocol.tasks:
            for n_params in task.n_params:
                for num_layers in self._protocol.grid.num_layers:
                    settings = Settings(n_params=n_params, num_layers=num_layers)
                    try:
                        made.append(Model.of(cell, task.interface, settings))
                    except UserError:
                        continue
        return made

    def sizes(self, text: str) -> dict[str, int]:
        """Return the largest size of each constraint's name over all models of a cell's text."""
        if text not in self._known:
            models = self.models(loads(text))
            names = [constraint.name for constraint in self.constraints] if models else []
            self._known[text] = {name: max(map(SIZES[name], models)) for name in names}
        return self._known[text]

    def excesses(self, text: str) -> dict[str, float]:
        """Return how far a cell is off each constraint, by the constraint's text."""
        sizes = self.sizes(text)
        return {str(c): c.excess(sizes[c.name]) for c in self.constraints if c.name in sizes}

    def broken(self, text: str) -> dict[str, float]:
        """Return the sizes with which a cell breaks constraints, by the constraint's text."""
        sizes = self.sizes(text)
        return {
            str(c): float(sizes[c.name])
            for c in self.constraints
            if c.name in sizes and sizes[c.name] > c.limit
        }
