"""The command: cells, tasks and flags to a checked configuration, and curves of it."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.cell.cell import Cell
from nas.command_line import (
    Command,
    arguments_of,
    check_file,
    flags,
    guarded,
    help_if_asked,
    read_config,
    split_config,
)
from nas.command_line.help import offer, parser_of
from nas.curves.config import CurvesConfig
from nas.errors import UserError, joined
from nas.resources import curves, find, is_curves
from nas.tasks import TASKS
from nas.tasks.config import TasksConfig
from nas.zoo import ZOO
from nas.zoo.lookup import cell as look_up
from nas.zoo.lookup import unique_cells

DESCRIPTION = """Train cells on tasks and draw how they learn, or go on with it: what is finished is
not trained again.

Each cell is trained on each task with a few settings, all of them in one go, and shown with the
best: a table of metrics beside blind guessing and a simple baseline, when a task that has a perfect
score was solved, and a picture of each task. --cells zoo is all known cells, --tasks all are all
tasks but those of your own data and those whose files are neither here nor fetched. --contrast gru
lstm says on which tasks these cells are far above all others that are drawn. CONFIG is an
experiment that comes with nas ({experiments}), or the path of a YAML file. --print-config shows all
fields as YAML.
"""
COMMON = (
    "cells",
    "tasks.use",
    "out",
    "seeds",
    "epochs",
    "contrast",
    "settings.learning_rate",
    "time_budget",
    "seed",
    "workers",
)
EXAMPLE = "--cells gru lstm mut1 --tasks adding parity --out curves"
ALIASES = {"tasks": "tasks.use"}
OWN_DATA = ("csv", "arrays", "module")
"""Tasks that need a file of the user's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return guarded("nas.curves", lambda: draw(parse(arguments_of(arguments))))


def draw(config: CurvesConfig) -> int:
    """Train and draw, or go on, what `config` describes.

    Raises:
        UserError: if something that the configuration names is not there or does not fit.
        SearchError: if the machine runs no evaluations.
    """
    from nas.curves.run import run

    command = f"python -m nas.curves --config {Path(config.out) / 'config.yaml'}"
    return run(config, cells_of(config.cells), command)


def cells_of(sources: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that are named, each key once; "zoo" is all known ones.

    Raises:
        UserError: if there is no such cell, with the nearest name.
    """
    known = [ZOO.values() if source == "zoo" else [look_up(source)] for source in sources]
    return unique_cells([cell for cells in known for cell in cells])


def parse(arguments: Sequence[str], say: Callable[[str], object] = print) -> CurvesConfig:
    """The configuration that the arguments mean, checked; `say` is told of tasks left out.

    Raises:
        UserError: in one sentence, for anything wrong with the arguments or the file.
        SystemExit: after --help and --print_config.
    """
    help_if_asked(described, arguments)
    rest, source = split_config(arguments)
    given = list(flags(CurvesConfig, rest, ALIASES))
    if source:
        given.insert(0, f"--config={_file(source)}")
    config = read_config(CurvesConfig, given)
    if config.tasks.use == ("all",):
        config = dataclasses.replace(config, tasks=_all(config.tasks, say))
    config.check()
    return config


def described() -> Command:
    """The command, as its help shows it."""
    return Command(
        "curves",
        CurvesConfig(),
        "[--config CONFIG] [--cells CELL ...] [--tasks TASK ...] [--FIELD VALUE ...]",
        DESCRIPTION.format(experiments=", ".join(curves())),
        COMMON,
        EXAMPLE,
        ALIASES,
        reads_files=True,
    )


def parser() -> argparse.ArgumentParser:
    """All arguments of the command, for completion in the shell."""
    made = parser_of(described())
    offer(made, {"tasks.use": [*TASKS, "all"], "cells": [*ZOO, "zoo"], "contrast": ZOO})
    return made


def _file(source: str) -> Path:
    path = find("experiments", source)
    if not is_curves(path):
        raise UserError(
            f"{source} draws no learning curves: a file of this command has the fields cells and "
            "out."
        )
    check_file(CurvesConfig, path)
    return path


def _all(tasks: TasksConfig, say: Callable[[str], object]) -> TasksConfig:
    """The tasks whose data are here or can be fetched; say why others are left out, once for all
    that lack the same file."""
    use: list[str] = []
    reasons: dict[str, tuple[UserError, list[str]]] = {}
    for name in TASKS:
        if name in OWN_DATA:
            continue
        task = tasks.task(name)
        lacking = task.missing() or name
        if lacking in reasons:
            reasons[lacking][1].append(name)
            continue
        try:
            task.check()
        except UserError as error:
            reasons[lacking] = error, []
        else:
            use.append(name)
    for reason, others in reasons.values():
        also = f" So {'is' if len(others) == 1 else 'are'} {joined(others)}." if others else ""
        say(f"left out: {reason}{also}")
    return dataclasses.replace(tasks, use=tuple(use))
