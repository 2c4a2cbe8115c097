"""Plans for tests: what a coordinator runs, without a configuration file."""

from collections.abc import Sequence
from typing import Any

from nas.cell.cell import Cell
from nas.protocol.staged import Staged
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.registry import find_sampler
from nas.session.plan import Plan
from nas.spaces.base import Space
from nas.study.config import SearchConfig


def plan_of(
    space: Space,
    protocol: Staged,
    cells: Sequence[Cell],
    sampler: str,
    seed: int = 0,
    evolution: EvolutionConfig | None = None,
    **fields: Any,
) -> Plan[SearchConfig]:
    """A plan as a search makes it; `fields` are those of `Plan`, such as n_candidates."""
    config = SearchConfig(seed=seed, evolution=evolution or EvolutionConfig())
    ladder = protocol.config.ladder if protocol.config.kind == "ladder" else None
    make = find_sampler(sampler, space, config.evolution, protocol.n_turns, ladder)
    return Plan(config, tuple(cells), protocol, {}, space, make, **fields)
