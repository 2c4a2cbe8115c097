"""The rungs of a ladder: what each cost, how many cells went on from it, and how far it agrees with
the others.

A rung is worth its cost if it ranks cells as the next one does. Cells that are at two rungs were
chosen by the lower one, so their range there is narrow and tau is less than it would be over all;
given cells, which are at every rung, are among them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nas.errors import counted
from nas.protocol.config import ProtocolConfig
from nas.protocol.judgement import Judgement, Rung
from nas.protocol.rungs import LadderConfig
from nas.report.document import Part, Section, Table, Text
from nas.report.facts import Facts
from nas.report.reliability import shown
from nas.report.statistics.reliability import Agreement, agreement
from nas.study.visit import Visit

MEAN = "mean"
"""The name of the geometric mean of a cell's ratios over the tasks."""


@dataclass(frozen=True)
class Spent:
    """What a rung measured and cost; given cells, which are at every rung, are not in it."""

    rung: int
    n_cells: int
    """Candidates with a result here."""
    n_went_on: int
    """Candidates that were measured at the next rung, too."""
    n_aside: int
    """Candidates that were set aside here, because they ended their workers."""
    n_runs: int
    seconds: float
    flops: float


def spent(visits: Sequence[Visit], n_rungs: int) -> list[Spent]:
    """What each rung measured and cost, the lowest first."""
    at: list[list[Visit]] = [[] for _ in range(n_rungs)]
    for visit in visits:
        if visit.kind == "drawn" and visit.judgement is not None and visit.turn < n_rungs:
            at[visit.turn].append(visit)
    keys = [{v.key for v in of_rung if _kept(v)} for of_rung in at]
    found = []
    for rung, of_rung in enumerate(at):
        costs = [cost for visit in of_rung for cost in visit.all_summaries()]
        above = keys[rung + 1] if rung + 1 < n_rungs else set()
        found.append(
            Spent(
                rung,
                len(keys[rung]),
                len(keys[rung] & above),
                sum(not _kept(visit) for visit in of_rung),
                sum(cost.n_runs for cost in costs),
                sum(cost.wall_s for cost in costs),
                sum(cost.flops for cost in costs),
            )
        )
    return found


def _kept(visit: Visit) -> bool:
    return visit.judgement is not None and not visit.judgement.set_aside


def results(visits: Sequence[Visit]) -> dict[str, dict[int, Rung]]:
    """The result of each cell at each rung that it was measured at, by its key."""
    found: dict[str, dict[int, Rung]] = {}
    for visit in visits:
        for rung in visit.judgement.rungs if visit.judgement else ():
            found.setdefault(visit.key, {})[rung.rung] = rung
    return found


def agreements(visits: Sequence[Visit], n_rungs: int) -> dict[str, dict[str, Agreement]]:
    """How far two rungs, or two measurements at one rung, agree: by what is compared, then of each
    task and of the mean of all."""
    by_cell = results(visits)
    found = {}
    for low, high in itertools.combinations(range(n_rungs), 2):
        both = [(of[low], of[high]) for of in by_cell.values() if low in of and high in of]
        found[f"rungs {low + 1} and {high + 1}"] = _agree(both)
    twice: dict[int, dict[str, tuple[Rung, Rung]]] = {}
    for visit in visits:
        if (pair := _twice(visit.judgement)) is not None:
            twice.setdefault(pair[0].rung, {})[visit.key] = pair
    for rung, pairs in sorted(twice.items()):
        found[f"rung {rung + 1}, measured twice"] = _agree(list(pairs.values()))
    return {name: of for name, of in found.items() if of}


def _twice(judgement: Judgement | None) -> tuple[Rung, Rung] | None:
    """A cell's result at its rung, and its second measurement there."""
    if judgement is None or not judgement.rungs or not judgement.repeated_ratios:
        return None
    first = judgement.rungs[-1]
    return first, Rung(first.rung, judgement.repeated, judgement.repeated_ratios)


def _agree(pairs: Sequence[tuple[Rung, Rung]]) -> dict[str, Agreement]:
    found = {}
    for name in (MEAN, *(pairs[0][0].ratios if pairs else ())):
        sides = [[_ratio(of, name) for of in side] for side in zip(*pairs, strict=True)]
        if one := agreement(sides[0], sides[1], higher_is_better=True) if sides else None:
            found[name] = one
    return found


