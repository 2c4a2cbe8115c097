"""The command: write the report of a study, and keep it in MLflow with the summary."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nas.command_line import arguments_of, guarded, program
from nas.errors import HIDDEN, hidden
from nas.study.location import OpenedStudy, add_study_arguments, find_study

DESCRIPTION = """\
Writes the results of a study as one HTML file that needs nothing else, as Markdown and as pictures.
The study is only read; it may be running.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return guarded("nas.report", lambda: _report(parser().parse_args(arguments_of(arguments))))


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(prog=program("report"), description=DESCRIPTION)
    add_study_arguments(made)
    made.add_argument(
        "--against",
        metavar="STUDY2",
        default="",
        help="another arm in the race against cost, such as the same search with --sampler random",
    )
    made.add_argument(
        "--out", metavar="FOLDER", default="", help="where to write; the study's folder, report/"
    )
    made.add_argument(
        "--tracking-uri",
        default=None,
        help='URI of MLflow, where the report is kept with the study\'s summary; "off": nowhere; '
        "without the flag, that of the search, else MLFLOW_TRACKING_URI or ./mlflow.db",
    )
    return made


def _report(given: argparse.Namespace) -> int:
    from nas.report.facts import read_facts
    from nas.report.recording import uri_of, write
    from nas.report.write import files_in, report
    from nas.zoo.tracking import check_tracking_uri, place

    seen = find_study(given.study, given.storage, given.studies)
    against = find_study(given.against, given.storage, given.studies) if given.against else None
    uri = _uri(given.tracking_uri, seen)
    if uri is not None:
        uri = uri_of(seen, uri)
        check_tracking_uri(uri)
    facts = read_facts(seen)
    out = Path(given.out) if given.out else None
    paths = report(facts, read_facts(against) if against else None, out)
    for path in paths[:2]:
        print(path)
    if uri is not None:
        write(facts, uri, files_in(paths[0].parent), cells=False)
        print(f"{hidden(place(uri, Path()).uri)}: report/report.html of the run {seen.name}")
    return 0


def _uri(given: str | None, seen: OpenedStudy) -> str | None:
    """The URI of MLflow, empty for that of the search; None if nothing is to be written.

    A database that is not there is made only for a URI that was given.
    """
    from nas.zoo.tracking import place

    if given is not None:
        return None if given == "off" else given
    known = str(seen.config.get("tracking_uri") or "")
    if known == "off" or HIDDEN in known:
        return None
    database = place(known, Path()).database
    return None if database is not None and not database.is_file() else ""
