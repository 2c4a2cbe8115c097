"""A sampler that draws one given point: how cells that the user names enter a study."""

from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial


class PointSampler(BaseSampler):
    """Answers every suggestion with the value of `params`.

    Unlike Optuna's `enqueue_trial` it leaves nothing behind if the coordinator dies before the
    trial is begun.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = dict(params)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.params[param_name]
