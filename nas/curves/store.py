"""What is finished: a file of one line of JSON for each evaluation, found again by its digest.

A line says all of itself, so that a folder may be filled by commands with other cells, tasks and
settings, and a table shows those that its command asks for.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.errors import SearchError, UserError
from nas.protocol.evaluation import Evaluation, Outcome
from nas.study.lock import LOCK, held
from nas.study.visit import Evaluated

FILE = "curves.jsonl"


@dataclass(frozen=True)
class Finished:
    """An evaluation that was run."""

    cell: str
    """Its text."""
    backend: str
    """What its time loop ran on, "c" or "eager"; empty if it was not trained."""
    evaluated: Evaluated

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Finished":
        return Finished(data["cell"], data["backend"], Evaluated.from_json(data["evaluated"]))


class Store:
    """The file of a folder; made by `open_store`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.finished: dict[str, Finished] = {}
        """By digest of the evaluation."""
        self._read()

    def add(self, evaluation: Evaluation, outcomes: tuple[Outcome, ...], backend: str) -> None:
        """Keep an evaluation; it is on the disk when this returns.

        Raises:
            SearchError: if the file cannot be written.
        """
        evaluated = Evaluated.of(evaluation, outcomes, key="")
        finished = Finished(evaluation.cell, backend, evaluated)
        line = {"digest": evaluation.digest(), **finished.to_json()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SearchError(
                f"{self.path} cannot be written ({error.strerror}): once that is mended, the same "
                "command goes on."
            ) from None
        self.finished[evaluation.digest()] = finished

    def _read(self) -> None:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
            whole = data.rfind(b"\n") + 1
            if whole < len(data):  # a line that was being written when the process ended
                with self.path.open("r+b") as file:
                    file.truncate(whole)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}.") from None
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                found = json.loads(line)
                self.finished[found["digest"]] = Finished.from_json(found)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{self.path}: line {number} is no finished training ({error}): remove the "
                    "line, or take another --out folder."
                ) from None


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """The store of a folder, made if it is not there, for one process at a time.

    Raises:
        UserError: if the folder cannot be written, another process holds it, or a line is damaged.
    """
    what = f"folder {folder}"
    with held(folder / LOCK, what, "--out folder", what, "--out"):
        yield Store(folder / FILE)
