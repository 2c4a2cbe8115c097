"""Why candidates of a study were rejected or set aside, and how many runs were spent."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports Optuna, and a wrong name is to be told at once
    from nas.study.visit import Visit

MOST_NAMED = 5


LONGEST_REASON = 160


FAILURES = ("crashed", "failed", "out of memory", "timed out", "diverged", "vetoed")
"""Statuses of a training run, worst first."""


def shortened(text: str) -> str:
    """In one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def n_runs(visits: "Sequence[Visit | None]") -> int:
    """Training runs that a study has spent."""
    return sum(one.n_runs for visit in visits if visit for one in visit.all_summaries())


def set_aside(visits: "Sequence[Visit | None]") -> Iterator[str]:
    """The candidates that are never tried again, with the reason of each; nothing if none is."""
    found = {v.key: v for v in visits if v and v.judgement and v.judgement.set_aside}
    if not found:
        return
    some = "1 candidate was" if len(found) == 1 else f"{len(found):,} candidates were"
    yield f"{some} set aside, because each try ended a worker; they are not tried again:"
    for visit in list(found.values())[:MOST_NAMED]:
        assert visit.judgement is not None
        yield f"  {visit.name} on {visit.judgement.stage}: {shortened(visit.judgement.set_aside)}"
    if len(found) > MOST_NAMED:
        yield f"  and {len(found) - MOST_NAMED:,} more"


def reasons(drawn: "Sequence[Visit]") -> list[tuple[int, str]]:
    """How many judged candidates were rejected for each reason, with the message of one of them
    where a run failed; worst first."""
    found: Counter[tuple[int, str]] = Counter()
    examples: dict[tuple[int, str], Visit] = {}
    for visit in drawn:
        if visit.judgement is not None and visit.judgement.score is None:
            reason = _reason(visit)
            found[reason] += 1
            examples[reason] = visit
    order = sorted(found, key=lambda reason: (reason[0], -found[reason], reason))
    return [
        (found[one], one[1] + (_message(examples[one]) if one[0] < len(FAILURES) else ""))
        for one in order
    ]


def _reason(visit: "Visit") -> tuple[int, str]:
    """Its rank among reasons, 0 the worst, and the reason that a candidate was rejected."""
    judgement = visit.judgement
    assert judgement is not None
    stage = judgement.stage
    if judgement.best.get(stage) is None:
        statuses = _statuses(visit, stage)
        for rank, status in enumerate(FAILURES):
            if statuses[status]:
                return rank, f"no result on {stage}: runs {status}"
        return len(FAILURES), f"no result on {stage}"
    if stage in judgement.ratios:
        return len(FAILURES), f"too far behind the GRU on {stage}"
    return len(FAILURES), f"did not learn {stage}"


def _statuses(visit: "Visit", stage: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in visit.summaries():
        if one.task == stage:
            found.update(one.statuses)
    return found


def _message(visit: "Visit") -> str:
    """What the last such run said."""
    assert visit.judgement is not None
    for evaluated in visit.evaluated.values():
        for outcome in evaluated.outcomes if evaluated.task == visit.judgement.stage else ():
            if outcome.message:
                return f" ({visit.name}: {shortened(outcome.message)})"
    return ""
