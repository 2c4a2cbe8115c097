"""The configuration of samplers that draw whole cells and evolve them; it loads without Optuna."""

from dataclasses import dataclass, field
from typing import Annotated

from nas.errors import check_fields
from nas.tasks.fields import ADDED


@dataclass(frozen=True)
class EvolutionConfig:
    """Options of the samplers jozefowicz, regularized, lexicase and random."""

    list_size: Annotated[int, "at least 1"] = 100
    """jozefowicz: number of best cells that passed every stage, which are mutated and re-evaluated;
    the paper's 100 are meant for 10,000 candidates."""
    propose: Annotated[float, "in (0, 1]"] = 0.8
    """jozefowicz: probability that a trial proposes a mutant; else it re-evaluates a cell of the
    list on fresh settings."""
    population: Annotated[int, "at least 1"] = 20
    """regularized: number of youngest cells that live; so many are drawn at random first."""
    tournament: Annotated[int, "at least 1"] = 5
    """regularized: number of living cells drawn, of which the best is mutated."""
    n_redraws: Annotated[int, "at least 0"] = 100
    """Most further draws if the study knows the drawn cell already."""
    reexamine: bool = field(default=False, metadata=ADDED)
    """jozefowicz: whether a rejected mutant that comes up again is judged again, on fresh settings,
    as in the paper; else another one is drawn."""

    lexicase_population: Annotated[int, "at least 2"] = field(default=60, metadata=ADDED)
    """lexicase: number of cells that live, those that were judged last."""
    crossover: Annotated[float, "in [0, 1]"] = field(default=0.25, metadata=ADDED)
    """lexicase: probability that a candidate is a child of two parents."""
    twice: Annotated[float, "in [0, 1]"] = field(default=0.2, metadata=ADDED)
    """lexicase: probability that a child of one parent is mutated twice."""

    children: Annotated[int, "at least 1"] = field(default=1, metadata=ADDED)
    """A candidate is the one of so many children whose result is forecast best, by a forest on
    their graphs and on probes at initialisation, once 64 results are known; 1: no forecast."""
    unforecast: Annotated[float, "in [0, 1]"] = field(default=0.2, metadata=ADDED)
    """Share of candidates that are drawn without the forecast, from which the report says what it
    is worth."""

    def check(self) -> None:
        """Raise UserError if a value is out of range."""
        check_fields(self, "evolution.")
