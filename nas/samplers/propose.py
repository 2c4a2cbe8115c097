"""Samplers that draw whole cells, and draw again if the study knows the cell already.

A subclass chooses a point: at random (`RandomWalk`), or by results. It sees only the trials before
its own: their keys, and the values of those that have a result.
"""

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from nas.cell.cell import Cell
from nas.protocol.objectives import front
from nas.protocol.rungs import LadderConfig
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.forecast import forecaster
from nas.samplers.promotion import promoted
from nas.spaces.base import Params, Space

PROPOSED = "proposed"
"""User attribute of a trial: {"n_draws", "parent", "again"}; "mate" where there is one, and
"forecast" and "children" where its result was forecast."""


@dataclass(frozen=True)
class Proposal:
    """The point that a trial takes, and its origin."""

    params: Params
    parent: int | None = None
    """The trial that was mutated."""
    mate: int | None = None
    """The other parent of a cell that was crossed."""
    again: bool = False
    """Whether a known cell is to be re-evaluated on fresh settings."""


class Proposer(BaseSampler, ABC):
    """Draws the whole point of one trial at once; made anew for each trial.

    All choices of a point are drawn together, so that a trial that a crash cut short goes on with
    the same point.
    """

    def __init__(
        self,
        seed: int,
        space: Space,
        config: EvolutionConfig,
        n_turns: int = 1,
        ladder: LadderConfig | None = None,
    ) -> None:
        """`n_turns` is the most visits of one cell, each on fresh settings or, on a ladder, at the
        next rung."""
        self.space, self.config, self.n_turns, self.ladder = space, config, n_turns, ladder
        self._seed = seed
        self._chosen: dict[str, Any] = {}

    @abstractmethod
    def proposal(self, past: "Past", rng: Random) -> Proposal:
        """A point for the next trial."""

    def returning(self, past: "Past", last: FrozenTrial) -> bool:
        """Whether a known cell may come back on fresh settings; `last` is its last trial."""
        return False

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        rng = Random(self._seed)
        trials = study.get_trials(deepcopy=False)
        past = Past(self.space, tuple(t for t in trials if t.number < trial.number))
        known = {t.user_attrs.get("key"): t for t in past.trials}
        due = promoted(past.trials, self.ladder) if self.ladder else None
        if due is not None:
            drawn = self._drawn(past, past.again(due), rng)
        else:
            drawn = self._forecast(past, known, rng)
        study._storage.set_trial_user_attr(trial._trial_id, PROPOSED, drawn.noted)
        self._chosen = dict(drawn.point.params)
        return {n: d for n, d in drawn.point.distributions.items() if not d.single()}

    def _drawn(self, past: "Past", proposal: Proposal, rng: Random) -> "_Drawn":
        point = FilledTrial(proposal.params, rng)
        return _Drawn(proposal, point, self.space.propose(point))

    def _new(
        self,
        past: "Past",
        known: Mapping[Any, FrozenTrial],
        rng: Random,
        taken: Container[str] = (),
    ) -> "_Drawn":
        """A draw that neither the study knows nor `taken`, or that may return; after many draws
        any."""
        for n_draws in range(1, self.config.n_redraws + 2):
            drawn = self._drawn(past, self.proposal(past, rng), rng)
            last = known.get(drawn.cell.key)
            if last is not None and not drawn.proposal.again and self.returning(past, last):
                # The text of the earlier trial, since its outcomes belong to that text.
                drawn = self._drawn(past, past.again(last, drawn.proposal.parent), rng)
            drawn.n_draws = n_draws
            drawn.is_new = last is None and drawn.cell.key not in taken
            if drawn.is_new or drawn.proposal.again:
                break
        return drawn

    def _forecast(self, past: "Past", known: Mapping[Any, FrozenTrial], rng: Random) -> "_Drawn":
        """The best of several new draws by the forecast of their results, if there is one."""
        first = self._new(past, known, rng)
        forecast = forecaster(past.trials) if self.config.children > 1 else None
        if forecast is None or not first.is_new:
            return first
        drawn = [first]
        if rng.random() >= self.config.unforecast:
            while len(drawn) < self.config.children:
                one = self._new(past, known, rng, {sibling.cell.key for sibling in drawn})
                if not one.is_new:
                    break  # there is none left
                drawn.append(one)
        forecasts = forecast([one.cell for one in drawn])
        place = max(range(len(drawn)), key=lambda k: forecasts[k])
        best = drawn[place]
        best.forecast, best.n_children = forecasts[place], len(drawn)
        best.n_draws = 1 + sum(one.n_draws - 1 for one in drawn)
        return best

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {name: self._chosen[name] for name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        raise AssertionError(
            f"space {self.space.name} asked for {param_name} in a trial, but not when the sampler "
            "drew its point: propose must follow from the trial's suggestions alone."
        )


@dataclass
class _Drawn:
    """A point that was drawn, and its cell."""

    proposal: Proposal
    point: "FilledTrial"
    cell: Cell
    n_draws: int = 1
    """Draws until it was new."""
    is_new: bool = True
    forecast: float | None = None
    n_children: int = 1
    """How many it was the best of, by the forecast."""

    @property
    def noted(self) -> dict[str, Any]:
        """What is stored with the trial."""
        proposal = self.proposal
        noted: dict[str, Any] = {
            "n_draws": self.n_draws,
            "parent": proposal.parent,
            "again": proposal.again,
        }
        noted |= {} if proposal.mate is None else {"mate": proposal.mate}
        if self.forecast is not None:
            noted |= {"forecast": self.forecast, "children": self.n_children}
        return noted


class RandomWalk(Proposer):
    """Draws every choice at random; in the space of free graphs, walks of random lengths."""

    def proposal(self, past: "Past", rng: Random) -> Proposal:
        return past.drawn(rng)


@dataclass(frozen=True)
class Past:
    """The trials before the one to draw."""

    space: Space
    trials: tuple[FrozenTrial, ...]

    @cached_property
    def complete(self) -> list[FrozenTrial]:
        """Trials with a point and a result, oldest first."""
        return [t for t in self.trials if t.state == TrialState.COMPLETE and t.params]

    @cached_property
    def scored(self) -> list[FrozenTrial]:
        """The last complete trial of each cell, if that has a score; the best first."""
        scores = {t.number: score_of(t) for t in latest(self.complete)}
        scored = [t for t in self.complete if scores.get(t.number) is not None]
        return sorted(scored, key=lambda t: (-(scores[t.number] or 0.0), t.number))

    def drawn(self, rng: Random) -> Proposal:
        """A random point.

        The space's seed is looked at in a copy of the generator: what follows is drawn as it was
        before spaces had something to fix.
        """
        return Proposal(self.space.draw(copy(rng).getrandbits(32)))

    def mutant(self, parent: FrozenTrial, rng: Random, n_mutations: int = 1) -> Proposal:
        """A point so many mutations away from a trial's."""
        self._recall(parent)
        return Proposal(varied(self.space, parent.params, rng, n_mutations), parent.number)

    def crossed(self, parent: FrozenTrial, mate: FrozenTrial, rng: Random) -> Proposal | None:
        """A point of a child of two trials' cells; None if the space has no crossover."""
        self._recall(parent)
        self._recall(mate)
        params = self.space.cross(parent.params, mate.params, rng.getrandbits(32))
        return None if params is None else Proposal(params, parent.number, mate=mate.number)

    def again(self, trial: FrozenTrial, parent: int | None = None) -> Proposal:
        """The point of a trial, to try its cell on fresh settings."""
        self._recall(trial)
        return Proposal(trial.params, parent, again=True)

    def _recall(self, trial: FrozenTrial) -> None:
        """Give the space the text of the trial's cell, so that it need not repeat a long walk."""
        if text := trial.user_attrs.get("cell"):
            self.space.recall(trial.params, text)
        # A line of full length has siblings instead of children: they need the cell before.
        before: FrozenTrial | None = trial
        while before is not None and len(before.params) >= len(trial.params):
            number = before.user_attrs.get("parent")
            before = None if number is None else self.trials[number]
        if before is not None and (text := before.user_attrs.get("cell")):
            self.space.recall(before.params, text)


def varied(space: Space, params: Params, rng: Random, n_mutations: int = 1) -> Params:
    """The suggestions of a neighbour: by the space's own mutations, or choices drawn anew."""
    own = space.vary(params, rng.getrandbits(32), n_mutations)
    if own is not None:
        return own
    for _ in range(n_mutations):
        params = _changed(space, params, rng)
    return params


def _changed(space: Space, params: Params, rng: Random) -> Params:
    """The suggestions with another choice in one place; those that a change before it made
    necessary are drawn."""
    old = FilledTrial(params, rng)
    space.propose(old)
    names = [name for name, of in old.distributions.items() if not of.single()]
    if not names:
        return params
    name = rng.choice(names)
    while (new := _drawn(name, old.distributions[name], rng)) == old.params[name]:
        pass
    return {**old.params, name: new}


class FilledTrial(FixedTrial):
    """Answers suggestions with the given values, and at random where there is none."""

    def __init__(self, params: Mapping[str, Any], rng: Random) -> None:
        super().__init__(dict(params))
        self._rng = rng

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._params:
            self._params[name] = _drawn(name, distribution, self._rng)
        return super()._suggest(name, distribution)


def _drawn(name: str, distribution: BaseDistribution, rng: Random) -> Any:
    """A value from Optuna's random sampler, which reads no study."""
    sampler: Any = RandomSampler(seed=rng.getrandbits(32))
    return sampler.sample_independent(None, None, name, distribution)


def score_of(trial: FrozenTrial) -> float | None:
    """The score in a trial's judgement, None if it was rejected; without a judgement its value."""
    judgement = trial.user_attrs.get("judgement")
    score = trial.values[0] if judgement is None else judgement["score"]
    return None if score is None else float(score)


def merit(trial: FrozenTrial) -> tuple[float, float, int]:
    """What trials are ordered by: one that breaks no constraint is above all others, which are the
    better the less they break; then come the value and the number."""
    excess = sum(excess for excess in trial.constraints.values() if excess > 0)
    return (-excess, trial.values[0], trial.number)


def best_of(trials: Sequence[FrozenTrial], rng: Random) -> FrozenTrial:
    """The best of some trials by `merit`; with several objectives, one of those that no other
    dominates and that break their constraints least."""
    best = max(trials, key=merit)
    if len(best.values) == 1:
        return best
    equal = [trial for trial in trials if merit(trial)[0] == merit(best)[0]]
    return rng.choice(front(equal, losses))


def losses(trial: FrozenTrial) -> tuple[float, ...]:
    """What a sampler was told of a trial, all to be minimised."""
    return (-trial.values[0], *trial.values[1:])


def latest(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The last trial of each cell, which has the cell's results on all settings."""
    by_key = {trial.user_attrs.get("key", trial.number): trial for trial in trials}
    return list(by_key.values())
