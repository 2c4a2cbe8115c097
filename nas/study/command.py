"""`python -m nas.study`: copy a study to another storage, make one file of it, open such a file."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.command_line import guarded
from nas.resources import is_comparison
from nas.study.moving import copy, digest_of
from nas.study.packing import pack, unpack
from nas.study.place import present, wanted

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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = _parser().parse_args(sys.argv[1:] if arguments is None else list(arguments))
    run: Callable[[argparse.Namespace], int] = given.run
    return guarded("nas.study", lambda: run(given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nas.study",
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

    one = command("copy", _copy, "copy a study to another storage, verified by its digest")
    one.add_argument("source", metavar="SRC", help="STUDY: a name, a folder, or a storage's URL")
    one.add_argument("target", metavar="DST", help="a new name, a new folder, or a storage's URL")
    one.add_argument(
        "--study", default="", help="its name, where SRC is a URL, or a new one at DST"
    )
    one = command("pack", _pack, "write all of a study into one file")
    one.add_argument("source", metavar="STUDY", help="a name, a folder, or a storage's URL")
    one.add_argument("file", metavar="FILE", type=Path, help="a .zip file that is not there yet")
    one.add_argument("--study", default="", help="its name in the storage")
    one = command("unpack", _unpack, "open such a file, to report, replay or go on with its study")
    one.add_argument("file", metavar="FILE", type=Path, help="a packed study")
    one.add_argument("target", metavar="DST", nargs="?", default="", help="as of copy")
    one.add_argument("--study", default="", help="a new name")
    one = command("digest", _digest, "print the digest of a study, which copies of it share")
    one.add_argument("source", metavar="STUDY", help="a name, a folder, or a storage's URL")
    one.add_argument("--study", default="", help="its name in the storage")
    return parser


def _copy(given: argparse.Namespace) -> int:
    is_url = "://" in given.source
    source = present(given.source, given.studies, given.study if is_url else "")
    target = wanted(given.target, given.studies, source.name, "" if is_url else given.study)
    found = copy(source, target)
    print(f"study {target.name} is in {target} now, digest {found}.")
    if target.storage:
        path = source.folder / "config.yaml"
        if path.is_file() and target.name == source.name:
            command = f"compare --config {path}" if is_comparison(path) else f"search {path}"
            print(f"To go on with it there: python -m nas.{command} --storage {target}")
    return 0


def _pack(given: argparse.Namespace) -> int:
    place = present(given.source, given.studies, given.study)
    found = pack(place, given.file)
    print(f"study {place.name} is in {given.file}, digest {found}.")
    return 0


def _unpack(given: argparse.Namespace) -> int:
    place, found = unpack(given.file, given.studies, given.target, given.study)
    print(f"study {place.name} is in {place} now, digest {found}.")
    if not place.storage:
        print(f"Look at it: python -m nas.report {place.folder}")
    return 0


def _digest(given: argparse.Namespace) -> int:
    found, n_trials = digest_of(present(given.source, given.studies, given.study))
    print(f"{found}  {n_trials:,} trials")
    return 0
