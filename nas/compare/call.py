"""`nas.compare([...])`: a comparison as a call from Python, and its result as an object."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import optuna

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.command_line import EXIT_INTERRUPTED
from nas.compare.command import ALIASES, command, parse, shared
from nas.compare.config import CompareConfig, cells_of
from nas.compare.report import pictures, rows_of_runs
from nas.compare.result import Comparison, Measured, OnTask
from nas.compare.run import comparison_of, plan, run
from nas.errors import UserError, counted
from nas.report import notebook
from nas.session.callbacks import AnyCallback
from nas.session.calls import Names, StudyFields, as_flags, explained
from nas.session.manner import of_call
from nas.session.plan import Plan
from nas.study.config import SearchConfig, url_of
from nas.study.opening import load
from nas.study.study import read_study

if TYPE_CHECKING:
    import pandas

AnyCell = str | Path | Cell
"""A zoo name, the path of a file or a winner's folder, equations as text, or a cell."""


class CompareFields(StudyFields, total=False):
    """Fields of `nas.CompareConfig`, which explains each; `--help` of the command shows all."""

    against: str | Sequence[AnyCell]
    seeds: int
    tuning: int
    best_share: float
    published: Names
    settings_per_evaluation: int


@dataclasses.dataclass(frozen=True, repr=False)
class CompareResult:
    """What a comparison found; nothing is trained."""

    name: str
    """The name of the comparison's study."""
    folder: Path
    """Its folder, with the files that the command writes."""
    output: str
    """What the command would have printed; empty where that was printed."""
    url: str
    """URL of Optuna's storage."""
    found: Comparison | None
    """All numbers; None if a time budget or a callback ended the comparison before its end."""

    @property
    def comparison(self) -> Comparison:
        """All numbers.

        Raises:
            UserError: if the comparison is not finished.
        """
        if self.found is None:
            raise UserError(f"comparison {self.name} is not finished: the same call goes on.")
        return self.found

    @cached_property
    def table(self) -> "pandas.DataFrame":
        """A row for each task and cell, and for each predictor without a network.

        Columns: `task`, `cell`, `kind` ("cell" or "no network"), `metric`, `higher_is_better`;
        `test`, the mean over the fresh seeds, or the best settings, `low` and `high`, the ends of
        its 95 % interval where there are fresh seeds; `n` of these; `n_missing` of them that count
        as blind guessing; `validation` of the best setting; `n_params`; `hidden_size`; `seconds` of
        training.
        """
        import pandas

        tasks = self.comparison.tasks
        return pandas.DataFrame([row for on in tasks for row in _rows(on)])

    @cached_property
    def values(self) -> "pandas.DataFrame":
        """A row for each task, cell and seed, or setting: the columns of comparison.csv."""
        import pandas

        return pandas.DataFrame(list(rows_of_runs(self.comparison)))

    @cached_property
    def verdicts(self) -> "pandas.DataFrame":
        """A row for each task and pair of cells.

        Columns: `task`, `cell`, `other`; `gain`, by how much the cell is better than the other,
        whatever the metric's direction, with `low` and `high`, the ends of its 95 % interval; `n`
        pairs; `p` and `corrected`, for all pairs together; `is_claimed`, whether that is evidence
        of a difference; and `verdict`, a sentence.
        """
        import pandas

        pairs = (
            (on.task.name, pair)
            for on in self.comparison.tasks
            for of_other in on.against.values()
            for pair in of_other.values()
        )
        sentences = self.comparison.verdicts
        return pandas.DataFrame(
            [
                {
                    "task": task,
                    "cell": pair.first,
                    "other": pair.other,
                    "gain": pair.gain.mean if pair.gain else None,
                    "low": pair.gain.low if pair.gain else None,
                    "high": pair.gain.high if pair.gain else None,
                    "n": pair.n,
                    "p": pair.p,
                    "corrected": pair.corrected,
                    "is_claimed": pair.is_claimed,
                    "verdict": sentence,
                }
                for (task, pair), sentence in zip(pairs, sentences, strict=True)
            ]
        )

    @property
    def pictures(self) -> list[Path]:
        """The pictures that were written, PNG files."""
        return [self.folder / f"{name}.png" for name in pictures(self.comparison)]

    @cached_property
    def study(self) -> optuna.Study:
        """Optuna's own study, a trial a cell; it is opened only to be read."""
        return load(self.name, self.url)

    def __repr__(self) -> str:
        if self.found is None:
            return f"<CompareResult {self.name}: not finished>"
        claimed = sum(self.verdicts.is_claimed) if len(self.verdicts) else 0
        return (
            f"<CompareResult {self.name}: {counted(len(self.found.cells), 'cell')} on "
            f"{counted(len(self.found.tasks), 'task')}, {counted(claimed, 'difference')}>"
        )

    def _repr_html_(self) -> str:
        """The verdicts, the table, the picture and the cells."""
        if self.found is None:
            return notebook.heading(repr(self))
        columns = ["task", "cell", "metric", "test", "low", "high", "n", "n_params", "seconds"]
        html = notebook.listed(self.found.verdicts) + notebook.table(self.table[columns])
        html += notebook.images([(path.stem, path.read_bytes()) for path in self.pictures])
        return html + notebook.cells((name, loads(text)) for name, text in self.found.cells.items())


