"""`python -m nas.record STUDY`: the whole record of a study in MLflow, from the study alone.

Runs that are recorded already stay as they are, so that the same command again changes nothing.
"""

import argparse
import itertools
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.command_line import arguments_of, guarded, program
from nas.errors import HIDDEN, SearchError, UserError, hidden, refuse_credentials
from nas.record.entry import DIGITS, Entry, as_csv, finite, legal
from nas.record.recorder import Recorder, described
from nas.report.endpoints import columns
from nas.report.facts import Facts, number, read_facts
from nas.report.front import hypervolume
from nas.report.reliability import Reliability, beside_leaderboard, open_places
from nas.report.write import files_in, report
from nas.study.front import front_of, sizes
from nas.study.leaderboard import Row, shown_ratio
from nas.study.location import OpenedStudy, add_study_arguments, find_study
from nas.zoo.tracking import DEFAULT_URI, check_tracking_uri, place

SUMMARY = "summary"
"""The key and kind of the study's own run, which no cell has."""
MOST_ROWS = 15
"""Rows of the leaderboard in the note; all of them are in leaderboard.csv."""
DEVIATIONS = 1.96
"""Standard deviations of one measurement on each side of a score: an interval of 95 %."""
PARAMS = ("space", "sampler", "seed")
"""Fields of the study's definition that are parameters of its run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return guarded("nas.record", lambda: _run(parser().parse_args(arguments_of(arguments))))


def _run(given: argparse.Namespace) -> int:
    return record(find_study(given.study, given.storage, given.studies), given.tracking_uri)


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(
        prog=program("record"),
        description="Writes all of a study into MLflow; runs that are there already stay.",
    )
    add_study_arguments(made)
    made.add_argument(
        "--tracking-uri",
        default="",
        help="URI of MLflow; without it, that of the search, else MLFLOW_TRACKING_URI or "
        "./mlflow.db",
    )
    return made


def record(seen: OpenedStudy, tracking_uri: str = "") -> int:
    """Record every judged cell and the summary, with a fresh report; returns the exit code.

    Raises:
        UserError: if the study holds nothing, or MLflow cannot be where the URI says.
        SearchError: if MLflow does not take it.
    """
    uri = uri_of(seen, tracking_uri)
    check_tracking_uri(uri)
    facts = read_facts(seen)
    folder = report(facts)[0].parent
    count = len({visit.key for visit in facts.visits if visit.judgement})
    lines = write(facts, uri, files_in(folder), cells=True)
    print(f"{hidden(place(uri, Path()).uri)}: {count:,} cells of study {seen.name} are recorded.")
    print("\n".join(lines))
    return 0


def uri_of(seen: OpenedStudy, given: str) -> str:
    """The tracking URI that is given, or the search's.

    Raises:
        UserError: if the search's had credentials, which no file keeps.
    """
    refuse_credentials("--tracking-uri", given)
    known = str(seen.config.get("tracking_uri") or "")
    uri = given or ("" if known == "off" else known)
    if HIDDEN in uri:
        raise UserError(
            f"the tracking URI of study {seen.name}, {uri}, is kept without its credentials: give "
            f"--tracking-uri, such as {DEFAULT_URI}."
        )
    return uri


def write(facts: Facts, uri: str, files: dict[str, bytes], *, cells: bool) -> list[str]:
    """Record a study's summary with files, and if wanted all of its cells; return the lines that
    say where a browser shows it.

    Raises:
        SearchError: if MLflow does not take it.
    """
    recorder = Recorder(
        uri,
        facts.name,
        described(Path(facts.config.space).stem, [task.name for task in facts.protocol.tasks]),
        facts.protocol.tasks,
        facts.protocol.filter,
        facts.baselines,
        objectives=facts.config.objectives,
    )
    if cells:
        recorder.sync(facts.visits)
    conclude(recorder, facts, files)
    if lacking := recorder.close(threading.TIMEOUT_MAX):
        where = hidden(place(uri, Path()).uri)
        raise SearchError(f"MLflow at {where} lacks {lacking} runs: the same command tries again.")
    return recorder.where_to_look()


def conclude(recorder: Recorder, facts: Facts, files: Mapping[str, bytes]) -> None:
    """Let the study's summary be recorded, with files."""
    recorder.conclude(summary(facts, files))


def summary(facts: Facts, files: Mapping[str, bytes]) -> Entry:
    """The run of a whole study, beside those of its cells; it is updated in place."""
    best, attrs = facts.winner, facts.seen.study.attrs
    tasks = [task.name for task in facts.protocol.tasks]
    metrics = _metrics(facts)
    tags = {
        "nas.key": SUMMARY,
        "nas.kind": SUMMARY,
        "nas.study": facts.name,
        "nas.winner": f"{best.name} (trial {best.visit.number}, key {best.key})" if best else "",
        "nas.revision": str(attrs.get("provenance", {}).get("revision", "")),
    }
    definition = attrs.get("definition", {})
    params = {name: str(definition[name]) for name in PARAMS if name in definition}
    return Entry(
        SUMMARY,
        facts.name,
        SUMMARY,
        "FINISHED",
        metrics["seconds"],
        tags,
        metrics,
        {**params, "tasks": ", ".join(tasks)},
        (),
        _note(facts, tasks),
        {"leaderboard.csv": as_csv(leaderboard_rows(facts)), **files},
        step=sum(visit.judgement is not None for visit in facts.visits),
        beside=_beside(facts),
    )


