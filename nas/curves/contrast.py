"""How far chosen cells are above all others on a task: whether it tells the two kinds apart.

A search for gates can only find them on tasks on which cells with gates are far above every cell
without one, at the size and budget at which it looks. Both endpoints are told, how fast a cell
learns and where it ends, as shares of the way from blind guessing to perfect
(`nas.protocol.statistic`), so that tasks can be compared with one another.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nas.cell.cell import Cell
from nas.curves.store import Finished
from nas.errors import UserError, joined
from nas.protocol.evaluation import Evaluation
from nas.protocol.statistic import FAST, Statistic, planned_epochs, share, value_of
from nas.tasks.base import Task


@dataclass(frozen=True)
class Lead:
    """By how much the best of the chosen cells leads the best of all others, by one statistic."""

    chosen: str
    """The best of the chosen cells, by the mean over seeds."""
    chosen_share: float
    """Its mean share of the way from blind guessing, 0, to perfect, 1."""
    other: str
    other_share: float
    by_seed: tuple[float, ...]
    """The difference of their shares, seed by seed."""

    @property
    def difference(self) -> float:
        return self.chosen_share - self.other_share


@dataclass(frozen=True)
class Contrast:
    """The leads on one task."""

    learning: Lead
    """Of the shares after each epoch, the mean over epochs and settings: how fast a cell learns."""
    ending: Lead
    """Of the best epoch of the best setting: where it ends."""


def chosen_of(cells: Sequence[Cell], chosen: Sequence[Cell]) -> frozenset[str]:
    """Return the keys of the chosen cells.

    Raises:
        UserError: unless each of them is among the cells, and another cell too.
    """
    keys, wanted = {cell.key for cell in cells}, {cell.key for cell in chosen}
    absent = [cell.name for cell in chosen if cell.key not in keys]
    known = ", ".join(cell.name for cell in cells)
    if absent:
        raise UserError(f"contrast names some of cells ({known}), got {joined(absent)}.")
    if wanted == keys:
        raise UserError(f"contrast needs cells beside those that it names, got all ({known}).")
    return frozenset(wanted)


def contrasts(
    asked: Sequence[Evaluation],
    names: Mapping[str, str],
    kept: Mapping[str, Finished],
    chosen: Collection[str],
) -> dict[str, Contrast]:
    """Return the contrast of each task of which all evaluations are finished, by its name.

    `names` are the cells' names by key, `kept` has the finished evaluations by digest, and `chosen`
    are the keys of the chosen cells.
    """
    tasks = {evaluation.task.name: evaluation.task for evaluation in asked}
    found = {}
    for name, task in tasks.items():
        own = [evaluation for evaluation in asked if evaluation.task.name == name]
        if chosen and all(evaluation.digest() in kept for evaluation in own):
            leads = [_lead(task, own, names, kept, chosen, of) for of in (FAST, Statistic())]
            found[name] = Contrast(*leads)
    return found


def _lead(
    task: Task,
    asked: Sequence[Evaluation],
    names: Mapping[str, str],
    kept: Mapping[str, Finished],
    chosen: Collection[str],
    statistic: Statistic,
) -> Lead:
    shares: dict[str, list[float]] = {}
    for evaluation in asked:
        outcomes = kept[evaluation.digest()].evaluated.outcomes
        value = value_of(task, outcomes, statistic, planned_epochs(task))
        of_seed = 0.0 if value is None else share(task, value)
        shares.setdefault(evaluation.key, []).append(of_seed)
    means = {key: statistics.fmean(of_seeds) for key, of_seeds in shares.items()}
    ours = max((key for key in means if key in chosen), key=means.__getitem__)
    theirs = max((key for key in means if key not in chosen), key=means.__getitem__)
    pairs = zip(shares[ours], shares[theirs], strict=True)
    by_seed = tuple(one - other for one, other in pairs)
    return Lead(names[ours], means[ours], names[theirs], means[theirs], by_seed)
