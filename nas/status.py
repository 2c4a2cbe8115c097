"""`python -m nas.status STUDY`: what a study is doing, read while its search runs or afterwards.

The command only reads, from a connection of its own, so that it never disturbs a search. To print
something more, add a line to `lines`, a function of the opened study.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from nas.command_line import arguments_of, guarded, program
from nas.errors import HIDDEN, UserError
from nas.study.config import protocol_of
from nas.study.front import sentence
from nas.study.leaderboard import BASELINES, leaderboard, winner
from nas.study.location import OpenedStudy, add_study_arguments, find_study
from nas.study.parse import parse
from nas.study.rejections import Reason, describe, reasons, set_aside, standings
from nas.study.visit import n_runs
from nas.zoo import ZOO

if TYPE_CHECKING:  # it imports Optuna, and a wrong name is an error at once
    from nas.study.visit import Visit

SHORTCUTS = ("first_look", "veto", "halving")
"""Fields of the protocol that end training early."""
MOST_REASONS = 12
MOST_NAMED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return guarded("nas.status", lambda: _run(parser().parse_args(arguments_of(arguments))))


def _run(given: argparse.Namespace) -> int:
    of = rejected if given.rejected else lines
    return _printed(of, given.study, given.storage, given.studies)


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(
        prog=program("status"), description="What a study is doing; it is never disturbed."
    )
    add_study_arguments(made)
    made.add_argument(
        "--rejected", action="store_true", help="print a line for each rejected candidate instead"
    )
    return made


def status(name: str, storage: str = "", studies: str = "studies") -> int:
    """Print what the study is doing.

    Raises:
        UserError: if there is no such study, with the nearest name.
    """
    return _printed(lines, name, storage, studies)


def _printed(
    of: Callable[[OpenedStudy], Iterator[str]], name: str, storage: str, studies: str
) -> int:
    for line in of(find_study(name, storage, studies)):
        print(line)
    return 0


def rejected(opened: OpenedStudy) -> Iterator[str]:
    """A line for each visit of a candidate that was rejected, by reason, the newest last."""
    drawn = [visit for visit in opened.study.visits if visit and visit.kind == "drawn"]
    aside = [visit for visit in drawn if visit.judgement and visit.judgement.set_aside]
    for reason in [*reasons(_rejectable(drawn)), Reason("set aside", aside)]:
        if reason.visits:
            yield f"{reason.text}:"
        yield from (f"  {describe(visit)}" for visit in reason.visits)


def _rejectable(drawn: "Sequence[Visit]") -> "list[Visit]":
    """Judged visits of candidates, without those that were set aside, which are told apart."""
    return [visit for visit in drawn if visit.judgement and not visit.judgement.set_aside]


def lines(opened: OpenedStudy) -> Iterator[str]:
    """All lines about a study: sentences and rows of tables."""
    visits = [visit for visit in opened.study.visits if visit]
    drawn = [visit for visit in visits if visit.kind == "drawn"]
    wanted = opened.config.get("n_candidates")
    finished = sum(visit.judgement is not None for visit in drawn)
    complete = wanted is not None and finished >= wanted
    state = "running" if opened.running else "complete" if complete else "stopped"
    yield f"study {opened.name} in {opened.folder}: {state}"
    of = "" if wanted is None else f" of {wanted:,}"
    waiting = "in flight" if opened.running else "begun and not judged"
    yield (
        f"candidates: {len(drawn):,}{of} asked, {finished:,} judged, "
        f"{len(drawn) - finished:,} {waiting}; {len(visits) - len(drawn)} given cells"
    )
    yield f"stages: {standings(drawn)}"
    yield from _reasons(opened, drawn)
    yield from set_aside(drawn)
    yield from _best(opened, visits)
    yield from _reliability(opened, visits)
    yield from _cost(opened, visits)
    yield from _shortcuts(opened, visits)
    yield from _forecast(visits)
    yield from _how_to_go_on(opened, complete=complete)


def _reasons(opened: OpenedStudy, drawn: "Sequence[Visit]") -> Iterator[str]:
    """Why candidates were rejected, with the newest of each reason; worst first."""
    found = reasons(_rejectable(drawn))
    if not found:
        return
    yield "rejected because:"
    for reason in found[:MOST_REASONS]:
        yield f"  {len(reason.visits):6,}  {reason.text}"
        yield f"          newest: {reason.named(MOST_NAMED)}"
    if others := sum(len(reason.visits) for reason in found[MOST_REASONS:]):
        yield f"  {others:6,}  other reasons"
    yield f"all of them: python -m nas.status {opened.folder} --rejected{_storage_flag(opened)}"


def _best(opened: OpenedStudy, visits: "Sequence[Visit]") -> Iterator[str]:
    keys = [ZOO[name].key for name in BASELINES]
    rows = leaderboard(visits, keys)
    best = winner(rows)
    if front := sentence(rows, opened.study.objectives):
        yield front
    yield f"best so far: {describe(best.visit)}" if best else "best so far: no cell is scored yet"
    if best and best.kind == "included":
        drawn = next((row for row in rows if row.kind == "candidate" and not row.rejected), None)
        yield f"best candidate: {describe(drawn.visit) if drawn else 'none is scored yet'}"
    for row in rows:
        if row.kind == "baseline" and row.key != keys[0] and row.score is not None:
            yield f"baseline: {describe(row.visit)}"


def _reliability(opened: OpenedStudy, visits: "Sequence[Visit]") -> Iterator[str]:
    """How well the score ranks, as far as cells were measured twice."""
    path = opened.folder / "config.yaml"
    if not path.is_file() or _is_comparison(opened):
        return
    from nas.report.reliability import Reliability, reliability_of
    from nas.report.reliability import lines as of_reliability
    from nas.report.rungs import lines as of_rungs

    try:
        config = parse([str(path)], check=False)
        known = Reliability(is_planned=config.protocol.repeat > 0)
        if any(visit.turn or (visit.judgement and visit.judgement.repeated) for visit in visits):
            rows = leaderboard(visits, [ZOO[name].key for name in BASELINES])
            protocol = protocol_of(config)
            known = reliability_of(protocol, rows, visits)
            yield from of_rungs(protocol.config, visits)
    except UserError:  # written by another version, or its data are not here
        return
    yield from of_reliability(known)


def _is_comparison(opened: OpenedStudy) -> bool:
    return bool(opened.study.attrs.get("definition", {}).get("kind") == "comparison")


def _cost(opened: OpenedStudy, visits: "Sequence[Visit]") -> Iterator[str]:
    from nas.session.progress import clock, utilisation

    summaries = [summary for visit in visits for summary in visit.all_summaries()]
    statuses: Counter[str] = Counter()
    for summary in summaries:
        statuses.update(summary.statuses)
    trained_s = sum(summary.wall_s for summary in summaries)
    ended = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    yield (
        f"cost: {statuses.total():,} training runs{f' ({ended})' if ended else ''}, "
        f"{clock(trained_s)} in training, {sum(summary.flops for summary in summaries):.2g} FLOPs, "
        f"{clock(float(opened.study.attrs.get('spent_s', 0.0)))} in all"
    )
    budget = int(opened.config.get("run_budget") or 0)
    if budget:
        yield f"run budget: {n_runs(visits):,} of {budget:,} training runs"
    busy_s, slot_s = (float(opened.study.attrs.get(name, 0.0)) for name in ("busy_s", "slot_s"))
    if slot_s > 0:
        # The first studies did not note how long their workers were busy.
        yield f"utilisation: {utilisation(max(busy_s, trained_s), trained_s, slot_s)}"


def _shortcuts(opened: OpenedStudy, visits: "Sequence[Visit]") -> Iterator[str]:
    """How much first looks and vetoes saved, and how they agree with the end of training."""
    protocol = opened.config.get("protocol")
    if not isinstance(protocol, dict) or not any(protocol.get(name) for name in SHORTCUTS):
        return
    from nas.study.shortcuts import lines as of_shortcuts

    try:
        config = parse([str(opened.folder / "config.yaml")])
    except UserError:  # written by another version
        return
    yield from of_shortcuts(protocol_of(config), visits)


def _forecast(visits: "Sequence[Visit]") -> Iterator[str]:
    """What the forecast of results was worth."""
    if any(visit.forecast is not None for visit in visits):
        from nas.report.forecast import sentence

        if worth := sentence(visits):
            yield worth


def _storage_flag(opened: OpenedStudy) -> str:
    """The flag that a command needs where the study's configuration hides a part of the URL."""
    return " --storage URL" if HIDDEN in str(opened.config.get("storage")) else ""


def _how_to_go_on(opened: OpenedStudy, *, complete: bool) -> Iterator[str]:
    path = opened.folder / "config.yaml"
    command = f"python -m nas.{'compare --config' if _is_comparison(opened) else 'search'} {path}"
    command += _storage_flag(opened)
    if opened.running:
        yield "It may be stopped at any time (Ctrl-C, kill) and goes on with the same command."
    elif not path.is_file():
        yield "To go on: the command that began it."
    elif complete:
        more = int(opened.config["n_candidates"]) * 2
        if (opened.folder / "winner").is_dir():
            yield f"winner: {opened.folder / 'winner'}"
        yield f"To go on: {command} --n-candidates {more}"
    else:
        budget = int(opened.config.get("run_budget") or 0)
        spent = budget and n_runs(opened.study.visits) >= budget
        yield f"To go on: {command}{f' --run-budget {2 * budget}' if spent else ''}"


if __name__ == "__main__":
    sys.exit(main())
