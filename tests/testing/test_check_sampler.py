"""The conformance suite passes for every sampler, and fails on each kind of broken one."""

import itertools
from collections.abc import Mapping
from random import Random
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from nas.samplers.propose import Past, Proposal, Proposer, RandomWalk
from nas.samplers.registry import NAMES
from nas.spaces import Gates, Graph, Mixed, Space
from nas.testing.samplers import check_sampler

GRAPH = Graph(max_generation=8)
GATES = Gates(states=("merged",))
MIXED = Mixed(graph=GRAPH)
LEARN = ("tpe", "jozefowicz", "regularized")


CASES = [
    pytest.param(
        name,
        space,
        id=f"{name}-{space.name}",
        marks=() if space is GATES else pytest.mark.process,
    )
    for name in NAMES
    for space in (GATES, GRAPH, MIXED)
]


@pytest.mark.parametrize(("name", "space"), CASES)
def test_every_sampler_conforms(name: str, space: Space) -> None:
    learns = name in LEARN and not (name == "tpe" and space is GRAPH)  # seeds cannot be learned
    check_sampler(name, space, learns=learns)


COUNT = itertools.count()


class Unseeded(RandomWalk):
    def proposal(self, past: Past, rng: Random) -> Proposal:
        return super().proposal(past, Random(next(COUNT)))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self._seed = next(COUNT)
        return super().infer_relative_search_space(study, trial)


class OneSeed(RandomWalk):
    def __init__(self, seed: int, **rest: Any) -> None:
        super().__init__(0, **rest)


class Constant(Proposer):
    """Always the same point, and not drawn again."""

    def proposal(self, past: Past, rng: Random) -> Proposal:
        params = self.space.params_of(self.space.start[0])  # type: ignore[attr-defined]
        known = {t.user_attrs.get("key") for t in past.trials}
        return Proposal({} if rng.random() < 0.2 else params, again=bool(known))


class Peeking(RandomWalk):
    """Looks at results that were not told."""

    def proposal(self, past: Past, rng: Random) -> Proposal:
        values = [t.user_attrs.get("judgement", {}).get("value", 0.0) for t in past.trials]
        return super().proposal(past, Random(f"{rng.random()} {values}"))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        judged = [t.user_attrs.get("judgement", {}) for t in study.get_trials(deepcopy=False)]
        self._seed += round(sum(one.get("value", 0.0) for one in judged))
        return super().infer_relative_search_space(study, trial)


class Remembering(RandomSampler):
    """Depends on what was drawn in this process."""

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, of: BaseDistribution
    ) -> Any:
        next(COUNT)
        if trial.number > 20 and len(trial.params) == 1:
            return RandomSampler(seed=next(COUNT)).sample_independent(study, trial, name, of)
        return super().sample_independent(study, trial, name, of)


class Halting(RandomWalk):
    """Depends on how many choices were stored before the crash."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self._seed += len(trial.params)
        return super().infer_relative_search_space(study, trial)


BROKEN: Mapping[str, str] = {
    "Unseeded": "the same seed must give the same cells",
    "OneSeed": "another seed must give others|cells must differ",
    "Constant": "cells must differ, got",
    "Peeking": "results that were not told must not change the candidates",
    "Remembering": "the same seed must give the same cells",
    "Halting": r"begun again after \d+ choices, must be",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_sampler_is_seen(name: str) -> None:
    with pytest.raises(AssertionError, match=BROKEN[name]):
        check_sampler(f"{__name__}:{name}", Graph(max_generation=4), learns=False)


def test_a_sampler_that_does_not_learn_is_seen() -> None:
    with pytest.raises(AssertionError, match=r"must have 1\.1 times the parameters of random ones"):
        check_sampler("random", GATES)
