"""The configuration of samplers that draw whole cells and evolve them; read by `nas/samplers/`."""

from dataclasses import dataclass, field
from typing import Annotated

from nas.errors import check_fields


@dataclass(frozen=True)
class EvolutionConfig:
    """How the samplers jozefowicz, regularized and random draw."""

    list_size: Annotated[int, "at least 1"] = 100
    """jozefowicz: how many of the best cells that passed every stage are mutated and re-evaluated;
    the paper's 100 are meant for 10,000 candidates."""
    propose: Annotated[float, "in (0, 1]"] = 0.8
    """jozefowicz: probability that a trial proposes a mutant; else it re-evaluates a cell of the
    list on fresh settings."""
    population: Annotated[int, "at least 1"] = 20
    """regularized: how many of the youngest cells live; so many are drawn at random first."""
    tournament: Annotated[int, "at least 1"] = 5
    """regularized: how many of the living are drawn, of which the best is mutated."""
    n_redraws: Annotated[int, "at least 0"] = 100
    """How often a cell that the study knows is drawn again."""
    reexamine: bool = field(default=False, metadata={"added": True})
    """jozefowicz: whether a mutant that was rejected before is judged again, on fresh settings, as
    in the paper; else another one is drawn."""

    def check(self) -> None:
        """Raise UserError if a value is out of range."""
        check_fields(self, "evolution.")
