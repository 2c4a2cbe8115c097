"""The budgets of a ladder: what a cell costs at each rung, and how many go on from it."""

from dataclasses import dataclass, fields
from typing import Annotated

from nas.errors import UserError, check_fields


@dataclass(frozen=True)
class LadderConfig:
    """The rungs of `--protocol ladder`, the lowest first; the lists have a place for each rung.

    The defaults are three rungs: a third of the epochs at 6,000 parameters, the same at 25,000, and
    the whole budget with more settings and two seeds.
    """

    n_params: tuple[Annotated[int, "at least 1"], ...] = (6_000, 25_000, 25_000)
    """Parameters of the models, in place of the tasks' own budgets."""
    fidelity: tuple[Annotated[float, "in (0, 1]"], ...] = (1 / 3, 1 / 3, 1.0)
    """Share of each task's epochs that is trained."""
    n_settings: tuple[Annotated[int, "at least 1"], ...] = (3, 3, 6)
    """Settings a task, the same for every cell."""
    n_seeds: tuple[Annotated[int, "at least 1"], ...] = (1, 1, 2)
    """Seeds of weights and data; each rung has others."""
    halving: tuple[Annotated[int, "at least 0"], ...] = (0, 0, 3)
    """Successive halving of the settings within a rung, as protocol.halving; 0: none."""
    eta: Annotated[int, "at least 2"] = 3
    """One in so many of the cells of a rung goes on to the next."""
    least: Annotated[int, "at least 1"] = 9
    """Cells that a rung has judged before the first goes on."""

    def __len__(self) -> int:
        """The number of rungs."""
        return len(self.n_params)

    def check(self) -> None:
        """Raise UserError if a value is out of range or the lists are of unequal lengths."""
        check_fields(self, "protocol.ladder.")
        for field in fields(self):
            values = getattr(self, field.name)
            if isinstance(values, tuple) and len(values) != len(self):
                raise UserError(
                    f"protocol.ladder.{field.name} must have one value for each rung, as "
                    f"protocol.ladder.n_params has {len(self)}, got {len(values)}."
                )
        if not self.n_params:
            raise UserError("protocol.ladder.n_params needs at least one rung, got an empty list.")
        if 1 in self.halving:
            raise UserError("protocol.ladder.halving must be 0 or at least 2 at a rung, got 1.")
