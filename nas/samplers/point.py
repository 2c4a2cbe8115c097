"""A sampler that draws one given point, by which cells that the user names enter a study."""

from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial


class PointSampler(RandomSampler):
    """Answers every suggestion with the value of `params`; like random values, each by itself.

    Unlike Optuna's `enqueue_trial` it leaves nothing behind if the coordinator dies before the
    trial is begun.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.params = dict(params)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.params[param_name]