def _rows(on: OnTask) -> Iterator[dict[str, Any]]:
    metric = on.task.metric
    about = {"task": on.task.name}
    what = {"metric": metric.name, "higher_is_better": metric.higher_is_better}
    for cell in on.cells:
        yield {**about, "cell": cell.name, "kind": "cell", **what, **_numbers(cell)}
    for level in on.levels.shown:
        yield {**about, "cell": level.name, "kind": "no network", **what, "test": level.value}


def _numbers(cell: Measured) -> dict[str, Any]:
    n = len(cell.values)
    return {
        "test": sum(cell.values) / n if n else None,
        "low": cell.mean.low if cell.mean else None,
        "high": cell.mean.high if cell.mean else None,
        "n": n,
        "n_missing": cell.n_missing,
        "validation": cell.tuned,
        "n_params": cell.n_params or None,
        "hidden_size": cell.hidden_size or None,
        "seconds": round(cell.seconds, 3),
    }


def compare(
    cells: AnyCell | Sequence[AnyCell] = (),
    config: str | Path | SearchConfig | CompareConfig = "",
    *,
    callbacks: Sequence[AnyCallback] = (),
    progress: bool = False,
    **fields: Unpack[CompareFields],
) -> CompareResult:
    """Run or resume a comparison of cells with GRU and LSTM, and return what it found.

        result = nas.compare(["mut1", "studies/quickstart/winner"], seeds=10)

    It is the comparison that `python -m nas.compare` makes with the same cells and configuration,
    and either goes on with what the other began.

    Args:
        cells: zoo names, files, winners' folders, equations as text, or cells.
        config: a search whose tasks and settings are taken, by name, path or as a
            `nas.SearchConfig`, or a comparison's own `nas.CompareConfig` or file; "overnight" if
            it is empty.
        callbacks: as of `nas.search`.
        progress: whether to show what the command shows; else `result.output` has it.
        fields: fields of the configuration by name, groups as dicts.

    Raises:
        UserError: in one sentence, for anything wrong with the arguments.
        SearchError: if the GRU has no metric on some task.
        KeyboardInterrupt: after Ctrl-C, the stop button or SIGTERM; finished work is kept.
    """
    with explained("nas.compare"):
        made = configured(cells, config, fields)
        manner = of_call(callbacks, progress=progress)
        uri = "" if made.tracking_uri == "off" else made.tracking_uri
        planned = plan(made, cells_of((*made.cells, *made.against), uri))
        code = run(planned, command(made), manner)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt(*manner.output.strip().splitlines()[-1:])
    folder = made.folder.absolute()
    url = url_of(folder, made.storage)
    return CompareResult(made.study, folder, manner.output, url, _found(planned, url))


def configured(
    cells: AnyCell | Sequence[AnyCell],
    config: str | Path | SearchConfig | CompareConfig,
    fields: CompareFields,
) -> CompareConfig:
    """The configuration of a call, read and checked as that of the command.

    Raises:
        UserError: in one sentence, for anything wrong with it.
    """
    several = [cells] if isinstance(cells, str | Path | Cell) else cells
    named: dict[str, object] = {"cells": several, **fields} if several else {**fields}
    given = list(as_flags(CompareConfig, named, ALIASES))
    if isinstance(config, SearchConfig):
        return parse([*shared(config), *given])
    if isinstance(config, CompareConfig):
        return parse([*as_flags(CompareConfig, vars(config), {}), *given])
    if not isinstance(config, str | Path):
        raise UserError(
            "config must be a search's name, the path of a YAML file, a nas.SearchConfig or a "
            f"nas.CompareConfig, got {type(config).__name__}."
        )
    return parse([*([f"--config={config}"] if str(config) else []), *given])


def _found(made: Plan[CompareConfig], url: str) -> Comparison | None:
    """The numbers of a comparison that is finished; else None."""
    study = read_study(made.config.study, made.config.folder, url)
    judged = {visit.key for visit in study.finished()}
    n_visits = sum(visit is not None for visit in study.visits)
    is_finished = {cell.key for cell in made.cells} <= judged and len(study.finished()) == n_visits
    return comparison_of(study, made) if is_finished else None
