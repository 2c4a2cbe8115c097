"""A plan: everything that a run is made of, loaded and checked once, before anything is opened."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from optuna.samplers import BaseSampler

from nas.cell.cell import Cell
from nas.nn.budget import solve_width
from nas.protocol.constraints import Limits, read
from nas.protocol.objectives import SCORE
from nas.protocol.staged import Staged
from nas.samplers.registry import check_front, find_sampler
from nas.spaces import load_space
from nas.spaces.base import Space
from nas.study.config import RunConfig, SearchConfig, StudyConfig, definition, protocol_of
from nas.study.leaderboard import BASELINES
from nas.workers.start import check_available
from nas.zoo.lookup import cell as look_up
from nas.zoo.lookup import unique_cells
from nas.zoo.tracking import check_tracking_uri, effective_uri

Config = TypeVar("Config", bound=RunConfig, covariant=True)


@dataclass(frozen=True)
class Plan(Generic[Config]):
    """What a coordinator needs to know; a plan without a space has given cells alone."""

    config: Config
    cells: tuple[Cell, ...]
    """Cells to measure on every task, the reference first."""
    protocol: Staged
    definition: Mapping[str, Any] = field(default_factory=dict)
    """What the outcomes depend on: another definition is another study."""
    space: Space | None = None
    sampler: Callable[[int], BaseSampler] | None = None
    """The maker of a sampler from a seed."""
    n_candidates: int = 0
    in_flight: int = sys.maxsize
    """Candidate n is drawn from the results of candidates 0 … n - in_flight."""
    run_budget: int = 0
    """No candidate is begun once so many training runs are spent; 0: no limit."""
    objectives: tuple[str, ...] = (SCORE,)
    """What is searched for, the score first."""
    limits: Limits | None = None
    """Constraints, of which a candidate that breaks one is not trained; None if there are none."""

    @property
    def baselines(self) -> tuple[str, ...]:
        """The keys of GRU and LSTM."""
        return tuple(cell.key for cell in self.cells[: len(BASELINES)])


def plan(config: SearchConfig) -> Plan[SearchConfig]:
    """The plan of a search.

    Raises:
        UserError: if something that the configuration names is not there or does not fit.
    """
    check_machine(config)
    space, protocol = load_space(config.space), protocol_of(config)
    ladder = config.protocol.ladder if config.protocol.kind == "ladder" else None
    check_front(config.sampler, len(config.objectives))
    constraints = read(config.constraint)
    made = Plan(
        config,
        unique_cells([look_up(source) for source in (*BASELINES, *config.include)]),
        protocol,
        definition(config, space),
        space,
        find_sampler(config.sampler, space, config.evolution, protocol.n_turns, ladder),
        config.n_candidates,
        config.in_flight,
        config.run_budget,
        config.objectives,
        Limits(constraints, protocol) if constraints else None,
    )
    check_widths(made.cells, protocol)
    return made


def check_machine(config: StudyConfig) -> None:
    """Refuse workers, devices or a tracking store that this machine cannot reach.

    Raises:
        UserError: naming what is missing.
    """
    check_available(config.workers, config.devices)
    if config.tracking_uri != "off":
        check_tracking_uri(config.tracking_uri)
        effective_uri(config.tracking_uri)


def check_widths(cells: Sequence[Cell], protocol: Staged) -> None:
    """Refuse a cell that no width brings below the parameter budget of a task.

    Raises:
        UserError: naming the cell and the smallest budget.
    """
    for task in protocol.all_tasks:  # a width depends on the budget and the depth alone
        points = protocol.grid.points(task.n_params)
        for settings in {(each.n_params, each.num_layers): each for each in points}.values():
            for cell in cells:
                solve_width(cell, task.interface, settings)
