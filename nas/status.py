"""`python -m nas.status STUDY`: what a study is doing, read while its search runs or afterwards.

It only reads, from a connection of its own, so that it never disturbs a search. To say something
more, add a line to `lines`, which is a function of what was read.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nas.command_line import guarded
from nas.errors import HIDDEN, UserError
from nas.study.config import protocol_of
from nas.study.leaderboard import BASELINES, leaderboard, n_runs, reasons, set_aside, winner
from nas.study.location import OpenedStudy, find_study
from nas.study.parse import parse
from nas.zoo import ZOO

if TYPE_CHECKING:  # they import Optuna, and a wrong name is to be told at once
    from nas.study.visit import Visit

SHORTCUTS = ("first_look", "veto", "halving")
"""Fields of the protocol that end training early."""
MOST_REASONS = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m nas.status", description="What a study is doing; it is never disturbed."
    )
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its folder's path")
    parser.add_argument("--storage", default="", help="URL of Optuna's storage, if not the folder")
    parser.add_argument("--studies", default="studies", help="the folder that holds the studies")
    given = parser.parse_args(arguments)
    return guarded("nas.status", lambda: status(given.study, given.storage, given.studies))


def status(name: str, storage: str = "", studies: str = "studies") -> int:
    """Print what the study is doing.

    Raises:
        UserError: if there is no such study, with the nearest name.
    """
    for line in lines(find_study(name, storage, studies)):
        print(line)
    return 0


def lines(seen: OpenedStudy) -> Iterator[str]:
    """What is said of a study, a sentence or a table row each."""
    visits = [visit for visit in seen.study.visits if visit]
    drawn = [visit for visit in visits if visit.kind == "drawn"]
    wanted = seen.config.get("n_candidates")
    finished = sum(visit.judgement is not None for visit in drawn)
    complete = wanted is not None and finished >= wanted
    state = "running" if seen.running else "complete" if complete else "stopped"
    yield f"study {seen.name} in {seen.folder}: {state}"
    of = "" if wanted is None else f" of {wanted:,}"
    waiting = "in flight" if seen.running else "begun and not judged"
    yield (
        f"candidates: {len(drawn):,}{of} asked, {finished:,} judged, "
        f"{len(drawn) - finished:,} {waiting}; {len(visits) - len(drawn)} given cells"
    )
    yield from _stages(drawn)
    yield from _reasons([v for v in drawn if v.judgement and not v.judgement.set_aside])
    yield from set_aside(drawn)
    yield from _best(seen, visits)
    yield from _cost(seen, visits)
    yield from _shortcuts(seen, visits)
    yield from _how_to_go_on(seen, complete=complete)


def _stages(drawn: "Sequence[Visit]") -> Iterator[str]:
    judgements = [v.judgement for v in drawn if v.judgement]
    aside = sum(bool(judgement.set_aside) for judgement in judgements)
    stages = Counter(judgement.stage for judgement in judgements if not judgement.set_aside)
    scored = stages.pop("scored", 0)
    rejected = "".join(f", {count:,} rejected at {stage}" for stage, count in stages.most_common())
    yield f"stages: {scored:,} scored{rejected}" + (f", {aside:,} set aside" if aside else "")


def _reasons(drawn: "Sequence[Visit]") -> Iterator[str]:
    """Why candidates were rejected, and how runs of the others ended; worst first."""
    found = reasons(drawn)
    if found:
        yield "rejected because:"
    for count, reason in found[:MOST_REASONS]:
        yield f"  {count:6,}  {reason}"
    if len(found) > MOST_REASONS:
        yield f"  {sum(count for count, _ in found[MOST_REASONS:]):6,}  other reasons"


def _best(seen: OpenedStudy, visits: "Sequence[Visit]") -> Iterator[str]:
    from nas.session.progress import describe

    keys = [ZOO[name].key for name in BASELINES]
    rows = leaderboard(visits, keys)
    best = winner(rows)
    yield f"best so far: {describe(best.visit)}" if best else "best so far: no cell is scored yet"
    for row in rows:
        if row.kind == "baseline" and row.key != keys[0] and row.score is not None:
            yield f"baseline: {describe(row.visit)}"


def _cost(seen: OpenedStudy, visits: "Sequence[Visit]") -> Iterator[str]:
    from nas.session.progress import clock, utilisation

    summaries = [one for visit in visits for one in visit.all_summaries()]
    statuses: Counter[str] = Counter()
    for one in summaries:
        statuses.update(one.statuses)
    trained_s = sum(one.wall_s for one in summaries)
    ended = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    yield (
        f"cost: {statuses.total():,} training runs{f' ({ended})' if ended else ''}, "
        f"{clock(trained_s)} in training, {sum(one.flops for one in summaries):.2g} FLOPs, "
        f"{clock(float(seen.study.attrs.get('spent_s', 0.0)))} in all"
    )
    budget = int(seen.config.get("run_budget") or 0)
    if budget:
        yield f"run budget: {n_runs(visits):,} of {budget:,} training runs"
    busy_s, slot_s = (float(seen.study.attrs.get(name, 0.0)) for name in ("busy_s", "slot_s"))
    if slot_s > 0:
        # The first studies did not note how long their workers were busy.
        yield f"utilisation: {utilisation(max(busy_s, trained_s), trained_s, slot_s)}"


def _shortcuts(seen: OpenedStudy, visits: "Sequence[Visit]") -> Iterator[str]:
    """What first looks and vetoes saved, and how they agree with the end of training."""
    protocol = seen.config.get("protocol")
    if not isinstance(protocol, dict) or not any(protocol.get(name) for name in SHORTCUTS):
        return
    from nas.study.shortcuts import lines as of_shortcuts

    try:
        config = parse([str(seen.folder / "config.yaml")])
    except UserError:  # written by another version
        return
    yield from of_shortcuts(protocol_of(config), visits)


def _how_to_go_on(seen: OpenedStudy, *, complete: bool) -> Iterator[str]:
    path = seen.folder / "config.yaml"
    is_comparison = seen.study.attrs.get("definition", {}).get("kind") == "comparison"
    command = f"python -m nas.{'compare --config' if is_comparison else 'search'} {path}"
    stored = str(seen.config.get("storage"))
    command += " --storage URL" if HIDDEN in stored else ""
    if seen.running:
        yield "It may be stopped at any time (Ctrl-C, kill) and goes on with the same command."
    elif not path.is_file():
        yield "To go on: the command that began it."
    elif complete:
        more = int(seen.config["n_candidates"]) * 2
        if (seen.folder / "winner").is_dir():
            yield f"winner: {seen.folder / 'winner'}"
        yield f"To go on: {command} --n_candidates {more}"
    else:
        budget = int(seen.config.get("run_budget") or 0)
        spent = budget and n_runs(seen.study.visits) >= budget
        yield f"To go on: {command}{f' --run_budget {2 * budget}' if spent else ''}"


if __name__ == "__main__":
    sys.exit(main())
