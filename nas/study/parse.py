"""From the command line to a checked configuration, before anything slow is imported."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from nas.command_line import check_file, flags, read_config
from nas.errors import UserError
from nas.resources import find, is_comparison, is_curves, searches
from nas.study.config import SearchConfig

USAGE = "python -m nas.search [CONFIG] [--FIELD VALUE ...]"
DESCRIPTION = """Search for recurrent cells, or go on with a search: the same command resumes.

CONFIG is an experiment that comes with nas ({experiments}) or the path of a YAML file; without it,
quickstart. own_data is for data of your own, such as --tasks csv --tasks.csv.path FILE. Every field
of the configuration is a flag; --print_config shows all of them as YAML.
python -m nas.status STUDY says what a search is doing, while it runs and afterwards.
"""
ALIASES = {"tasks": "tasks.use", "protocol": "protocol.kind"}
"""--tasks xml text is short for --tasks.use xml text, --protocol flat for --protocol.kind flat."""


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
    described = DESCRIPTION.format(experiments=", ".join(searches()))
    config = read_config(SearchConfig, "python -m nas.search", USAGE, described, given)
    if not config.study:
        config = dataclasses.replace(config, study=_study_name(path, source))
    if check:
        config.check()
    return config


def _study_name(path: Path | None, source: str) -> str:
    assert path is not None, "--help does not come here"
    name = path.resolve().parent.name if path.name == "config.yaml" else path.stem
    return re.sub(r"[^\w.-]+", "_", name) or source
