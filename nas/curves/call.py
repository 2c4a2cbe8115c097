"""`nas.curves(...)`: learning curves as a call from Python, and their result as an object."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from nas.cell.cell import Cell
from nas.command_line import EXIT_INTERRUPTED
from nas.curves.command import ALIASES, cells_of, parse
from nas.curves.config import CurvesConfig
from nas.curves.report import sentence
from nas.curves.result import OnTask
from nas.curves.run import Learning, plan, results, run
from nas.curves.store import open_store
from nas.errors import UserError, counted
from nas.report import notebook
from nas.session.callbacks import AnyCallback
from nas.session.calls import RunFields, as_flags, explained
from nas.session.manner import of_call

if TYPE_CHECKING:
    import pandas


class CurvesFields(RunFields, total=False):
    """Fields of `nas.CurvesConfig`, which explains each; `--help` of the command shows all."""

    devices: str | Sequence[str]
    out: str | Path
    seeds: int
    epochs: int
    solved: float
    contrast: str | Sequence[str | Path | Cell]


@dataclasses.dataclass(frozen=True, repr=False)
class CurvesResult:
    """How cells learn tasks; nothing is trained."""

    folder: Path
    """The folder of the trainings, with the files that the command writes."""
    output: str
    """What the command would have printed; empty where that was printed."""
    found: tuple[OnTask, ...] | None
    """All numbers; None if a time budget or a callback ended the trainings before their end."""

    @property
    def tasks(self) -> tuple[OnTask, ...]:
        """All numbers of each task.

        Raises:
            UserError: if the trainings are not finished.
        """
        if self.found is None:
            raise UserError(f"the curves in {self.folder} are not finished: the same call goes on.")
        return self.found

    @cached_property
    def table(self) -> "pandas.DataFrame":
        """A row for each task and cell, the best first, and for each predictor without a network.

        Columns: `task`, `cell`, `kind` ("cell" or "no network"), `metric`, `higher_is_better`;
        `validation` and `test`, means over seeds of the best setting's best epoch;
        `epochs_to_solve`, the median, NaN unless all seeds solve the task; `n` seeds; `seconds` of
        training.
        """
        import pandas

        return pandas.DataFrame([row for on in self.tasks for row in _rows(on)])

    @cached_property
    def curves(self) -> "pandas.DataFrame":
        """A row for each task, cell, seed and epoch of the best setting.

        Columns: `task`, `cell`, `seed`, `epoch` from 1; `value`, the task's metric on validation;
        `train_loss`, `loss` and `accuracy` on validation; `learning_rate`.
        """
        import pandas

        return pandas.DataFrame([row for on in self.tasks for row in _epochs(on)])

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each task: which cells solve it, or are better than simple predictors."""
        return [sentence(on) for on in self.tasks]

    @property
    def pictures(self) -> list[Path]:
        """The pictures that were written, a PNG file a task."""
        return [self.folder / f"{on.task.name}.png" for on in self.tasks]

    def __repr__(self) -> str:
        if self.found is None:
            return f"<CurvesResult {self.folder}: not finished>"
        n_cells = len({row.name for on in self.found for row in on.rows})
        what = f"{counted(n_cells, 'cell')} on {counted(len(self.found), 'task')}"
        return f"<CurvesResult {self.folder}: {what}>"

    def _repr_html_(self) -> str:
        """A sentence and a picture a task, and the table."""
        if self.found is None:
            return notebook.heading(repr(self))
        columns = ["task", "cell", "metric", "validation", "test", "epochs_to_solve", "seconds"]
        html = notebook.listed(self.verdicts) + notebook.table(self.table[columns])
        return html + notebook.images([(path.stem, path.read_bytes()) for path in self.pictures])


