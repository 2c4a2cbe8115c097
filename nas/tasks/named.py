"""The task at the import path of a `nas.Task`: what a study knows of it.

Its fields are plain data, so that it is pickled, digested and stored like all others; a worker
imports the module anew.
"""

import functools
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from nas.errors import UserError
from nas.resources import UNPACKED, own_class
from nas.tasks import sequences
from nas.tasks.base import Baseline, Metric, Split, scored_rows
from nas.tasks.code import source_of
from nas.tasks.labelled import Array, DeclaredHead
from nas.tasks.module import LoadedTask, read_loaders
from nas.tasks.own import OwnTask, Scores, name_of
from nas.tasks.sequences import Data

N_BLIND = 20
"""Draws of scores whose mean metric is that of blind guessing."""
HAIR = np.float32(1e-6)
"""The size of the differences between the scores of a blind guess."""


@dataclass(frozen=True)
class Named(LoadedTask):
    """The task at an import path; `named` makes it."""

    name: ClassVar[str] = ""  # of each object its own, see below

    path: str = ""
    """package.module:name of a `nas.Task`."""
    head: DeclaredHead = "class"
    horizon: Annotated[int, "at least 0"] = 0
    batch_first: bool = True
    normalise: bool = True
    metric_name: Literal["", "accuracy", "loss"] = ""
    function: str = ""
    """The name of the metric function; none if empty."""
    higher_is_better: bool = True
    unit: str = ""
    best: float | None = None
    folds: Annotated[int, "at least 0"] = 0
    fold: Annotated[int, "at least 0"] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.path.rpartition(":")[2])

    @property
    def where(self) -> str:
        return f"tasks.use {self.path}"

    @property
    def definition(self) -> OwnTask:
        """What the user wrote."""
        return definition_of(self.path)

    @property
    def data(self) -> Data:
        return _data(self)

    @property
    def metric(self) -> Metric:
        if not self.function:
            return super().metric
        return Metric(self.function, self.unit or "own metric", self.higher_is_better)

    @property
    def best_possible(self) -> float | None:
        return self.best

    def check(self) -> None:
        super().check()
        if _read(self).sha256 != self.data.sha256:
            raise UserError(
                f"{self.where} gives other data each time that it is read: fix its seeds, and let "
                "no loader drop its last batch."
            )
        _ = self.chance()

    def content(self) -> str:
        """The digest of the data and of the code of the metric and the loss."""
        made = self.definition
        functions = [f for f in (made.metric, made.loss) if callable(f)]
        return sequences.digest(
            self.data.sha256.encode(), *(source_of(function).encode() for function in functions)
        )

    def measured(self, scores: Scores, targets: Array) -> float:
        """The value of the metric function; raises UserError unless it is a number of at least
        0."""
        function = self.definition.metric
        assert callable(function), "only a metric function is asked for"
        value = float(function(scores, targets))
        if not (math.isfinite(value) and value >= 0):
            raise UserError(
                f"{self.where}: the metric {self.function} must be a finite number of at least 0, "
                f"since cells are compared by ratios, got {value:g}."
            )
        return value

    def chance(self, split: Split = "validation") -> float:
        """With a metric function: the mean over scores that are equal but for a random hair."""
        return _chance(self, split) if self.function else super().chance(split)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        if not self.function:
            return super().baseline(seed, split)
        targets, _ = scored_rows(self.windows(split, seed))
        known, _ = scored_rows(self.windows("train", seed))
        constant = self.measured(np.tile(_constant(self, known), (len(targets), 1)), targets)
        chance = self.chance(split)
        if self.metric.better(constant, than=chance):
            return Baseline("constant guess", constant)
        return Baseline("blind guess", chance)


@functools.lru_cache(maxsize=64)
def _chance(task: Named, split: Split) -> float:
    targets, _ = scored_rows(task.windows(split, seed=0))
    shape, random = (len(targets), task.interface.outputs), np.random.default_rng(0)
    if task.interface.head == "gaussian":
        return task.measured(np.zeros(shape, np.float32), targets)
    # Equal but for a hair: the largest is any of them, and shares of probability are equal.
    draws = (HAIR * random.standard_normal(shape, dtype=np.float32) for _ in range(N_BLIND))
    return float(np.mean([task.measured(scores, targets) for scores in draws]))