def _ratio(result: Rung, name: str) -> float:
    return result.mean if name == MEAN else result.ratios[name]


# --- in words ---


def budget(ladder: LadderConfig, rung: int) -> str:
    """What a cell costs at a rung, in words."""
    settings = counted(ladder.n_settings[rung], "setting")
    seeds = counted(ladder.n_seeds[rung], "seed")
    return (
        f"{ladder.n_params[rung]:,} parameters, {ladder.fidelity[rung]:.0%} of the epochs, "
        f"{settings}, {seeds}"
    )


def lines(config: ProtocolConfig, visits: Sequence[Visit]) -> Iterator[str]:
    """What `nas.status` says of the rungs; nothing without a ladder."""
    if config.kind != "ladder":
        return
    costs = spent(visits, len(config.ladder))
    total = sum(one.seconds for one in costs)
    for one in costs:
        share = one.seconds / total if total else 0.0
        went = "" if one is costs[-1] else f", {one.n_went_on:,} went on"
        yield (
            f"rung {one.rung + 1} ({budget(config.ladder, one.rung)}): "
            f"{counted(one.n_cells, 'candidate')}{went}; {one.n_runs:,} training runs, "
            f"{one.seconds / 3600:.2f} h ({share:.0%})"
        )
    for name, of in agreements(visits, len(config.ladder)).items():
        if of[MEAN].tau is not None:
            yield f"{name}: tau {shown(of[MEAN].tau)} (n = {counted(of[MEAN].n, 'cell')})"


def rungs(facts: Facts, against: Facts | None) -> Section:
    """What each rung cost, kept and lost, and how far rungs agree."""
    config = facts.config.protocol
    if config.kind != "ladder":
        return Section("Rungs", (Text("The study has no ladder: every cell has one budget."),))
    parts: list[Part] = [_costs(config.ladder, spent(facts.visits, len(config.ladder)))]
    if known := agreements(facts.visits, len(config.ladder)):
        parts.append(_agreements(known))
    else:
        parts.append(Text("No cells are at two rungs yet, or measured twice at one."))
    return Section("Rungs", parts)


def _costs(ladder: LadderConfig, costs: Sequence[Spent]) -> Table:
    total = sum(one.seconds for one in costs)
    rows = [
        (
            f"{one.rung + 1}",
            budget(ladder, one.rung),
            f"{one.n_cells:,}",
            "-" if one is costs[-1] else f"{one.n_went_on:,}",
            "-" if one is costs[-1] else f"{one.n_cells - one.n_went_on:,}",
            f"{one.n_aside:,}",
            f"{one.n_runs:,}",
            f"{one.seconds / 3600:.2f}",
            f"{one.seconds / total:.0%}" if total else "-",
            f"{one.seconds / one.n_cells:.1f}" if one.n_cells else "-",
            f"{one.flops:.3g}",
        )
        for one in costs
    ]
    head = ("rung", "budget of a cell", "candidates", "went on", "stayed", "set aside", "runs",
            "hours", "of all", "s a candidate", "FLOPs")  # fmt: skip
    meant = f"one in {ladder.eta} is meant to go on"
    return Table(f"What each rung measured and cost, candidates alone; {meant}.", head, rows)


def _agreements(known: Mapping[str, Mapping[str, Agreement]]) -> Table:
    tasks = [name for name in next(iter(known.values())) if name != MEAN]
    rows = [
        (
            name,
            str(of[MEAN].n),
            shown(of[MEAN].tau),
            shown(of[MEAN].better),
            *(shown(of[task].tau) if task in of else "-" for task in tasks),
        )
        for name, of in known.items()
    ]
    head = ("of", "cells", MEAN, f"{MEAN}, better half", *tasks)
    caption = (
        "How far rungs agree: Kendall's tau of cells that are at both, with 95 % intervals "
        "(percentile bootstrap over cells), of the geometric mean of their ratios and of each "
        "task. Cells went on because they were good at the lower rung, which makes tau smaller "
        "than over all cells; the better half is that of the lower rung. Where cells were measured "
        "twice at one rung, with other seeds, tau says how well that rung ranks."
    )
    return Table(caption, head, rows)
