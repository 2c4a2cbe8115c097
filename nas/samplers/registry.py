"""Samplers by name, or a class of one's own by its import path.

To add one, write a file here with a `BaseSampler` and a line in a table below. Each candidate gets
a new sampler, seeded by the study's seed and the candidate's number, so its memory is the study.
`Repeatable` wraps it so that a candidate that a crash cut short is drawn again as it was.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import optuna
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas.errors import UserError, unknown
from nas.protocol.rungs import LadderConfig
from nas.resources import own_class
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.jozefowicz import Jozefowicz
from nas.samplers.lexicase import Lexicase
from nas.samplers.propose import Proposer, RandomWalk
from nas.samplers.quasi import QuasiRandom
from nas.samplers.regularized import Regularized
from nas.samplers.tpe import BoundedTPE
from nas.spaces.base import Space


def _tpe(seed: int) -> BaseSampler:
    # Grouped, since a choice may exist only where another has a certain value; and trials in flight
    # are taken into account, so that several candidates at once differ.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `group`
        return BoundedTPE(seed=seed, multivariate=True, group=True, constant_liar=True)


def _qmc(seed: int) -> BaseSampler:
    # Every candidate has a fresh, seeded sampler, which the first warning advises; categorical
    # choices, which quasi-random points do not cover, are drawn independently.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return QuasiRandom(
            seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False
        )


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "qmc": _qmc,
}
"""Optuna's own samplers: makers from a seed."""

PROPOSERS: dict[str, type[Proposer]] = {
    "random": RandomWalk,
    "jozefowicz": Jozefowicz,
    "regularized": Regularized,
    "lexicase": Lexicase,
}
"""Samplers that draw whole cells, and draw again if the study knows the cell."""

NAMES = (*SAMPLERS, *PROPOSERS)
DEFAULT_EVOLUTION = EvolutionConfig()


def find_sampler(
    name: str,
    space: Space,
    config: EvolutionConfig = DEFAULT_EVOLUTION,
    n_turns: int = 1,
    ladder: LadderConfig | None = None,
) -> Callable[[int], BaseSampler]:
    """The maker of a sampler from a seed: a name of the tables, or module:Class.

    `n_turns` is the most visits that the protocol makes to one cell, each on fresh settings; with a
    `ladder`, each at the next rung.

    Raises:
        UserError: if there is none, with the nearest name, or if it does not go with the space or
            the ladder.
    """
    if name in (*SAMPLERS, "jozefowicz"):
        _check_climbs(name, ladder)
    if name in SAMPLERS:
        _check_draws_whole_cells(name, space)
        return SAMPLERS[name]
    if name in PROPOSERS:
        return partial(PROPOSERS[name], space=space, config=config, n_turns=n_turns, ladder=ladder)
    if ":" not in name:
        raise UserError(unknown("sampler", name, NAMES) + " Or module:Class of your own.")
    maker = own_class("sampler", name, "an optuna BaseSampler")
    if isinstance(maker, type) and issubclass(maker, Proposer):
        return partial(maker, space=space, config=config, n_turns=n_turns, ladder=ladder)
    _check_draws_whole_cells(name, space)
    _check_climbs(name, ladder)
    try:
        made = maker(seed=0)
    except TypeError as error:
        made_by = name.partition(":")[2]
        raise UserError(f'sampler "{name}" must be made by {made_by}(seed=…): {error}.') from None
    if not isinstance(made, BaseSampler):
        raise UserError(f'sampler "{name}" must make an optuna BaseSampler, got {type(made)}.')
    return lambda seed: maker(seed=seed)


def _check_draws_whole_cells(name: str, space: Space) -> None:
    """Refuse a sampler that is no Proposer where a point cannot be made choice by choice."""
    if not space.by_choice:
        raise UserError(
            f'sampler "{name}" draws each choice by itself, but the choices of space {space.name} '
            f"name parents: choose one of {', '.join(PROPOSERS)}, or a Proposer of your own."
        )


def _check_climbs(name: str, ladder: LadderConfig | None) -> None:
    """Refuse on a ladder a sampler that has no cell climb: Optuna's, and jozefowicz, which visits
    cells again for its own ends."""
    if ladder:
        known = ", ".join(name for name in PROPOSERS if name != "jozefowicz")
        raise UserError(
            f"sampler {name} has no cell climb a ladder: choose one of {known}, a Proposer of your "
            "own, or another --protocol."
        )


def check_front(name: str, n_objectives: int) -> None:
    """Refuse a sampler that knows one number of a cell where there are several objectives.

    Raises:
        UserError: naming the others.
    """
    if n_objectives > 1 and name == "jozefowicz":
        known = ", ".join(other for other in NAMES if other != name)
        raise UserError(
            f"sampler {name} keeps a list of cells by one score and knows no front: choose one of "
            f"{known}, or --objectives score."
        )


def sampler_seed(*parts: object) -> int:
    """A seed from the study's seed, the candidate's number and, for one choice, its name."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4])


class Repeatable(BaseSampler):
    """Draws candidate `number` of a study, the same however often the trial begins.

    Optuna stores each choice at once. If the coordinator dies between two of them, the second must
    not depend on how many random numbers the first took, so each choice that is drawn by itself has
    a seed of its own.
    """

    def __init__(self, make: Callable[[int], BaseSampler], study_seed: int, number: int) -> None:
        self._make, self._seeds = make, (study_seed, number)
        self._sampler = make(sampler_seed(*self._seeds))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        sampler = self._make(sampler_seed(*self._seeds, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)
