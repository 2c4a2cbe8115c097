"""Why candidates were rejected: one by one, counted by reason, and those that ended their workers.

`nas/protocol/staged.py` decides; here it is put into words, for the live lines of a search,
`nas.status` and the report.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.protocol.judgement import CONSTRAINTS

if TYPE_CHECKING:  # it imports Optuna, and a wrong name is to be told at once
    from nas.study.visit import Visit

FAILURES = ("crashed", "failed", "out of memory", "timed out", "diverged", "vetoed")
"""Statuses of a training run, worst first."""

MOST_NAMED = 5

LONGEST_REASON = 160


def describe(visit: "Visit") -> str:
    """A judged visit in one line."""
    judgement = visit.judgement
    assert judgement is not None
    ratios = ", ".join(f"{task} {ratio:.3f}" for task, ratio in judgement.ratios.items())
    is_again = visit.turn > 0 and not judgement.rungs
    name = f"{visit.name} on fresh settings" if is_again else visit.name
    if judgement.broken and judgement.score is None:
        return f"{name}: not trained, {broken_by(judgement.broken)}"
    if judgement.set_aside:
        return f"{name}: set aside at {judgement.stage} ({judgement.set_aside})"
    if judgement.score is not None:
        return f"{name}: score {judgement.score:.3f} ({ratios})"
    if judgement.waits:
        return f"{name}: {judgement.stage}, {judgement.rungs[-1].mean:.3f} of the GRU ({ratios})"
    if judgement.stage in judgement.ratios:
        where = "a first look at " if judgement.cut else ""
        return f"{name}: rejected at {where}{judgement.stage} ({ratios})"
    value = judgement.best.get(judgement.stage)
    got = "no finite metric" if value is None else f"{value:.3f}"
    return f"{name}: rejected at {judgement.stage} ({got})"


def standings(visits: "Sequence[Visit]") -> str:
    """How many candidates were scored, and where the others were rejected, at their first visits;
    on a ladder, how many stand at which rung by now."""
    drawn = [visit for visit in visits if visit.kind == "drawn" and visit.judgement]
    is_ladder = any(visit.judgement and visit.judgement.rungs for visit in drawn)
    now = {visit.key: visit for visit in drawn}.values()
    counted = now if is_ladder else [visit for visit in drawn if not visit.turn]
    judgements = [visit.judgement for visit in counted if visit.judgement]
    kept = [j for j in judgements if not j.set_aside and j.stage != CONSTRAINTS]
    scored = sum(judgement.stage == "scored" for judgement in kept)
    waiting = Counter(judgement.stage for judgement in kept if judgement.waits)
    rejected = Counter(
        judgement.stage for judgement in kept if judgement.score is None and not judgement.waits
    )
    parts = [f"{scored:,} scored"]
    parts += [f"{waiting[stage]:,} at {stage}" for stage in sorted(waiting, reverse=True)]
    parts += [f"{count:,} rejected at {stage}" for stage, count in rejected.items()]
    if aside := sum(bool(judgement.set_aside) for judgement in judgements):
        parts.append(f"{aside:,} set aside")
    broken = Counter(text for judgement in judgements for text in judgement.broken)
    if broken:
        each = ", ".join(f"{count:,} {text}" for text, count in broken.items())
        untrained = sum(judgement.stage == CONSTRAINTS for judgement in judgements)
        parts.append(f"{untrained:,} not trained, which break constraints ({each})")
    return ", ".join(parts)


def broken_by(broken: Mapping[str, float]) -> str:
    """The constraints that a cell breaks, with its sizes."""
    each = (f"{text} (it has {value:,.15g})" for text, value in broken.items())
    return f"it breaks {', '.join(each)}"


def shortened(text: str) -> str:
    """A text in one line of at most `LONGEST_REASON` characters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def set_aside(visits: "Sequence[Visit | None]") -> Iterator[str]:
    """The candidates that are never tried again, with the reason of each; nothing if none is."""
    last = {v.key: v for v in visits if v and v.judgement and v.judgement.set_aside}
    if not last:
        return
    some = "1 candidate was" if len(last) == 1 else f"{len(last):,} candidates were"
    yield f"{some} set aside, because each try ended a worker; they are not tried again:"
    for visit in list(last.values())[:MOST_NAMED]:
        assert visit.judgement is not None
        yield f"  {visit.name} on {visit.judgement.stage}: {shortened(visit.judgement.set_aside)}"
    if len(last) > MOST_NAMED:
        yield f"  and {len(last) - MOST_NAMED:,} more"


@dataclass(frozen=True)
class Reason:
    """A reason for which candidates were rejected."""

    text: str
    visits: "Sequence[Visit]"
    """The visits that ended so, the newest last."""

    def named(self, most: int = MOST_NAMED) -> str:
        """The names of the newest candidates, the newest first."""
        names = list(dict.fromkeys(visit.name for visit in reversed(self.visits)))
        return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def reasons(drawn: "Sequence[Visit]") -> list[Reason]:
    """The reasons for which judged candidates were rejected, with the message of one of them where
    a run failed; worst first, and of equals the most frequent. One that breaks several constraints
    is counted with each."""
    found: dict[tuple[int, str], list[Visit]] = defaultdict(list)
    for visit in drawn:
        judgement = visit.judgement
        if judgement is not None and judgement.score is None and not judgement.waits:
            for constraint in judgement.broken:
                found[len(FAILURES) + 1, f"breaks {constraint}"].append(visit)
            if not judgement.broken:
                found[_reason(visit)].append(visit)
    order = sorted(found, key=lambda key: (key[0], -len(found[key]), key))
    return [
        Reason(text + _message(rank, found[rank, text][-1]), found[rank, text])
        for rank, text in order
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
    counts: Counter[str] = Counter()
    for summary in visit.summaries():
        if summary.task == stage:
            counts.update(summary.statuses)
    return counts


def _message(rank: int, visit: "Visit") -> str:
    """The message of the first failed run of the stage that rejected a candidate, if one failed."""
    assert visit.judgement is not None
    for evaluated in visit.evaluated.values() if rank < len(FAILURES) else ():
        for outcome in evaluated.outcomes if evaluated.task == visit.judgement.stage else ():
            if outcome.message:
                return f" ({visit.name}: {shortened(outcome.message)})"
    return ""
