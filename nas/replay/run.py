"""One search among recorded cells: the samplers are the real ones, on a study of Optuna in memory.

The given cells are told first, as in a search, then trial n is asked when the results of trials
0 … n - in_flight have been told, in order. Samplers that draw whole cells do so in `RecordedSpace`;
others (Optuna's own, and yours) suggest a point of the space that was recorded, and the nearest
unseen candidate takes the trial, with the suggestions that once led to it.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial

from nas.cell.distance import features
from nas.replay.bench import Bench
from nas.replay.recorded import recorded_space
from nas.replay.space import CHOICE, NEIGHBOURS, RecordedSpace
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.point import PointSampler
from nas.samplers.propose import Proposer
from nas.samplers.registry import Repeatable, find_sampler
from nas.spaces.base import Params, Space

REDRAWS = 50
"""Times the number of cells: so often a cell that is seen is drawn again, and never in vain."""


@dataclass(frozen=True)
class ReplayConfig:
    """How a sampler is replayed."""

    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    in_flight: int = 1
    """Candidate n is drawn from the results of candidates 0 … n - in_flight."""
    neighbours: int = NEIGHBOURS
    n_candidates: int = 0
    """Where a replay ends; 0: when all are seen."""


Replay = Callable[[Bench, int], list[int]]
"""(bench, seed) -> candidates in the order in which a sampler saw them."""


def make_replay(name: str, bench: Bench, config: ReplayConfig) -> Replay:
    """A sampler by name, ready for any seed; the bench may be shuffled later.

    Raises:
        UserError: if there is none, or if it needs a space that the table does not hold.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    unseen = RecordedSpace(bench, frozenset())
    if isinstance(find_sampler(name, unseen)(0), Proposer):
        return lambda bench, seed: _Whole(name, bench, config, seed).run()
    space = recorded_space(bench, name)
    points = _Points(space, bench)
    make = find_sampler(name, space, config.evolution)
    return lambda bench, seed: _Snapped(make, points, bench, config, seed).run()


class _Run(ABC):
    """What both kinds of replay share; a subclass asks for a trial."""

    def __init__(self, bench: Bench, config: ReplayConfig, seed: int) -> None:
        self.bench, self.config, self.seed = bench, config, seed
        self.study = optuna.create_study(direction="maximize")
        self.seen: set[int] = set()
        self.numbers: list[int] = []
        """The trial of each candidate in `order`."""
        self.order: list[int] = []

    @abstractmethod
    def ask(self, number: int) -> int:
        """Begin a trial; the candidate that takes it."""

    @abstractmethod
    def enter(self, index: int) -> None:
        """Begin the trial of a given cell."""

    def run(self) -> list[int]:
        bench, config = self.bench, self.config
        wanted = min(config.n_candidates or bench.n_candidates, bench.n_candidates)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            for number, index in enumerate(range(bench.n_candidates, len(bench.cells))):
                self.enter(index)
                self._note(number, index)
                self.study.tell(number, bench.visits[index].value)
            first = len(bench.cells) - bench.n_candidates
            while len(self.order) < wanted:
                late = len(self.order) - config.in_flight
                if late >= 0:
                    self.study.tell(first + late, bench.visits[self.order[late]].value)
                number = first + len(self.order)
                index = self.ask(number)
                assert index not in self.seen, "samplers draw again what is seen"
                self._note(number, index)
                self.order.append(index)
                self.seen.add(index)
        return self.order

    def _note(self, number: int, index: int) -> None:
        """What the coordinator stores with a trial that samplers look at."""
        visit, cell = self.bench.visits[index], self.bench.cells[index]
        attrs: Mapping[str, Any] = {
            "key": cell.key,
            "kind": "given" if index >= self.bench.n_candidates else "drawn",
            "judgement": {"score": visit.score, "value": visit.value},
        }
        frozen = self.study.get_trials(deepcopy=False)[number]
        for attr, value in attrs.items():
            self.study._storage.set_trial_user_attr(frozen._trial_id, attr, value)


class _Whole(_Run):
    """A sampler that draws whole cells."""

    def __init__(self, name: str, bench: Bench, config: ReplayConfig, seed: int) -> None:
        super().__init__(bench, config, seed)
        self.space = RecordedSpace(bench, self.seen, config.neighbours)
        redraws = max(config.evolution.n_redraws, REDRAWS * len(bench.cells))
        evolution = replace(config.evolution, n_redraws=redraws)
        self.make = find_sampler(name, self.space, evolution)

    def ask(self, number: int) -> int:
        self.study.sampler = Repeatable(self.make, self.seed, number)
        trial = self.study.ask()
        self.space.propose(trial)
        return int(trial.params[CHOICE])

    def enter(self, index: int) -> None:
        self.study.sampler = PointSampler({CHOICE: index})
        self.space.propose(self.study.ask())


class _Points:
    """The points of the space that was recorded, and the candidates near to them."""

    def __init__(self, space: Space, bench: Bench) -> None:
        self.space = space
        own = [dict(visit.params) for visit in bench.visits[: bench.n_candidates]]
        given = [space.params_of(cell) for cell in bench.cells[bench.n_candidates :]]
        self.params: list[Params | None] = [*own, *given]
        self.distributions = [self._distributions(params) for params in self.params]
        self._bench = bench
        self.order = lru_cache(maxsize=4096)(self._order)

    def _distributions(self, params: Params | None) -> dict[str, BaseDistribution]:
        if params is None:
            return {}
        point = FixedTrial(params)
        self.space.propose(point)
        return point.distributions

    def _order(self, point: tuple[tuple[str, Any], ...]) -> list[int]:
        cell = self.space.propose(FixedTrial(dict(point)))
        order = self._bench.nearness.order_of(features(cell))
        return [index for index in order if index < self._bench.n_candidates]


class _Snapped(_Run):
    """A sampler that suggests points of the space that was recorded, choice by choice."""

    def __init__(
        self,
        make: Callable[[int], BaseSampler],
        points: _Points,
        bench: Bench,
        config: ReplayConfig,
        seed: int,
    ) -> None:
        super().__init__(bench, config, seed)
        self.make, self.points = make, points

    def ask(self, number: int) -> int:
        self.study.sampler = Repeatable(self.make, self.seed, number)
        trial = self.study.ask()
        self.points.space.propose(trial)
        order = self.points.order(tuple(sorted(trial.params.items())))
        index = next(one for one in order if one not in self.seen)
        # The history must be true: what was judged are these suggestions. In memory, a trial is
        # the very object that samplers are shown.
        frozen = self.study.get_trials(deepcopy=False)[number]
        frozen.params = dict(self.points.params[index] or {})
        frozen.distributions = dict(self.points.distributions[index])
        return index

    def enter(self, index: int) -> None:
        params = self.points.params[index]
        self.study.sampler = PointSampler(params or {})
        trial = self.study.ask()
        if params is not None:
            self.points.space.propose(trial)
