"""Cells of studies, named `STUDY/NAME`, such as `studies/german/gates_07b43b`.

A study is a room above this one, so `nas/__init__.py` says which module reads it, and it is
imported when such a name is first used.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from nas.cell.cell import Cell

STUDIES = "studies"
"""The folder that holds the studies of a working directory."""


class Reader(Protocol):
    """The module that reads cells of studies: `nas.study.cells`."""

    def cell_of(self, study: str, name: str) -> Cell: ...

    def weights_of(self, study: str, name: str, task: str) -> Path: ...


_reader: list[Callable[[], Reader]] = []


def read_with(reader: Callable[[], Reader]) -> None:
    """Say how the module is imported that reads cells of studies."""
    _reader[:] = [reader]


def is_cell_of_study(source: str) -> bool:
    """Whether a text names a cell of a study that is here: its folder or its name, then a cell."""
    study, slash, name = source.rstrip("/").rpartition("/")
    try:
        if not (study and slash and name) or Path(source).exists():
            return False
        folders = Path(study), Path(STUDIES) / study
        files = ("study.db", "config.yaml")
        return any((folder / file).is_file() for folder in folders for file in files)
    except (OSError, ValueError):  # no path at all: too long, or with a NUL in it
        return False


def cell_of(source: str) -> Cell:
    """Return the cell of a study that a text names.

    Raises:
        UserError: if the study has no such cell, with the nearest name.
    """
    study, _, name = source.rstrip("/").rpartition("/")
    return _reader[0]().cell_of(study, name)


def weights_of(source: str, task: str) -> Path:
    """Return the file of the best weights of a cell of a study.

    Raises:
        UserError: if the study has no such cell, or did not keep its weights.
    """
    study, _, name = source.rstrip("/").rpartition("/")
    return _reader[0]().weights_of(study, name, task)
