"""Optuna's TPE on a history of bounded length, so that a study of 10,000 candidates stays quick.

TPE weighs every past trial for every choice. Here its model of good cells has the best 25 trials,
as in Optuna, and its model of the others has the latest trials.

Seeds are drawn at random: a good seed has no better neighbours, and a line of mutants has a seed
for each generation.
"""

from collections.abc import Container, Sequence
from copy import copy
from typing import Any
from weakref import WeakKeyDictionary

from optuna import Study
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from nas.protocol.objectives import front
from nas.samplers.propose import losses, merit

N_BEST = 25
"""Most trials of Optuna's model of good ones (`optuna.samplers._tpe.default_gamma`)."""
N_LATEST = 250
"""Complete trials that TPE sees beside the best ones; a study of no more is seen whole."""
FEWEST_SEEDS = 2**24
"""A whole number with so many values is a seed; other numbers have fewer in all spaces here."""

_SHOWN: WeakKeyDictionary[Study, tuple[int, list[FrozenTrial]]] = WeakKeyDictionary()
"""The trials that the trial of this number sees of a study. They stay the same for all its choices,
and each choice has a new sampler, for which reading them again took most of the time."""


class BoundedTPE(TPESampler):
    """TPE that sees the best and the latest trials, and all that are running."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        bounded: Any = _Bounded(study, trial)  # what TPE uses of a study, and no more
        return super().infer_relative_search_space(bounded, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        bounded: Any = _Bounded(study, trial)
        return super().sample_relative(bounded, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        if is_seed(param_distribution):
            return self._random_sampler.sample_independent(
                study, trial, param_name, param_distribution
            )
        bounded: Any = _Bounded(study, trial)
        return super().sample_independent(bounded, trial, param_name, param_distribution)


def is_seed(distribution: BaseDistribution) -> bool:
    """Whether a choice is among so many numbers that it can only be a seed."""
    return (
        isinstance(distribution, IntDistribution)
        and distribution.high - distribution.low >= FEWEST_SEEDS
    )


def _without_seeds(trial: FrozenTrial) -> FrozenTrial:
    """The trial as the models see it."""
    names = [name for name, of in trial.distributions.items() if not is_seed(of)]
    if len(names) == len(trial.distributions):
        return trial
    shown = copy(trial)
    shown.params = {name: trial.params[name] for name in names}
    shown.distributions = {name: trial.distributions[name] for name in names}
    return shown


class _Bounded:
    """A study that shows only some of its trials."""

    def __init__(self, study: Study, trial: FrozenTrial) -> None:
        self._whole = study
        if _SHOWN.get(study, (-1, []))[0] != trial.number:
            _SHOWN[study] = (
                trial.number,
                [_without_seeds(past) for past in kept(study.get_trials(deepcopy=False))],
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = _SHOWN[self._whole][1]
        return [trial for trial in trials if states is None or trial.state in states]


def kept(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that TPE sees, in order; it maximises values, of equal ones the earlier first.

    With several objectives it sees the front as well.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(complete) <= N_LATEST:
        return list(trials)
    best = sorted(complete, key=lambda trial: -trial.values[0])[:N_BEST]
    if len(best[0].values) > 1:
        scored = [trial for trial in complete if merit(trial)[0] == 0]
        best += front(scored, losses)
    shown = {trial.number for trial in (*best, *complete[-N_LATEST:])}
    return [t for t in trials if t.state != TrialState.COMPLETE or t.number in shown]
