"""The cells of a search by rank, the verdict on the best, and why the others were rejected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from nas.protocol.requests import REFERENCE
from nas.tasks.resolution import ENOUGH, Resolution

if TYPE_CHECKING:  # it imports Optuna, and --help must not wait for that
    from nas.study.visit import Visit

BASELINES = (REFERENCE, "lstm")
"""Cells of the zoo that every study measures first."""
MOST_TIED = 5

Resolutions = Mapping[str, Resolution]
"""The resolution of each task's validation split, by the task's name."""
ALL_FINE: Resolutions = MappingProxyType({})
Places = Mapping[str, tuple[int, int]]
"""The interval of each cell's place, by its key, where the noise of a score is known."""
NO_PLACES: Places = MappingProxyType({})


@dataclass(frozen=True)
class Row:
    """One cell, visited once or more."""

    name: str
    key: str
    kind: str
    """"baseline", "included" or "candidate"."""
    score: float | None
    value: float
    ratios: dict[str, float]
    stage: str
    n_params: int
    """Parameters of its largest model."""
    seconds: float
    """Training time."""
    visit: "Visit"

    @property
    def rejected(self) -> bool:
        return self.score is None

    @property
    def may_win(self) -> bool:
        """Whether it has a score, is no baseline, and breaks no constraint."""
        judgement = self.visit.judgement
        is_broken = judgement is not None and bool(judgement.broken)
        return self.kind != "baseline" and not self.rejected and not is_broken


def leaderboard(visits: "Sequence[Visit]", baselines: Sequence[str]) -> list[Row]:
    """A row for each cell that was judged: scored ones by score, then rejected ones by how far they
    came. `baselines` are keys."""
    rows: dict[str, Row] = {}
    costs = _cost_by_key(visits)
    for visit in visits:
        known = rows.get(visit.key)
        # A cell may be rejected as a candidate and measured on everything once the user names it,
        # or visited again on further settings.
        fuller = known is not None and (
            (known.rejected and visit.kind == "given") or visit.turn > known.visit.turn
        )
        if visit.judgement is not None and (known is None or fuller):
            rows[visit.key] = _row(visit, baselines, *costs.get(visit.key, (0, 0.0)))
    return sorted(rows.values(), key=lambda r: (r.rejected, -(r.score or 0.0), -r.value, r.key))


def _cost_by_key(visits: "Sequence[Visit]") -> dict[str, tuple[int, float]]:
    """The parameters of each cell's largest model and its training time, over all visits."""
    costs: dict[str, tuple[int, float]] = {}
    for visit in visits:
        for summary in visit.summaries():
            n_params, wall_s = costs.get(visit.key, (0, 0.0))
            costs[visit.key] = max(n_params, summary.n_params), wall_s + summary.wall_s
    return costs


def kind_of(visit: "Visit", baselines: Sequence[str]) -> str:
    """Whether a cell is a "baseline", "included" by the user, or a "candidate"."""
    given = "baseline" if visit.key in baselines else "included"
    return given if visit.kind == "given" else "candidate"


def _row(visit: "Visit", baselines: Sequence[str], n_params: int, wall_s: float) -> Row:
    assert visit.judgement is not None
    return Row(
        visit.name,
        visit.key,
        kind_of(visit, baselines),
        visit.judgement.score,
        visit.judgement.value,
        visit.judgement.ratios,
        visit.judgement.stage,
        n_params,
        wall_s,
        visit,
    )


def winner(rows: Sequence[Row]) -> Row | None:
    """The best scored cell that is no baseline and breaks no constraint."""
    return next((row for row in rows if row.may_win), None)


def shown_ratio(
    row: Row, task: str, resolutions: Resolutions = ALL_FINE, *, narrow: bool = False
) -> str:
    """A cell's ratio to the GRU on a task, such as "1.016 (1 of 64 sequences)", or "1.016 (1 of
    64)" if it must be narrow, where the two are apart by a few examples; empty if it has none."""
    ratio = row.ratios.get(task)
    if ratio is None:
        return ""
    few = _few(row, task, resolutions)
    if narrow:
        few = " ".join(few.split()[:3])
    return f"{ratio:.3f} ({few})" if few else f"{ratio:.3f}"


def _few(row: Row, task: str, resolutions: Resolutions) -> str:
    """The few examples by which a cell and the GRU are apart on a task, or "tie"; else empty."""
    if _is_averaged(row):
        return ""
    value = _reached(row, task)
    if task not in resolutions or value is None or row.name == REFERENCE:
        return ""
    return resolutions[task].shown(value, row.ratios[task])


