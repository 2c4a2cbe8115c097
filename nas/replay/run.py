"""One search among recorded cells: the samplers are the real ones, on a study of Optuna in memory.

The given cells come first, as in a search; then the sampler draws candidate n from the results of
candidates 0 … n - in_flight, in order. Samplers that draw whole cells do so in `RecordedSpace`;
others (Optuna's own, and yours) suggest a point of the space that was recorded, and the nearest
unseen candidate takes the trial, with the suggestions that once led to it.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial, Trial

from nas.cell.distance import features
from nas.replay.bench import CHOICE, NEIGHBOURS, Bench, RecordedSpace, recorded_space
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.point import PointSampler
from nas.samplers.propose import Proposer
from nas.samplers.registry import Repeatable, find_sampler
from nas.spaces.base import Params, Space
from nas.study.opening import quiet

REDRAWS = 50
"""A sampler draws again up to so many times the number of cells until it finds an unseen one."""


@dataclass(frozen=True)
class ReplayConfig:
    """How a sampler is replayed."""

    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    in_flight: int = 1
    """Candidate n is drawn from the results of candidates 0 … n - in_flight."""
    neighbours: int = NEIGHBOURS
    n_candidates: int = 0
    """Candidates after which a replay ends; 0: when all are seen."""


Replay = Callable[[Bench, int], list[int]]
"""(bench, seed) -> candidates in the order in which a sampler saw them."""


def make_replay(name: str, bench: Bench, config: ReplayConfig) -> Replay:
    """A sampler by name, ready for any seed; the bench may be shuffled later.

    Raises:
        UserError: if there is none, or if it needs a space that the table does not hold.
    """
    unseen = RecordedSpace(bench, frozenset())
    if isinstance(find_sampler(name, unseen)(0), Proposer):
        return lambda bench, seed: _WholeCells(name, bench, config, seed).run()
    space = recorded_space(bench, name)
    make = find_sampler(name, space, config.evolution)
    points = _Points(space, bench)
    return lambda bench, seed: _Choices(make, points, bench, config, seed).run()


class _Run(ABC):
    """The loop of both kinds of replay; a subclass says how a trial and a cell belong together."""

    space: Space
    """The space of the sampler."""
    make: Callable[[int], BaseSampler]
    """Makes the sampler from a seed."""

    def __init__(self, bench: Bench, config: ReplayConfig, seed: int) -> None:
        self.bench, self.config, self.seed = bench, config, seed
        with quiet():
            self.study = optuna.create_study(direction="maximize")
        self.seen: set[int] = set()

    @abstractmethod
    def point_of(self, index: int) -> Params | None:
        """The suggestions that stand for a recorded cell, if there are any."""

    @abstractmethod
    def choose(self, trial: Trial) -> int:
        """Let the sampler fill a trial, and return the candidate that takes it."""

    def run(self) -> list[int]:
        """The candidates in the order in which the sampler saw them."""
        bench, config, order = self.bench, self.config, list[int]()
        wanted = min(config.n_candidates or bench.n_candidates, bench.n_candidates)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            for index in range(bench.n_candidates, len(bench.cells)):
                self._tell(self._enter(index), index)
            trials: list[Trial] = []
            while len(order) < wanted:
                late = len(order) - config.in_flight
                if late >= 0:
                    self._tell(trials[late], order[late])
                trial = self._ask(len(bench.cells) - bench.n_candidates + len(order))
                index = self.choose(trial)
                assert index not in self.seen, "samplers draw again what is seen"
                self._note(trial, index)
                trials.append(trial)
                order.append(index)
                self.seen.add(index)
        return order

    def _ask(self, number: int) -> Trial:
        self.study.sampler = Repeatable(self.make, self.seed, number)
        return self.study.ask()

    def _enter(self, index: int) -> Trial:
        """The trial of a given cell."""
        point = self.point_of(index)
        self.study.sampler = PointSampler(point or {})
        trial = self.study.ask()
        if point is not None:
            self.space.propose(trial)
        self._note(trial, index)
        return trial

    def _tell(self, trial: Trial, index: int) -> None:
        self.study.tell(trial, self.bench.visits[index].value)

    def _note(self, trial: Trial, index: int) -> None:
        """Store with a trial what the coordinator stores there and samplers look at."""
        visit = self.bench.visits[index]
        trial.set_user_attr("key", self.bench.cells[index].key)
        trial.set_user_attr("cell", visit.cell)
        trial.set_user_attr("kind", "given" if index >= self.bench.n_candidates else "drawn")
        judgement = {"score": visit.score, "value": visit.value, "ratios": visit.ratios}
        trial.set_user_attr("judgement", judgement)


class _WholeCells(_Run):
    """A sampler that draws whole cells."""

    def __init__(self, name: str, bench: Bench, config: ReplayConfig, seed: int) -> None:
        super().__init__(bench, config, seed)
        self.space = RecordedSpace(bench, self.seen, config.neighbours)
        redraws = max(config.evolution.n_redraws, REDRAWS * len(bench.cells))
        self.make = find_sampler(name, self.space, replace(config.evolution, n_redraws=redraws))

    def point_of(self, index: int) -> Params:
        return {CHOICE: index}

    def choose(self, trial: Trial) -> int:
        self.space.propose(trial)
        return int(trial.params[CHOICE])


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


class _Choices(_Run):
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
        self.make, self.points, self.space = make, points, points.space

    def point_of(self, index: int) -> Params | None:
        return self.points.params[index]

    def choose(self, trial: Trial) -> int:
        self.space.propose(trial)
        order = self.points.order(tuple(sorted(trial.params.items())))
        index = next(index for index in order if index not in self.seen)
        # The history must be true: what was judged are the suggestions of the recorded cell. A
        # study in memory holds the very trial that samplers are shown.
        shown = self.study.get_trials(deepcopy=False)[trial.number]
        shown.params = dict(self.points.params[index] or {})
        shown.distributions = dict(self.points.distributions[index])
        return index
