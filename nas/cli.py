"""From the command line to a checked configuration, before anything slow is imported."""

import dataclasses
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import jsonargparse

from nas.arguments import check_file, flags, instantiate, parser_of
from nas.config import SearchConfig
from nas.errors import SearchError, UserError
from nas.resources import find, is_comparison, is_curves, searches

USAGE = "python -m nas.search [CONFIG] [--FIELD VALUE ...]"
DESCRIPTION = """Search for recurrent cells, or go on with a search: the same command resumes.

CONFIG is an experiment that comes with nas ({experiments}) or the path of a YAML file; without it,
quickstart. Every field of the configuration is a flag; --print_config shows all of them as YAML.
python -m nas.status STUDY says what a search is doing, while it runs and afterwards.
"""
ALIASES = {"tasks": "tasks.use", "protocol": "protocol.kind"}
"""--tasks xml text is short for --tasks.use xml text, --protocol flat for --protocol.kind flat."""

EXIT_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_INTERRUPTED = 130


def guarded(command: str, main: Callable[[], int]) -> int:
    """Run a command; what the user did wrong is one sentence and exit code 2, no traceback."""
    try:
        return main()
    except UserError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return EXIT_WRONG_USAGE
    except SearchError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:  # before there was anything to keep, or for a second time
        print(f"{command}: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: what is finished is kept.

    A second one ends the process at once, as a kill would: what is stored is whole, and workers end
    with it. As one more exception it could come while the workers are being ended, and the process
    would then wait for all of their work.
    """

    def end_at_once(number: int, frame: object) -> None:
        with suppress(Exception):  # it may be in the middle of writing
            sys.stdout.flush()
        os.write(2, b"Ended at once; the same command goes on.\n")
        os._exit(EXIT_INTERRUPTED)

    def interrupt(number: int, frame: object) -> None:
        for one in before:
            signal.signal(one, end_at_once)
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # neither ignored nor other
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parse(arguments: Sequence[str], *, check: bool = True) -> SearchConfig:
    """The configuration that the arguments mean, checked, for which all data are read.

    Raises:
        UserError: in one sentence, for anything wrong with the arguments or the file.
        SystemExit: after --help and --print_config.
    """
    rest = list(arguments)
    source = rest.pop(0) if rest and not rest[0].startswith("-") else "quickstart"
    wants_help = any(flag in rest for flag in ("-h", "--help"))
    path = None if wants_help else find("experiments", source)
    given = list(flags(SearchConfig, rest, ALIASES))
    if path is not None:
        if is_comparison(path):
            raise UserError(
                f"{source} compares cells and is no search: python -m nas.compare --config {source}"
            )
        if is_curves(path):
            raise UserError(
                f"{source} draws learning curves and is no search: python -m nas.curves --config "
                f"{source}"
            )
        check_file(SearchConfig, path)
        given.insert(0, f"--config={path}")
    values: dict[str, Any] = instantiate(_parser(), given)
    config = SearchConfig(**values)
    if not config.study:
        config = dataclasses.replace(config, study=_study_name(path, source))
    if check:
        config.check()
    return config


def _study_name(path: Path | None, source: str) -> str:
    assert path is not None, "--help does not come here"
    name = path.resolve().parent.name if path.name == "config.yaml" else path.stem
    return re.sub(r"[^\w.-]+", "_", name) or source


@cache  # reading the docstrings takes a third of a second
def _parser() -> jsonargparse.ArgumentParser:
    parser = parser_of(
        SearchConfig,
        "python -m nas.search",
        USAGE,
        DESCRIPTION.format(experiments=", ".join(searches())),
    )
    parser.add_argument("--config", action="config", help="what CONFIG says, as a flag")
    return parser
