"""The savings of a search's shortcuts, and their errors.

A first look can be trusted if it ranks candidates as the end of training does. Both ranks are known
of candidates that were not cut, which are the better ones, and of audited candidates, which are a
fair sample (`Asking.is_audited`): among these are some that the look would have rejected wrongly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from nas.protocol.evaluation import Outcome
from nas.protocol.judgement import Judgement, Reference
from nas.protocol.staged import Staged
from nas.study.visit import Visit
from nas.tasks.base import Task


@dataclass(frozen=True)
class LookReport:
    """Counts of the first look at one task, and its agreement with the end of training."""

    task: str
    n_cut: int
    """Candidates that it rejected."""
    n_whole: int
    """Candidates that were looked at and trained to the end."""
    rank_correlation: float | None
    """Spearman's, of the metric at the look and at the end, over those; None for fewer than 3."""
    n_audited: int
    """How many of those were audited."""
    n_doubted: int
    """Audited ones that the look would have rejected."""
    n_wrong: int
    """How many of these passed the task in the end."""


@dataclass(frozen=True)
class VetoReport:
    """Counts of the veto."""

    n_runs: int
    """Training runs that were not begun."""
    n_noted: int
    """Runs of audited candidates that it would have stopped."""
    n_wrong: int
    """How many of these have a metric that passes the filter or, against the GRU's, the task."""


@dataclass(frozen=True)
class Savings:
    """FLOPs of training, and those that shortcuts saved, at most."""

    flops: float
    saved_flops: float


def looks(protocol: Staged, visits: Iterable[Visit]) -> list[LookReport]:
    """A report for each task that is looked at, of first visits of drawn candidates."""
    judged = [v for v in visits if v.judgement is not None]
    reference = _reference(judged)
    if reference is None:
        return []
    drawn = [v for v in judged if v.kind == "drawn" and not v.turn]
    return [
        _look(protocol, task, reference, drawn)
        for task in protocol.tasks
        if protocol.look_epoch(task) and task.name in reference.looks
    ]


def _reference(visits: Sequence[Visit]) -> Reference | None:
    """The reference of the first given cell, the GRU."""
    first = next((v for v in visits if v.kind == "given" and v.judgement), None)
    return Reference.of(first.judgement) if first and first.judgement else None


def _look(protocol: Staged, task: Task, reference: Reference, drawn: Sequence[Visit]) -> LookReport:
    n_cut, whole = 0, []
    for visit in drawn:
        judgement = visit.judgement
        assert judgement is not None
        if judgement.cut and judgement.stage == task.name:
            n_cut += 1
        elif task.name in judgement.looks and judgement.best.get(task.name) is not None:
            whole.append((visit.key, judgement))
    bar = task.metric.at_ratio(protocol.config.first_look_ratio, reference.looks[task.name])
    audited = [judgement for key, judgement in whole if protocol.is_audited(key)]
    doubted = [j for j in audited if task.metric.better(bar, j.looks[task.name])]
    passed = [j for j in doubted if j.ratios[task.name] >= protocol.config.pass_ratio]
    correlation = _rank_correlation(task, [judgement for _, judgement in whole])
    counts = (len(audited), len(doubted), len(passed))
    return LookReport(task.name, n_cut, len(whole), correlation, *counts)


def _rank_correlation(task: Task, judgements: Sequence[Judgement]) -> float | None:
    early = [judgement.looks[task.name] for judgement in judgements]
    late = [judgement.best[task.name] for judgement in judgements]
    if len(set(early)) < 2 or len(set(late)) < 2 or len(early) < 3:
        return None
    return float(spearmanr(early, late).statistic)


def vetoes(protocol: Staged, visits: Iterable[Visit]) -> VetoReport | None:
    """A report on the veto of all candidates; None where the protocol has none."""
    if not protocol.config.veto:
        return None
    visits = list(visits)
    reference = _reference(visits)
    n_runs = n_noted = n_wrong = 0
    for visit in visits:
        n_runs += sum(s.statuses.get("vetoed", 0) for s in visit.summaries())
        if visit.kind == "given" or not protocol.is_audited(visit.key):
            continue
        for evaluated in visit.evaluated.values():
            doubted = [outcome for outcome in evaluated.outcomes if outcome.doubt]
            n_noted += len(doubted)
            n_wrong += sum(_passes(protocol, evaluated.task, o, reference) for o in doubted)
    return VetoReport(n_runs, n_noted, n_wrong)


def _passes(protocol: Staged, name: str, outcome: Outcome, reference: Reference | None) -> bool:
    if outcome.best is None:
        return False
    if protocol.filter is not None and name == protocol.filter.name:
        return outcome.best >= protocol.config.filter_accuracy
    task = next((task for task in protocol.tasks if task.name == name), None)
    if task is None or reference is None:
        return False
    ratio = task.metric.ratio(outcome.best, reference.best[name])
    return ratio >= protocol.config.pass_ratio


def savings(visits: Iterable[Visit]) -> Savings:
    """The savings of all runs."""
    summaries = [summary for visit in visits for summary in visit.all_summaries()]
    return Savings(sum(s.flops for s in summaries), sum(s.saved_flops for s in summaries))


def lines(protocol: Staged, visits: Sequence[Visit]) -> list[str]:
    """The reports as lines of text; none where no shortcut was taken."""
    result = []
    for look in looks(protocol, visits):
        known = "too few to tell how it agrees with the end of training"
        if look.rank_correlation is not None:
            known = (
                f"rank correlation with the end of training {look.rank_correlation:.2f} over "
                f"{look.n_whole:,} candidates that were not cut"
            )
        result.append(
            f"first look at {look.task}: {look.n_cut:,} candidates cut; {known}; "
            f"{_audit(look.n_audited, 'candidates', look.n_doubted, look.n_wrong)}"
        )
    veto = vetoes(protocol, visits)
    if veto is not None:
        audit = _audit(None, "candidates' runs", veto.n_noted, veto.n_wrong)
        result.append(f"veto: {veto.n_runs:,} runs not begun; {audit}")
    spent = savings(visits)
    if spent.saved_flops:
        share = spent.saved_flops / (spent.saved_flops + spent.flops)
        result.append(
            f"shortcuts saved {spent.saved_flops:.2g} FLOPs at most, {share:.0%} of what training "
            "would have taken without them"
        )
    return result


def _audit(n_audited: int | None, what: str, n_doubted: int, n_wrong: int) -> str:
    """How many of the audited a shortcut would have ended; None: their number is not known."""
    of = "" if n_audited is None else f"{n_audited:,} "
    wrongly = f", {n_wrong:,} of them wrongly" if n_doubted else ""
    return f"of {of}audited {what} it would have ended {n_doubted:,}{wrongly}"
