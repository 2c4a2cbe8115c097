"""The best score so far against what it cost, by four measures of cost."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from nas.report.facts import Facts

AXES = {
    "candidates": "candidates judged",
    "runs": "training runs",
    "flops": "FLOPs in training",
    "hours": "hours in training, summed over workers",
}
"""Measures of cost; that of given cells is counted, since a search begins with them."""


@dataclass(frozen=True)
class Moment:
    """What was spent when a candidate had been judged, in trial order."""

    candidates: int
    runs: int
    flops: float
    hours: float
    best: float | None
    """The best score of a candidate so far; None before the first is accepted."""


@dataclass(frozen=True)
class Arm:
    """One study in the race."""

    study: str
    sampler: str
    moments: tuple[Moment, ...]

    @property
    def label(self) -> str:
        return f"{self.study} ({self.sampler})"

    def best_at(self, axis: str, budget: float) -> float | None:
        """The best score once so much was spent."""
        costs = [float(getattr(moment, axis)) for moment in self.moments]
        place = bisect.bisect_right(costs, budget)
        return self.moments[place - 1].best if place else None

    def total(self, axis: str) -> float:
        return float(getattr(self.moments[-1], axis)) if self.moments else 0.0


def arm_of(facts: Facts) -> Arm:
    """The arm of a study. A cell that was tried on further settings counts with its new score."""
    scores: dict[str, float] = {}
    moments: list[Moment] = []
    runs, flops, seconds, best = 0, 0.0, 0.0, None
    for visit in sorted(facts.visits, key=lambda visit: (visit.kind == "drawn", visit.number)):
        runs += sum(one.n_runs for one in visit.all_summaries())
        flops += sum(one.flops for one in visit.all_summaries())
        seconds += sum(one.wall_s for one in visit.all_summaries())
        if visit.kind == "given" or visit.judgement is None:
            continue
        if visit.judgement.score is not None and visit.key not in facts.baselines:
            scores[visit.key] = visit.judgement.score
            best = max(scores.values())
        spent = (len(moments) + 1, runs, flops, seconds / 3600)
        moments.append(Moment(*spent, best))
    return Arm(facts.name, facts.config.sampler, tuple(moments))


@dataclass(frozen=True)
class Tie:
    """The arms at the largest cost that all of them reached."""

    axis: str
    budget: float
    best: tuple[float | None, ...]


def ties(arms: Sequence[Arm]) -> list[Tie]:
    """One for each measure of cost."""
    found = []
    for axis in AXES:
        budget = min(arm.total(axis) for arm in arms)
        found.append(Tie(axis, budget, tuple(arm.best_at(axis, budget) for arm in arms)))
    return found


def differences(facts: Facts, other: Facts) -> list[str]:
    """The parts of two studies' definitions that differ, sampler and its fields aside."""
    mine, theirs = (dict(one.seen.study.attrs.get("definition", {})) for one in (facts, other))
    names = [name for name in (*mine, *theirs) if name not in ("sampler", "evolution")]
    return [name for name in dict.fromkeys(names) if mine.get(name) != theirs.get(name)]