def _beside(facts: Facts) -> dict[str, dict[str, str]]:
    """Tags of cells that only the whole study knows: intervals, and who is on the front."""
    tags = _intervals(facts)
    names = facts.config.objectives
    on_front = {row.key for row in front_of(facts.rows, names)}
    for row in facts.rows if len(names) > 1 else ():
        place = "on the front" if row.key in on_front else ""
        tags[row.key] = {**tags.get(row.key, {}), "nas.front": place}
    return tags


def _intervals(facts: Facts) -> dict[str, dict[str, str]]:
    """The intervals of each cell's score and place, which only the whole study knows, as tags.

    They are empty where the noise of a score was not measured; the GRU's score is 1 without any.
    """
    known, open_to = facts.reliability.score, open_places(facts.reliability, facts.rows)
    tags, reference = {}, facts.baselines[0]
    for row in facts.rows:
        if known and row.score is not None and row.key in open_to and row.key != reference:
            low, high = (row.score + sign * DEVIATIONS * known.deviation for sign in (-1, 1))
            first, last = open_to[row.key]
            place = f"{first} to {last}" if first < last else f"{first}"
            interval = f"{low:.{DIGITS}g} to {high:.{DIGITS}g}"
            tags[row.key] = {"nas.interval": interval, "nas.place": place}
    return tags


def _metrics(facts: Facts) -> dict[str, float]:
    best = facts.winner
    drawn = [visit for visit in facts.drawn if visit.judgement]
    costs = [cost for visit in facts.visits for cost in visit.all_summaries()]
    ratios = best.ratios if best else {}
    broken = Counter(t for visit in drawn if visit.judgement for t in visit.judgement.broken)
    return finite(
        {
            "best_score": best.score if best else None,
            "n_candidates": len({visit.key for visit in drawn}),
            "n_judged": len(drawn),
            "n_scored": facts.n_scored,
            "n_runs": sum(cost.n_runs for cost in costs),
            "flops": sum(cost.flops for cost in costs),
            "seconds": round(sum(cost.wall_s for cost in costs), 3),
            **{f"broken.{legal(text)}": count for text, count in broken.items()},
            **{f"best.ratio.{legal(task)}": ratio for task, ratio in ratios.items()},
            "hypervolume": hypervolume(facts),
            **_of_reliability(facts.reliability),
        }
    )


def _of_reliability(reliability: Reliability) -> dict[str, float | None]:
    """How well the score ranks, and each task; nothing where that was not measured."""
    known = {"": reliability.score, **{f".{legal(n)}": a for n, a in reliability.tasks.items()}}
    metrics: dict[str, float | None] = {}
    for name, one in known.items():
        if one is not None:
            metrics[f"reliability{name}.n_cells"] = one.n
            metrics[f"reliability{name}.deviation"] = one.deviation
            metrics[f"reliability{name}.noise"] = one.noise
            for half, tau in (("tau", one.tau), ("tau_better_half", one.better)):
                if tau is not None:
                    metrics[f"reliability{name}.{half}"] = tau.mean
                    metrics[f"reliability{name}.{half}.low"] = tau.low
                    metrics[f"reliability{name}.{half}.high"] = tau.high
    return metrics


def leaderboard_rows(facts: Facts) -> list[dict[str, Any]]:
    """The long form of the leaderboard: all cells, with both endpoints and second measurements."""
    open_to = open_places(facts.reliability, facts.rows)
    on_front = {row.key for row in front_of(facts.rows, facts.config.objectives)}
    tasks = [task.name for task in facts.protocol.tasks]
    return [
        {
            "rank": rank,
            "cell": row.name,
            "kind": row.kind,
            "score": row.score,
            **_objectives(facts, row, on_front),
            "place from": open_to.get(row.key, (None, None))[0],
            "place to": open_to.get(row.key, (None, None))[1],
            **{f"ratio {task}": row.ratios.get(task) for task in tasks},
            **columns(facts, row),
            **{f"repeated {task}": _again(row).get(task) for task in tasks},
            "stage": row.stage,
            "n_params": row.n_params,
            "seconds": round(row.seconds, 3),
            "trial": row.visit.number,
            "key": row.key,
        }
        for rank, row in enumerate(facts.rows, start=1)
    ]


def _objectives(facts: Facts, row: Row, on_front: set[str]) -> dict[str, Any]:
    """Further objectives of a cell, step_time in microseconds, and whether it is on the front, of
    whose cells the keys are given."""
    names = facts.config.objectives
    return {**sizes(row, names), "front": row.key in on_front} if len(names) > 1 else {}


def _again(row: Row) -> dict[str, float]:
    """What a second measurement gave on each task."""
    return row.visit.judgement.repeated if row.visit.judgement else {}


def _note(facts: Facts, tasks: Sequence[str]) -> str:
    lines = [
        facts.verdict,
        "",
        beside_leaderboard(facts.reliability, facts.rows),
        "",
        f"| | cell | kind | score | {' | '.join(tasks)} | parameters |",
        f"| {' | '.join(['---'] * (5 + len(tasks)))} |",
    ]
    ranked = zip(facts.ranks, facts.rows, strict=True)
    for rank, row in itertools.islice(ranked, MOST_ROWS):
        ratios = (shown_ratio(row, task, facts.resolutions) or "-" for task in tasks)
        cells = (rank, row.name, row.kind, number(row.score), *ratios, f"{row.n_params:,}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Ratios to the GRU, above 1 is better. All cells: leaderboard.csv; more of the "
              "study: report/report.html, under Artifacts."]  # fmt: skip
    return "\n".join(lines)
