"""`python -m nas.record STUDY`: the whole record of a study in MLflow, from the study alone.

What is recorded already is left as it is, so that the same command again changes nothing.
"""

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.command_line import guarded
from nas.errors import HIDDEN, SearchError, UserError, hidden, refuse_credentials
from nas.record.recorder import Recorder, described
from nas.record.summary import summary
from nas.study.location import OpenedStudy, find_study
from nas.zoo.tracking import DEFAULT_URI, check_tracking_uri, place

if TYPE_CHECKING:
    from nas.report.facts import Facts


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m nas.record",
        description="Writes all of a study into MLflow; what is there already stays as it is.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its folder's path")
    parser.add_argument(
        "--tracking-uri", default="", help="of MLflow; without it, the one of the search"
    )
    parser.add_argument("--storage", default="", help="URL of Optuna's storage, if not the folder")
    parser.add_argument("--studies", default="studies", help="the folder that holds the studies")
    given = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    return guarded(
        "nas.record",
        lambda: record(find_study(given.study, given.storage, given.studies), given.tracking_uri),
    )


def record(seen: OpenedStudy, tracking_uri: str = "") -> int:
    """Record every judged cell and the summary, with a fresh report; returns the exit code.

    Raises:
        UserError: if the study holds nothing, or MLflow cannot be where the URI says.
        SearchError: if MLflow does not take it.
    """
    uri = uri_of(seen, tracking_uri)
    check_tracking_uri(uri)
    from nas.report.facts import read_facts
    from nas.report.write import files_in, report

    facts = read_facts(seen)
    folder = report(seen)[0].parent
    count = len({visit.key for visit in facts.visits if visit.judgement})
    write(facts, uri, files_in(folder), cells=True)
    print(f"{hidden(place(uri, Path()).uri)}: {count:,} cells of study {seen.name} are recorded.")
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


def write(facts: "Facts", uri: str, files: dict[str, bytes], *, cells: bool) -> None:
    """Record a study's summary with files, and if wanted all of its cells.

    Raises:
        SearchError: if MLflow does not take it.
    """
    tasks = [task.name for task in facts.protocol.tasks]
    recorder = Recorder(
        uri,
        facts.name,
        described(Path(facts.config.space).stem, tasks),
        facts.protocol.tasks,
        facts.protocol.filter,
        facts.baselines,
    )
    if cells:
        recorder.sync(facts.visits)
    conclude(recorder, facts, files)
    if lacking := recorder.close(threading.TIMEOUT_MAX):
        where = hidden(place(uri, Path()).uri)
        raise SearchError(f"MLflow at {where} lacks {lacking} runs: the same command tries again.")


def conclude(recorder: Recorder, facts: "Facts", files: dict[str, bytes]) -> None:
    """Let the study's summary be recorded, with files."""
    attrs, tasks = facts.seen.study.attrs, [task.name for task in facts.protocol.tasks]
    about = (tasks, facts.baselines, facts.n_settings)
    recorder.conclude(summary(facts.name, facts.visits, attrs, *about, files))
