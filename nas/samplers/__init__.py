"""How candidates are drawn: Optuna's samplers by name, or a class of one's own by its import path.

To add one, write a file here with a `BaseSampler` and a line in the table. A sampler is made anew for
every candidate, seeded by the study's seed and the candidate's number: its memory is the study.
"""

import hashlib
import importlib
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler

from nas.errors import UserError, unknown


def _tpe(seed: int) -> BaseSampler:
    # Grouped, since a choice may exist only where another has a certain value; and trials in flight
    # are taken into account, so that several candidates at once differ.
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True, constant_liar=True, warn_independent_sampling=False
    )


def _gp(seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(
        seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False
    ),
    "gp": _gp,
}


def find_sampler(name: str) -> Callable[[int], BaseSampler]:
    """The maker of a sampler from a seed: a name of the table, or module:Class.

    Raises:
        UserError: if there is none, with the nearest name.
    """
    if name in SAMPLERS:
        return SAMPLERS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise UserError(unknown("sampler", name, SAMPLERS) + " Or module:Class of your own.")
    try:
        maker = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f'sampler "{name}" cannot be imported: {error}.') from None
    return lambda seed: _checked(name, maker(seed=seed))


def _checked(name: str, sampler: object) -> BaseSampler:
    if not isinstance(sampler, BaseSampler):
        raise UserError(f'sampler "{name}" must make an optuna BaseSampler, got {type(sampler)}.')
    return sampler


def sampler_seed(study_seed: int, number: int) -> int:
    """The seed of the sampler that draws candidate `number`."""
    digest = hashlib.sha256(f"{study_seed} {number}".encode()).digest()
    return int.from_bytes(digest[:4])
