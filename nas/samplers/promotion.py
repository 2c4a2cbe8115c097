"""Which cell of a ladder goes on to the next rung: asynchronous successive halving.

One in `eta` of the cells of a rung is promoted as soon as the rung has judged enough of them (Li et
al. 2020, arXiv:1810.05934). Promotions take turns among the tasks and the geometric mean over all
of them, so that a cell which is good at one task alone may climb too. They follow from the trials
before alone, whatever the timing of the workers.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from nas.protocol.judgement import geometric_mean
from nas.protocol.rungs import LadderConfig

Ratios = Mapping[str, float]


def ratios_by_rung(trials: Sequence[FrozenTrial]) -> dict[Any, dict[int, Ratios]]:
    """The ratios to the GRU, by task, of each cell at each rung that it was judged at, by key;
    without a ladder all are at rung 0. Cells that have none are left out."""
    found: dict[Any, dict[int, Ratios]] = {}
    for trial in trials:
        judgement = trial.user_attrs.get("judgement")
        if trial.state != TrialState.COMPLETE or not judgement:
            continue
        rungs = {rung["rung"]: rung["ratios"] for rung in judgement.get("rungs", ())}
        if own := rungs or ({0: judgement["ratios"]} if judgement.get("ratios") else {}):
            found.setdefault(trial.user_attrs.get("key"), {}).update(own)
    return found


def promoted(trials: Sequence[FrozenTrial], ladder: LadderConfig) -> FrozenTrial | None:
    """The last trial of the cell that is due at its next rung, the highest rung first; None if
    none is. `trials` are those before the one to draw, oldest first."""
    drawn = [trial for trial in trials if trial.user_attrs.get("kind") == "drawn"]
    ratios = ratios_by_rung(drawn)
    for rung in reversed(range(len(ladder) - 1)):
        there = [t for t in drawn if t.user_attrs.get("turn", 0) == rung]
        judged = [t for t in there if rung in ratios.get(t.user_attrs.get("key"), ())]
        above = [t.user_attrs.get("key") for t in drawn if t.user_attrs.get("turn", 0) == rung + 1]
        is_open = len(judged) >= ladder.least and len(above) < len(judged) // ladder.eta
        if is_open and (due := _due(judged, above, rung, ratios, ladder.eta)):
            return due
    return None


def _due(
    judged: Sequence[FrozenTrial],
    above: Sequence[Any],
    rung: int,
    ratios: Mapping[Any, Mapping[int, Ratios]],
    eta: int,
) -> FrozenTrial | None:
    """The best cell that did not climb yet, if it is among the best 1/eta of a rung by the measure
    whose turn it is, or else by one of the following."""
    own = {t.number: ratios[t.user_attrs.get("key")][rung] for t in judged}
    measures: list[Callable[[Ratios], float]] = [geometric_mean]
    measures += [itemgetter(task) for task in next(iter(own.values()))]
    for shift in range(len(measures)):
        measure = measures[(len(above) + shift) % len(measures)]
        ranked = sorted(judged, key=lambda t: (-measure(own[t.number]), t.number))
        for trial in ranked[: len(judged) // eta]:
            if trial.user_attrs.get("key") not in above:
                return trial
    return None
