"""From the command line to a checked configuration, before anything slow is imported."""

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from nas.command_line import Command, check_file, flags, help_if_asked, read_config
from nas.command_line.help import offer, parser_of
from nas.errors import UserError
from nas.resources import find, is_comparison, is_curves, names, searches
from nas.study.config import SearchConfig
from nas.tasks import TASKS
from nas.zoo import ZOO

DESCRIPTION = """Search for recurrent cells, or go on with a search: the same command resumes.

CONFIG is an experiment that comes with nas ({experiments}) or the path of a YAML file; without it,
quickstart. own_data is for data of your own. Every field of the configuration is a flag, whose
default CONFIG may change; --print-config shows all of them as YAML.

python -m nas.status STUDY says what a search is doing, while it runs and afterwards.
"""
COMMON = (
    "study",
    "tasks.use",
    "space",
    "sampler",
    "n_candidates",
    "time_budget",
    "protocol.kind",
    "protocol.n_settings",
    "include",
    "seed",
    "workers",
    "confirm",
    "tracking_uri",
)
EXAMPLE = "own_data --tasks csv --tasks.csv.path FILE --time-budget 8h"
ALIASES = {"tasks": "tasks.use", "protocol": "protocol.kind"}
"""--tasks xml text is short for --tasks.use xml text, --protocol flat for --protocol.kind flat."""


def parse(arguments: Sequence[str], *, check: bool = True) -> SearchConfig:
    """The configuration that the arguments mean, checked, for which all data are read.

    Raises:
        UserError: in one sentence, for anything wrong with the arguments or the file.
        SystemExit: after --help and --print_config.
    """
    help_if_asked(described, arguments)
    rest = list(arguments)
    source = rest.pop(0) if rest and not rest[0].startswith("-") else "quickstart"
    path = find("experiments", source)
    given = list(flags(SearchConfig, rest, ALIASES))
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
    config = read_config(SearchConfig, [f"--config={path}", *given])
    if not config.study:
        config = dataclasses.replace(config, study=_study_name(path, source))
    if check:
        config.check()
    return config


def described() -> Command:
    """The command, as its help shows it."""
    return Command(
        "search",
        SearchConfig(),
        "[CONFIG] [--FIELD VALUE ...]",
        DESCRIPTION.format(experiments=", ".join(searches())),
        COMMON,
        EXAMPLE,
        ALIASES,
        reads_files=True,
    )


def parser() -> argparse.ArgumentParser:
    """All arguments of the command, for completion in the shell."""
    from nas.samplers.registry import NAMES  # Optuna, which takes a second

    made = parser_of(described())
    offer(made, {"tasks.use": TASKS, "include": ZOO, "sampler": NAMES})
    offer(made, {"space": names("search_spaces")})
    made.add_argument("configuration", nargs="?", choices=searches())
    return made


def _study_name(path: Path, source: str) -> str:
    name = path.resolve().parent.name if path.name == "config.yaml" else path.stem
    return re.sub(r"[^\w.-]+", "_", name) or source
