"""Optuna's quasi-random sampler, which draws a trial that a crash cut short again as it was."""

from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import QMCSampler
from optuna.trial import FrozenTrial


class QuasiRandom(QMCSampler):
    """Takes the point of the trial's number.

    Optuna counts points in the storage, so a trial that begins twice would take two.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._number = trial.number
        return super().sample_relative(study, trial, search_space)

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._number
