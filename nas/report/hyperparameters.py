"""What settings do to the metric, over all training runs of a task: importances and marginals.

After Greff et al. 2015, arXiv:1503.04069, section 5: functional ANOVA (Hutter et al. 2014) says how
much of the variance that settings explain is due to each alone, and marginals show the metric at
each of its values. Optuna computes the first on a study in memory, made from the runs.
"""

import dataclasses
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.nn.settings import Settings
from nas.report.facts import Facts, Run
from nas.tasks.base import Task

FEWEST = 20
"""Finished runs below which nothing is said of importances."""
MOST = 10_000
"""Runs that the forest is grown from; of more, so many are drawn at random."""
N_TREES = 64
ENDED_EARLY = ("cut", "vetoed")
"""Statuses of runs whose metric is not that of the end of training."""


@dataclass(frozen=True)
class Marginal:
    """The metric at one value of a hyperparameter."""

    name: str
    value: float
    n: int
    """Runs with a metric."""
    n_without: int
    """Runs that gave none, as they diverged or failed."""
    quartiles: tuple[float, float, float]
    """NaN without a run."""
    values: tuple[float, ...]


@dataclass(frozen=True)
class Effects:
    """What is known of the settings of one task."""

    task: Task
    n: int
    """Runs with a metric."""
    n_early: int
    """Runs that were cut or vetoed, which are left out."""
    marginals: dict[str, tuple[Marginal, ...]]
    """By hyperparameter that has more than one value."""
    importances: dict[str, float]
    """Shares that add up to 1, the largest first; empty if there are too few runs."""
    between_cells: float
    """Share of the metric's variance that lies between cells, the rest being that of the same
    cell's settings; NaN where there is no variance."""


def effects(facts: Facts) -> list[Effects]:
    """Of each task of the score; the filter is tried on one setting."""
    return [effects_of(task, facts.runs_of(task.name)) for task in facts.protocol.tasks]


def effects_of(task: Task, runs: Sequence[Run]) -> Effects:
    """Of one task, from its runs."""
    whole = [run for run in runs if run.outcome.status not in ENDED_EARLY]
    finished = [run for run in whole if run.outcome.best is not None]
    names = varied(whole)
    return Effects(
        task,
        len(finished),
        len(runs) - len(whole),
        {name: _marginals(name, whole) for name in names},
        importances(finished, names) if len(finished) >= FEWEST else {},
        _between_cells(finished),
    )


def varied(runs: Sequence[Run]) -> list[str]:
    """Numeric hyperparameters of which the runs have more than one value."""
    names = [one.name for one in dataclasses.fields(Settings) if one.name != "optimizer"]
    return [name for name in names if len({getattr(run.settings, name) for run in runs}) > 1]


def _marginals(name: str, runs: Sequence[Run]) -> tuple[Marginal, ...]:
    found = []
    for value in sorted({getattr(run.settings, name) for run in runs}):
        outcomes = [run.outcome for run in runs if getattr(run.settings, name) == value]
        known = tuple(one.best for one in outcomes if one.best is not None)
        low, middle, high = np.quantile(known, (0.25, 0.5, 0.75)) if known else (np.nan,) * 3
        quartiles = float(low), float(middle), float(high)
        found.append(
            Marginal(name, value, len(known), len(outcomes) - len(known), quartiles, known)
        )
    return tuple(found)


def importances(runs: Sequence[Run], names: Sequence[str]) -> dict[str, float]:
    """Shares of the variance, by functional ANOVA on a forest; empty where nothing varies.

    Values are categories, so that each value of the grid counts as much as another: settings are
    drawn from the grid, not from the numbers between.
    """
    if len(runs) > MOST:
        runs = random.Random(0).sample(runs, MOST)
    names = [name for name in names if name in varied(runs)]
    if not names or len({run.outcome.best for run in runs}) < 2:
        return {}
    import optuna

    spaces: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(
            sorted({getattr(run.settings, name) for run in runs})
        )
        for name in names
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study()
        study.add_trials(
            [
                optuna.create_trial(
                    params={name: getattr(run.settings, name) for name in names},
                    distributions=spaces,
                    value=run.outcome.best,
                )
                for run in runs
            ]
        )
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=N_TREES, seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    optuna.logging.set_verbosity(verbosity)
    return {name: float(share) for name, share in found.items()}


def _between_cells(runs: Sequence[Run]) -> float:
    groups: dict[str, list[float]] = {}
    for run in runs:
        assert run.outcome.best is not None
        groups.setdefault(run.key, []).append(run.outcome.best)
    if not groups:
        return float("nan")
    values = np.concatenate([np.asarray(one) for one in groups.values()])
    total = float(((values - values.mean()) ** 2).sum())
    between = sum(len(one) * (np.mean(one) - values.mean()) ** 2 for one in groups.values())
    return float(between) / total if total else float("nan")
