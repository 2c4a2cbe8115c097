"""What is finished: a file of one line of JSON for each evaluation, found again by its digest.

A line says all of itself, so that a folder may be filled by commands with other cells, tasks and
settings, and a table shows those that its command asks for. A coordinator fills it as it fills a
study; visits are of this process alone, since they follow from the lines.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.errors import SearchError, UserError
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import Judgement
from nas.study.lock import LOCK, held
from nas.study.visit import Evaluated, Kind, Visit

FILE = "curves.jsonl"


@dataclass(frozen=True)
class Finished:
    """An evaluation that was run."""

    cell: str
    """Its text."""
    backend: str
    """What its time loop ran on, "c", "eager" or "gpu"; empty if it was not trained."""
    evaluated: Evaluated


class Store:
    """The file of a folder, made by `open_store`; a `Ledger` of the coordinator."""

    def __init__(self, path: Path, *, on_gpu: bool = False) -> None:
        self.path, self.name, self.on_gpu = path, path.parent.name, on_gpu
        self.visits: list[Visit | None] = []
        self.kept: dict[str, Finished] = {}
        """By digest of the evaluation."""
        self.cache: dict[str, Evaluated] = {}
        self._read()

    def _backend(self, evaluation: Evaluation, outcomes: tuple[Outcome, ...]) -> str:
        backend = backend_of(evaluation, outcomes)
        return "gpu" if backend and self.on_gpu else backend

    def finished(self) -> list[Visit]:
        return [visit for visit in self.visits if visit and visit.judgement]

    def ask(
        self,
        number: int,
        sampler: object,
        propose: Callable[[Any], Cell],
        kind: Kind,
        settings: object = None,
    ) -> Visit:
        cell = propose(None)  # a given cell is what it is, whatever trial it is proposed for
        visit = Visit(number, number, kind, cell.name, str(cell), cell.key)
        self.visits.append(visit)
        return visit

    def store(self, visit: Visit, evaluation: Evaluation, outcomes: tuple[Outcome, ...]) -> None:
        """Keep an evaluation; it is on the disk when this returns.

        Raises:
            SearchError: if the file cannot be written.
        """
        evaluated = Evaluated.of(evaluation, outcomes, key="")  # a line says all of itself
        finished = Finished(evaluation.cell, self._backend(evaluation, outcomes), evaluated)
        line = {"digest": evaluation.digest(), **asdict(finished)}
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
        self._keep(evaluation.digest(), finished)

    def judge(self, visit: Visit, judgement: Judgement) -> None:
        visit.judgement = judgement

    def tell(self, visit: Visit) -> None:
        visit.told = True

    def _keep(self, digest: str, finished: Finished) -> None:
        self.kept[digest], self.cache[digest] = finished, finished.evaluated

    def _read(self) -> None:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
            whole = data.rfind(b"\n") + 1
            if whole < len(data):  # a line that was being written when the process ended
                with self.path.open("r+b") as file:
                    file.truncate(whole)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}.") from None
        for number, text in enumerate(data[:whole].splitlines(), start=1):
            try:
                line = json.loads(text)
                evaluated = Evaluated.from_json(line["evaluated"])
                self._keep(line["digest"], Finished(line["cell"], line["backend"], evaluated))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(
                    f"{self.path}: line {number} is no finished training ({error}): remove the "
                    "line, or take another --out folder."
                ) from None


@contextmanager
def open_store(folder: Path, *, on_gpu: bool = False) -> Iterator[Store]:
    """The store of a folder, made if it is not there, for one process at a time, which may train
    on a GPU.

    Raises:
        UserError: if the folder cannot be written, another process holds it, or a line is damaged.
    """
    what = f"folder {folder}"
    with held(folder / LOCK, what, "--out folder", what, "--out"):
        yield Store(folder / FILE, on_gpu=on_gpu)


def backend_of(evaluation: Evaluation, outcomes: tuple[Outcome, ...]) -> str:
    """What the time loop of these runs was: "c" or "eager"; empty if none was trained."""
    from nas.compile.backend import trained_on  # it imports torch

    width = next((outcome.hidden_size for outcome in outcomes if outcome.cost.steps), 0)
    return trained_on(loads(evaluation.cell), width) if width else ""
