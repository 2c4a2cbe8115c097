"""What a winner's weights give beside the metric that cells were ranked by.

A forecast is trained and ranked on pieces that begin at the initial state. It is used on a series
without end, and a state that drifts may then give much larger errors. And errors of normalised
values say nothing to a person who knows the data's units.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.errors import joined

FILE = "measured.json"
"""The file of a winner's folder."""
DRIFT = 1.1
"""From this ratio of errors on, a sentence says that the state drifts."""


@dataclass(frozen=True)
class Measured:
    """Errors on the validation split, on the same rows in pieces and with the state carried on."""

    task: str
    metric: str
    """The unit of `pieces` and `carried`."""
    higher_is_better: bool
    pieces: float
    """The metric on pieces that begin at the initial state, as in training."""
    rows: int = 0
    """The most rows of a piece; 0 where a piece is a whole sequence."""
    carried: float | None = None
    """The metric with the state carried on from the first row of each series; None where a piece is
    a whole sequence."""
    units: Mapping[str, tuple[float, float | None]] | None = None
    """The mean squared error of each number in the data's units, in pieces and carried on; None for
    classes."""

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Measured":
        return Measured(**data)

    def described(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @property
    def sentences(self) -> str:
        """What was measured, in words."""
        how = "in whole sequences"
        if self.carried is not None:
            how = (
                f"in pieces of {self.rows} rows that begin at the initial state, as in training, "
                f"and {self.carried:.4g} with the state carried on from the first row of each "
                "series, as it is used"
            )
        text = f"{self.task}, {self.metric} on validation: {self.pieces:.4g} {how}."
        if self.units:
            parts = [f"{name} {_both(*errors)}" for name, errors in self.units.items()]
            text += f" In the data's units the mean squared error is, of {joined(parts)}."
        return f"{text} {self._drift}".rstrip()

    @property
    def _drift(self) -> str:
        if self.carried is None:
            return ""
        worse, better = self.carried, self.pieces
        if self.higher_is_better:
            worse, better = better, worse
        if worse <= DRIFT * better:
            return ""
        return (
            f"Its state drifts: begin anew after about {self.rows} rows, or search with a larger "
            f"tasks.{self.task}.window."
        )


def _both(pieces: float, carried: float | None) -> str:
    text = f"{pieces:.4g} (its root {pieces**0.5:.4g})"
    return text if carried is None else f"{text} in pieces and {carried:.4g} carried on"


def measured_in(winner: Path) -> list[Measured]:
    """Return what the folder of a winner says; nothing where it says nothing."""
    try:
        stored = json.loads((winner / FILE).read_text(encoding="utf-8"))
        return [Measured.from_json(one) for one in stored]
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return []
