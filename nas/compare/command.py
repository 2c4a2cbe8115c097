"""The command: cells and flags to a checked configuration, and a comparison of it."""

import argparse
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nas.command_line import (
    Command,
    arguments_of,
    check_file,
    fields_of,
    flags,
    guarded,
    help_if_asked,
    read_config,
    split_config,
)
from nas.command_line.help import offer, parser_of
from nas.compare.config import CompareConfig, cells_of
from nas.errors import HIDDEN, UserError, hidden
from nas.resources import find, is_comparison, names
from nas.study.config import SearchConfig
from nas.study.parse import parse as parse_search
from nas.tasks import TASKS
from nas.zoo import ZOO
from nas.zoo.lookup import cell as look_up

DESCRIPTION = """Compare cells with GRU and LSTM, or go on with it: the same command resumes.

Each cell is tuned on the same settings of each task on validation, then trained anew on fresh seeds
with its best setting and measured on the test split, all at one parameter budget. CELL is a zoo
name, a .cell or .json file, a winner's folder, or runs:/ID of MLflow. --config takes tasks,
settings and limits from a search: an experiment that comes with nas ({experiments}) or the path of
a YAML file; without it, from {default}. A comparison's own config.yaml goes on with that one.
--print-config shows all fields as YAML.
"""
COMMON = (
    "study",
    "tasks.use",
    "seeds",
    "tuning",
    "against",
    "time_budget",
    "seed",
    "workers",
    "tracking_uri",
)
EXAMPLE = "mut1 studies/quickstart/winner --tasks text --seeds 10"
ALIASES = {"tasks": "tasks.use"}
SHARED = ("tasks.", "settings.", "evaluation_time_limit", "evaluation_memory_limit_gb")
"""Fields that are taken from a search."""
DEFAULT = "overnight"
"""The search whose tasks and settings are taken: quickstart has 2 settings, too few to tune."""
LONGEST_NAME = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return guarded("nas.compare", lambda: compare(parse(arguments_of(arguments))))


def compare(config: CompareConfig) -> int:
    """Run or resume the comparison that `config` describes.

    Raises:
        UserError: if something that the configuration names is not there or does not fit.
        SearchError: if the GRU has no metric on some task.
    """
    from nas.compare.run import plan, run  # Optuna, once the arguments are known to be good

    uri = "" if config.tracking_uri == "off" else config.tracking_uri
    return run(plan(config, cells_of((*config.cells, *config.against), uri)), command(config))


def command(config: CompareConfig) -> str:
    """What goes on with a comparison, a storage's password left out."""
    storage = " --storage URL" if HIDDEN in hidden(config.storage) else ""
    return f"python -m nas.compare --config {config.folder / 'config.yaml'}{storage}"


def parse(arguments: Sequence[str]) -> CompareConfig:
    """The configuration that the arguments mean, checked.

    Raises:
        UserError: in one sentence, for anything wrong with the arguments or the file.
        SystemExit: after --help and --print_config.
    """
    help_if_asked(described, arguments)
    rest, cells = list(arguments), []
    while rest and not rest[0].startswith("-"):
        cells.append(rest.pop(0))
    rest, source = split_config(rest)
    given = list(flags(CompareConfig, rest, ALIASES))
    given = [*_from_config(source or DEFAULT), *given]
    if cells:
        given.append(f"--cells={json.dumps(cells)}")
    config = read_config(CompareConfig, given)
    if not config.cells:
        raise UserError(
            "name at least one cell to compare with GRU and LSTM: python -m nas.compare mut1, or "
            'nas.compare("mut1") in Python.'
        )
    if not config.study:
        config = dataclasses.replace(config, study=_study_name(config.cells))
    config.check()
    return config


def described() -> Command:
    """The command, as its help shows it."""
    return Command(
        "compare",
        CompareConfig(),
        "CELL [CELL ...] [--config SEARCH] [--FIELD VALUE ...]",
        DESCRIPTION.format(experiments=", ".join(names("experiments")), default=DEFAULT),
        COMMON,
        EXAMPLE,
        ALIASES,
        reads_files=True,
    )


def parser() -> argparse.ArgumentParser:
    """All arguments of the command, for completion in the shell."""
    made = parser_of(described())
    offer(made, {"tasks.use": TASKS, "against": ZOO})
    made.add_argument("cell", nargs="*", choices=[*ZOO])
    return made


def _from_config(source: str) -> Iterator[str]:
    """What --config means, as flags: a comparison's own file, or what is taken from a search."""
    path = find("experiments", source)
    if is_comparison(path):
        check_file(CompareConfig, path)
        yield f"--config={path}"
    else:
        yield from shared(parse_search([source]))


def shared(search: SearchConfig) -> Iterator[str]:
    """What a comparison takes from a search, as flags."""
    for name in fields_of(CompareConfig):
        if name.startswith(SHARED):
            value: Any = search
            for part in name.split("."):
                value = getattr(value, part)
            if not dataclasses.is_dataclass(value):
                yield f"--{name}={value if isinstance(value, str) else json.dumps(value)}"


def _study_name(cells: Sequence[str]) -> str:
    """A name made of the cells, so that the same command finds its study again."""
    named = (look_up(cell).name if "\n" in cell else Path(cell).stem or cell for cell in cells)
    words = [re.sub(r"[^\w.-]+", "_", name) for name in named]
    name = "_".join(["compare", *words])
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}_{hashlib.sha256(' '.join(cells).encode()).hexdigest()[:6]}"
    return name