def _constant(task: Named, known: Array) -> Scores:
    """The scores of a guess that is the same everywhere, from the training targets: (outputs,)."""
    ends = task.interface
    if ends.head == "gaussian":
        guess = known.mean(0)
    elif ends.head == "bernoulli":
        shares = (known.sum(0, dtype=np.float64) + 1) / (len(known) + 2)
        guess = np.log(shares / (1 - shares))
    else:
        counts = np.bincount(known, minlength=ends.outputs) + 1.0
        guess = np.log(counts / counts.sum())
    return np.asarray(guess, dtype=np.float32)


def named(path: str) -> Named:
    """The task of a study from the import path of a `nas.Task`, whose module is imported.

    Of a packed study's path nothing is imported, and what it defines is not known.

    Raises:
        UserError: if there is no such task, or it breaks a rule.
    """
    if path.startswith(UNPACKED):
        return Named(path=path)
    made = definition_of(path)
    budgets = (made.n_params,) if isinstance(made.n_params, int) else tuple(made.n_params)
    is_own = callable(made.metric)
    return Named(
        path=path,
        head=made.head,
        horizon=made.horizon,
        batch_first=made.batch_first,
        normalise=made.normalise,
        metric_name=made.metric if isinstance(made.metric, str) else "",
        function=name_of(made.metric) if is_own else "",
        higher_is_better=made.higher_is_better is not False,
        unit=made.unit,
        best=made.perfect,
        folds=made.folds,
        n_params=budgets,
        epochs=made.epochs,
        batches_per_epoch=made.batches_per_epoch,
        validation_batches=made.validation_batches,
        batch_size=made.batch_size,
        stop_at=made.stop_at,
    )


_CHANGED: dict[str, tuple[object, float]] = {}
"""Of each import path the object that was found last, and when its file had been changed then."""


def definition_of(path: str) -> OwnTask:
    """What stands at an import path.

    Raises:
        UserError: if that is no `nas.Task`, or its file was changed since it was imported.
    """
    module, _, attribute = path.partition(":")
    if module == "__main__":
        raise UserError(
            f"tasks.use {path}: workers do not import the script or notebook itself: put the task "
            f"into a file beside it, such as my_tasks.py, and name it my_tasks:{attribute}."
        )
    found = own_class("tasks.use", path, "a nas.Task")
    if not isinstance(found, OwnTask):
        raise UserError(
            f"tasks.use {path} must be an object of nas.Task, got {type(found).__name__}."
        )
    _check_current(path, found)
    return found


def _check_current(path: str, found: OwnTask) -> None:
    """Refuse a module that differs from its file, which workers would import."""
    file = getattr(sys.modules[path.partition(":")[0]], "__file__", None)
    if file is None or not Path(file).is_file():
        return
    changed = Path(file).stat().st_mtime
    known, before = _CHANGED.setdefault(path, (found, changed))
    if known is found and before != changed:
        raise UserError(
            f"tasks.use {path}: {file} was changed since it was imported, and workers would import "
            "what it is now: start Python anew, or importlib.reload the module."
        )
    _CHANGED[path] = (found, changed)


@functools.lru_cache(maxsize=16)
def _data(task: Named) -> Data:
    return _read(task)


def _read(task: Named) -> Data:
    made = task.definition
    parts = (made.train, made.validation, made.test)
    return read_loaders(task, [_batches(task, part) for part in parts])


def _batches(task: Named, part: Any) -> Iterable[Any]:
    """The batches of a split, in whatever form it was given."""
    if callable(part) and not hasattr(part, "__iter__") and not hasattr(part, "__getitem__"):
        part = part()
    if isinstance(part, tuple):
        return [part]
    kinds = {(base.__module__.partition(".")[0], base.__name__) for base in type(part).__mro__}
    if ("torch", "Dataset") in kinds:
        return _one_by_one(task, part)
    if not isinstance(part, Iterable):
        raise UserError(
            f"{task.where}: each split must be a DataLoader, a Dataset, an iterable of batches or "
            f"a tuple of arrays, got {type(part).__name__}."
        )
    return part


def _one_by_one(task: Named, dataset: Any) -> Iterator[Any]:
    """The sequences of a Dataset, each as a batch of one."""
    n = len(dataset) if hasattr(dataset, "__len__") else None
    examples = iter(dataset) if n is None else (dataset[place] for place in range(n))
    for example in examples:
        x, *rest = example if isinstance(example, tuple | list) else (example,)
        yield ([x], *([np.asarray(part)] for part in rest)) if rest else [[x]]
