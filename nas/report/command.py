"""The command: a study becomes files, and an artifact of its summary in MLflow."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nas.cli import guarded
from nas.status import Seen, look

DESCRIPTION = """\
Writes what a study found as one HTML file that needs nothing else, as Markdown and as pictures. The
study is only read; it may be running.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = _parse(sys.argv[1:] if arguments is None else list(arguments))
    return guarded("nas.report", lambda: _report(given))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m nas.report", description=DESCRIPTION)
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its folder's path")
    parser.add_argument(
        "--against",
        metavar="STUDY2",
        default="",
        help="another arm in the race against cost, such as the same search with --sampler random",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", default="", help="where to write; the study's folder, report/"
    )
    parser.add_argument("--storage", default="", help="URL of Optuna's storage, if not the folder")
    parser.add_argument("--studies", default="studies", help="the folder that holds the studies")
    parser.add_argument(
        "--tracking-uri",
        default=None,
        help='of MLflow, where the report is kept with the study\'s summary; "off": nowhere; '
        "without the flag, the one of the search",
    )
    return parser.parse_args(arguments)


def _report(given: argparse.Namespace) -> int:
    seen = look(given.study, given.storage, given.studies)
    against = look(given.against, given.storage, given.studies) if given.against else None
    paths = report(seen, against, Path(given.out) if given.out else None)
    for path in paths[:2]:
        print(path)
    return 0


def report(seen: Seen, against: Seen | None = None, folder: Path | None = None) -> list[Path]:
    """Write the report of a study, into its own folder if no other is given.

    Returns:
        the files, report.html first.

    Raises:
        UserError: if there is nothing to report, or a file cannot be written.
    """
    from nas.report.facts import read_facts
    from nas.report.sections import document
    from nas.report.write import write

    facts = read_facts(seen)
    made = document(facts, read_facts(against) if against else None)
    return write(made, folder or seen.folder / "report")
