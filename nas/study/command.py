"""`python -m nas.study`: copy a study to another storage, make one file of it, open such a file."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.command_line import arguments_of, guarded, program
from nas.resources import is_comparison
from nas.study.location import present, wanted

DESCRIPTION = """Move a study, or make one file of it. A study that is being run is left alone, and
nothing that is there is written over.

STUDY is the name of a study, its folder's path, or the URL of the storage that holds it. A URL has
no password in it: PostgreSQL's is in the environment variable PGPASSWORD or in ~/.pgpass.
"""
EXAMPLES = """examples:
  python -m nas.study copy quickstart postgresql://me@host/nas
  python -m nas.study copy postgresql://me@host/nas studies/quickstart --study quickstart
  python -m nas.study pack quickstart quickstart.zip
  python -m nas.study unpack quickstart.zip
"""


STUDY = "a name, a folder, or a storage's URL"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return guarded("nas.study", lambda: _run(parser().parse_args(arguments_of(arguments))))


def _run(given: argparse.Namespace) -> int:
    run: Callable[[argparse.Namespace], int] = given.run
    return run(given)


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(
        prog=program("study"),
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], help: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        made.set_defaults(run=run)
        made.add_argument("--studies", default="studies", help="the folder that holds the studies")
        return made

    copying = command("copy", _copy, "copy a study to another storage, verified by its digest")
    copying.add_argument("source", metavar="SRC", help=STUDY)
    copying.add_argument("target", metavar="DST", help="a new name, a new folder, or a URL")
    copying.add_argument(
        "--study", default="", help="its name, where SRC is a URL, or a new one at DST"
    )
    packing = command("pack", _pack, "write all of a study into one file")
    packing.add_argument("source", metavar="STUDY", help=STUDY)
    packing.add_argument("file", metavar="FILE", type=Path, help="a new .zip file")
    packing.add_argument("--study", default="", help="its name in the storage")
    unpacking = command(
        "unpack", _unpack, "open such a file, to report, replay or go on with its study"
    )
    unpacking.add_argument("file", metavar="FILE", type=Path, help="a packed study")
    unpacking.add_argument("target", metavar="DST", nargs="?", default="", help="as of copy")
    unpacking.add_argument("--study", default="", help="a new name")
    digest = command("digest", _digest, "print the digest of a study, which copies of it share")
    digest.add_argument("source", metavar="STUDY", help=STUDY)
    digest.add_argument("--study", default="", help="its name in the storage")
    return parser


# What follows imports Optuna: a wrong name or a request for help does not wait for it.


def _copy(given: argparse.Namespace) -> int:
    is_url = "://" in given.source
    source = present(given.source, given.studies, given.study if is_url else "")
    target = wanted(given.target, given.studies, source.name, "" if is_url else given.study)
    from nas.study.moving import copy

    digest = copy(source, target)
    print(f"study {target.name} is in {target} now, digest {digest}.")
    if target.storage:
        path = source.folder / "config.yaml"
        if path.is_file() and target.name == source.name:
            command = f"compare --config {path}" if is_comparison(path) else f"search {path}"
            print(f"To go on with it there: python -m nas.{command} --storage {target}")
    return 0


def _pack(given: argparse.Namespace) -> int:
    location = present(given.source, given.studies, given.study)
    from nas.study.packing import pack

    digest = pack(location, given.file)
    print(f"study {location.name} is in {given.file}, digest {digest}.")
    return 0


def _unpack(given: argparse.Namespace) -> int:
    from nas.study.packing import unpack

    location, digest = unpack(given.file, given.studies, given.target, given.study)
    print(f"study {location.name} is in {location} now, digest {digest}.")
    if not location.storage:
        print(f"Look at it: python -m nas.report {location.folder}")
    return 0


def _digest(given: argparse.Namespace) -> int:
    location = present(given.source, given.studies, given.study)
    from nas.study.moving import digest_of

    digest, n_trials = digest_of(location)
    print(f"{digest}  {n_trials:,} trials")
    return 0