def _reached(row: Row, task: str) -> float | None:
    judgement = row.visit.judgement
    return judgement.best.get(task) if judgement else None


def _is_averaged(row: Row) -> bool:
    """Whether its ratios are of means or times, which are no counts of examples."""
    return bool(row.visit.judgement and row.visit.judgement.compared)


def _is_tied(row: Row, other: Row, resolutions: Resolutions) -> bool:
    """Whether two cells have the same metric on every task, as far as its examples can tell."""
    if _is_averaged(row):
        return False
    pairs = [(_reached(row, task), _reached(other, task), task) for task in other.ratios]
    return all(
        a is not None and b is not None and task in resolutions and resolutions[task].tied(a, b)
        for a, b, task in pairs
    )


def ranks(
    rows: Sequence[Row], resolutions: Resolutions = ALL_FINE, places: Places = NO_PLACES
) -> list[str]:
    """The rank of each row, such as "2", or "2=" for each of several scored cells that are tied,
    and "2 [1-4]" where noise leaves several places open."""
    firsts: list[int] = []
    for place, row in enumerate(rows):
        before = rows[place - 1] if place else row
        is_tied = place > 0 and not row.rejected and _is_tied(row, before, resolutions)
        firsts.append(firsts[-1] if is_tied else place)
    counts = Counter(firsts)
    shown = [f"{first + 1}{'=' if counts[first] > 1 else ''}" for first in firsts]
    return [rank + _open(places.get(row.key)) for rank, row in zip(shown, rows, strict=True)]


def _open(ends: tuple[int, int] | None) -> str:
    return "" if ends is None or ends[0] == ends[1] else f" [{ends[0]}-{ends[1]}]"


def verdict(
    rows: Sequence[Row],
    tried: str,
    resolutions: Resolutions = ALL_FINE,
    noise: float | None = None,
) -> str:
    """A sentence on whether anything beat the GRU on this budget, and further ones on its limits.

    `tried` says what was spent on a cell, such as "2 settings a task, 1 seed"; `resolutions` are
    those of the tasks: with them, ties and differences of few examples are told.
    `noise` is the difference of two scores below which it is noise, where that was measured.
    """
    best = winner(rows)
    budget = f"on this budget ({tried})"
    if best is None:
        return f"No candidate was scored, so none beat the GRU {budget}."
    assert best.score is not None
    # Ratios above 1 on all tasks are needed to be ahead: the closest decides, which is the score
    # unless that is a geometric mean.
    is_smallest = best.score == min(best.ratios.values())
    what = "its worst ratio over the tasks" if is_smallest else "the geometric mean of its ratios"
    closest = min(best.ratios, key=lambda task: best.ratios[task])
    few = _few(best, closest, resolutions)
    apart = f"by {few} on {closest}, where fewer than {ENOUGH} are no evidence"
    if few == "tie":
        first = f"No candidate beat the GRU {budget}: the best, {best.name}, ties with it, score "
    elif best.score > 1 and few:
        first = f"{best.name} is ahead of the GRU {budget}, {apart}: {what} is "
    elif best.score > 1 and noise is not None and best.score - 1 < noise:
        first = f"No candidate beat the GRU {budget}: the best, {best.name}, is ahead of it by "
        first += f"less than {noise:.2g}, which is noise: {what} is "
    elif best.score > 1:
        first = f"{best.name} beat the GRU {budget}: {what} is "
    else:
        behind = f" is behind {apart}, and" if few else ""
        first = f"No candidate beat the GRU {budget}: the best, {best.name},{behind} scores "
    ahead = [r for r in rows if r.kind == "baseline" and (r.score or 0) > 1 + (noise or 0)]
    better = [f"{row.name} {row.score:.3f}" for row in ahead]
    baselines = f" Of the baselines, {', '.join(better)} did better than the GRU." if better else ""
    return (
        f"{first}{best.score:.3f}.{_ties(best, rows, resolutions)}{baselines} A search result is "
        "not yet a comparison: scores were maximised on the validation split and with the seeds of "
        "the search, so the best of many is flattered by chance."
    )


def _ties(best: Row, rows: Sequence[Row], resolutions: Resolutions) -> str:
    """A sentence on the scored cells that are tied with the best one; empty if none is."""
    tied = [
        row.name
        for row in rows
        if row is not best and not row.rejected and _is_tied(row, best, resolutions)
    ]
    if not tied:
        return ""
    more = f" and {len(tied) - MOST_TIED:,} more" if len(tied) > MOST_TIED else ""
    return f" Tied with it on every task: {', '.join(tied[:MOST_TIED])}{more}."