def _rows(on: OnTask) -> Iterator[dict[str, Any]]:
    metric = on.task.metric
    what = {"metric": metric.name, "higher_is_better": metric.higher_is_better}
    for row in on.rows:
        yield {
            "task": on.task.name,
            "cell": row.name,
            "kind": "cell",
            **what,
            "validation": row.best,
            "test": row.test,
            "epochs_to_solve": row.epochs_to_solve,
            "n": len(row.runs),
            "seconds": round(row.seconds, 3),
        }
    for level in on.levels.shown:
        about = {"task": on.task.name, "cell": level.name, "kind": "no network"}
        yield {**about, **what, "validation": level.value}


def _epochs(on: OnTask) -> Iterator[dict[str, Any]]:
    for row in on.rows:
        for one in row.runs:
            for place, epoch in enumerate(one.outcome.curve, start=1):
                yield {
                    "task": on.task.name,
                    "cell": row.name,
                    "seed": one.seed,
                    "epoch": place,
                    "value": epoch.value(on.task.metric),
                    "train_loss": epoch.train_loss,
                    "loss": epoch.loss,
                    "accuracy": epoch.accuracy,
                    "learning_rate": epoch.learning_rate,
                }


def curves(
    cells: str | Path | Cell | Sequence[str | Path | Cell] = (),
    config: str | Path | CurvesConfig = "",
    *,
    callbacks: Sequence[AnyCallback] = (),
    progress: bool = False,
    **fields: Unpack[CurvesFields],
) -> CurvesResult:
    """Train cells on tasks, or go on with it, and return how they learn.

        result = nas.curves(["lstm", "gru"], tasks=["parity"], out="parity")

    It trains what `python -m nas.curves` does with the same configuration, and either goes on with
    what the other began. Functions among the callbacks are not called: there are no trials.

    Args:
        cells: zoo names, files, winners' folders, equations as text, or cells; "zoo" for all known
            ones. The configuration's if empty.
        config: an experiment that draws curves, the path of a YAML file, or a `nas.CurvesConfig`.
        callbacks: objects of `nas.Callback`.
        progress: whether to show what the command shows; else `result.output` has it.
        fields: fields of the configuration by name, groups as dicts.

    Raises:
        UserError: in one sentence, for anything wrong with the arguments.
        SearchError: if the machine runs no evaluations.
        KeyboardInterrupt: after Ctrl-C, the stop button or SIGTERM; finished work is kept.
    """
    with explained("nas.curves"):
        manner = of_call(callbacks, progress=progress)
        made = configured(cells, config, fields, manner.say)
        named, folder = cells_of(made.cells), Path(made.out)
        code = run(made, named, f"python -m nas.curves --config {folder / 'config.yaml'}", manner)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt(*manner.output.strip().splitlines()[-1:])
    return CurvesResult(folder.absolute(), manner.output, _found(made, named))


def configured(
    cells: str | Path | Cell | Sequence[str | Path | Cell],
    config: str | Path | CurvesConfig,
    fields: CurvesFields,
    say: Callable[[str], object],
) -> CurvesConfig:
    """The configuration of a call, read and checked as that of the command.

    Raises:
        UserError: in one sentence, for anything wrong with it.
    """
    several = [cells] if isinstance(cells, str | Path | Cell) else cells
    named: dict[str, object] = {"cells": several, **fields} if several else {**fields}
    given = list(as_flags(CurvesConfig, named, ALIASES))
    if isinstance(config, CurvesConfig):
        return parse([*as_flags(CurvesConfig, vars(config), {}), *given], say)
    if not isinstance(config, str | Path):
        raise UserError(
            "config must be an experiment's name, the path of a YAML file or a nas.CurvesConfig, "
            f"got {type(config).__name__}."
        )
    return parse([*([f"--config={config}"] if str(config) else []), *given], say)


def _found(config: CurvesConfig, cells: Sequence[Cell]) -> tuple[OnTask, ...] | None:
    """The numbers of trainings that are all finished; else None."""
    made = plan(config, cells)
    assert isinstance(made.protocol, Learning)
    with open_store(Path(config.out)) as store:
        asked = made.protocol.asked
        if any(evaluation.digest() not in store.kept for evaluation in asked):
            return None
        return tuple(results(config, cells, asked, store))
