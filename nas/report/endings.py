"""How training runs and candidates ended, what was known already, and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.report.facts import Facts
from nas.study.leaderboard import shortened

if TYPE_CHECKING:
    from nas.study.visit import Visit

MEANINGS = {
    "ok": "trained to its end",
    "cut": "ended early, since others were preferred to it at a first look or a rung",
    "vetoed": "not begun, since the cell is dead or explodes at its initialisation",
    "diverged": "the loss or a gradient was not finite",
    "failed": "an error in training",
    "crashed": "its worker died each time that it was tried",
    "out of memory": "it needed more memory than there is",
    "timed out": "it took longer than the limit",
}
"""What each status of a training run says."""


@dataclass(frozen=True)
class Stage:
    """A step of the funnel."""

    name: str
    reached: int
    """Candidates that came so far."""
    rejected: int
    """Of these, those that ended here."""
    cut: int
    """Of these, those that ended at a first look."""
    aside: int
    """Of the rejected, those that were set aside because they ended their workers."""


@dataclass(frozen=True)
class Cached:
    """What was not trained because it was known."""

    n_visits: int
    """Visits of candidates."""
    n_cells: int
    """Different cells among them."""
    n_again: int
    """Visits that were asked for to try a known cell on further settings."""
    n_redrawn: int
    """Draws of the sampler that were known already and were drawn again."""
    n_answered: int
    """Visits of a known cell that were answered from what is stored."""


def funnel(facts: Facts) -> list[Stage]:
    """The stages in order, of judged candidates at their first visits; the last is "scored"."""
    judged = [v.judgement for v in facts.drawn if v.judgement and not v.turn]
    left, found = len(judged), []
    for name in [task.name for task in facts.tasks]:
        ended = [one for one in judged if one.stage == name]
        cut, aside = sum(one.cut for one in ended), sum(bool(one.set_aside) for one in ended)
        found.append(Stage(name, left, len(ended), cut, aside))
        left -= len(ended)
    return [*found, Stage("scored", left, 0, 0, 0)]


def statuses(facts: Facts) -> dict[str, Counter[str]]:
    """How many runs of each task ended how."""
    found: dict[str, Counter[str]] = {task.name: Counter() for task in facts.tasks}
    for run in facts.runs:
        found.setdefault(run.task, Counter())[run.outcome.status] += 1
    return found


def messages(facts: Facts) -> list[tuple[str, str, int, str]]:
    """What runs that did not end well said: status, message, how many, one of their cells."""
    names = {visit.key: visit.name for visit in facts.visits}
    found: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for run in facts.runs:
        status, message = run.outcome.status, _general(run.outcome.message)
        if status not in ("ok", "cut") and message:
            found[status, message] += 1
            examples.setdefault((status, message), names.get(run.key, run.key))
    return [(*one, count, examples[one]) for one, count in found.most_common()]


def _general(message: str) -> str:
    """Without the step, at which each run diverges for itself."""
    return shortened(message).partition(" at step ")[0]


def cached(facts: Facts) -> Cached:
    """Of all draws and visits of candidates."""
    drawn, seen, n_answered = facts.drawn, {v.key for v in facts.visits if v.kind == "given"}, 0
    for visit in drawn:
        n_answered += visit.key in seen and not visit.turn and _is_answered(visit)
        seen.add(visit.key)
    n_again = sum(visit.turn > 0 for visit in drawn)
    n_redrawn = sum(visit.n_draws - 1 for visit in drawn)
    return Cached(len(drawn), len({v.key for v in drawn}), n_again, n_redrawn, n_answered)


def _is_answered(visit: "Visit") -> bool:
    return visit.judgement is not None and not visit.all_summaries()


def set_aside(drawn: Sequence["Visit"]) -> list[str]:
    """The candidates that are never tried again."""
    from nas.study.leaderboard import set_aside as told

    return [line.strip() for line in told(drawn)]
