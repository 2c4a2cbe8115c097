"""The data of a LightningDataModule, named by its import path, with a declared head."""

import functools
import importlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import yaml

from nas.errors import UserError
from nas.tasks import labelled, sequences
from nas.tasks.base import SPLITS, Split
from nas.tasks.labelled import Array, DeclaredHead, LabelledTask
from nas.tasks.sequences import Data

FORMS = "(x, y) or (x, y, lengths), or x alone with a horizon"


@dataclass(frozen=True)
class Module(LabelledTask):
    """The sequences that a LightningDataModule's loaders yield, read once and kept in memory.

    A batch is (x, y) or (x, y, lengths), or x alone with a `horizon`: x tokens (batch, time) or
    features (batch, time, features), y as in the task `arrays`. The loaders of train, validation
    and test are the splits. They are read once: afterwards the task's own seeds batch and shuffle
    the sequences, so that outcomes can be reproduced. The only code that runs is the import of
    `path`, the class that it names, and that object's methods.
    """

    name: ClassVar[str] = "module"

    path: str = ""
    """package.module:Class of a LightningDataModule, importable from the working directory."""
    arguments: tuple[str, ...] = ()
    """Arguments of the class, as name=value."""
    head: DeclaredHead = "class"
    """class: one of several a sequence; categorical: at each step; bernoulli: bits; gaussian:
    numbers."""
    horizon: Annotated[int, "at least 0"] = 0
    """If above 0, x so many steps later is predicted, in place of y."""
    batch_first: bool = True
    """Whether x is (batch, time, …), as loaders stack it; else (time, batch, …)."""
    normalise: bool = True
    metric_name: Literal["", "accuracy", "loss"] = ""
    """Accuracy for classes and loss for the rest, if empty."""

    @property
    def data(self) -> Data:
        """The sequences of the module; they are read once in a process."""
        return _data(self)

    def check(self) -> None:
        super().check()
        if _read(self).sha256 != self.data.sha256:
            raise UserError(
                f'tasks.{self.name}.path: "{self.path}" gives other data each time that it is '
                "read: fix its seeds, and let no loader drop its last batch."
            )


@functools.lru_cache(maxsize=4)
def _data(task: Module) -> Data:
    return _read(task)


def _read(task: Module) -> Data:
    inputs: list[Array] = []
    targets: list[Array] = []
    dealt, digests = {}, []
    for split, loader in zip(SPLITS, _loaders(task, _instance(task)), strict=True):
        examples = sorted(
            ((sequences.digest(*example), example) for example in _examples(task, split, loader)),
            key=lambda pair: pair[0],  # whatever the order in which a loader yields them
        )
        digests += [split.encode(), *(digest.encode() for digest, _ in examples)]
        dealt[split] = np.arange(len(inputs), len(inputs) + len(examples))
        inputs += [example[0] for _, example in examples]
        targets += [example[1] for _, example in examples if len(example) > 1]
    rest = None if task.horizon else targets
    return labelled.build(task, inputs, rest, dealt, sequences.digest(*digests))


def _instance(task: Module) -> Any:
    """Make the object that the path and the arguments name."""
    where = f"tasks.{task.name}"
    if not (place := task.path) or place.count(":") != 1:
        raise UserError(
            f"{where}.path must be package.module:Class of a LightningDataModule, "
            f'got "{task.path}".'
        )
    name, _, attribute = place.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:  # the nas-search script has neither
        sys.path.insert(0, str(Path.cwd()))
    try:
        kind = getattr(importlib.import_module(name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f'{where}.path: "{place}" cannot be imported: {_reason(error)}.') from None
    missing = [n for n in ("setup", "train_dataloader", "val_dataloader") if not hasattr(kind, n)]
    if missing:
        raise UserError(
            f'{where}.path: "{place}" must be a LightningDataModule, it has no {missing[0]}.'
        )
    given = {}
    for text in task.arguments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f'{where}.arguments are name=value, got "{text}".')
        given[key] = yaml.safe_load(value)
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}.arguments: {attribute} does not take them: {_reason(error)}."
        ) from None


def _loaders(task: Module, module: Any) -> list[Iterable[Any]]:
    """Set the module up and return its loaders for train, validation and test."""
    for stage in ("fit", "test"):
        if stage == "fit" and hasattr(module, "prepare_data"):
            module.prepare_data()
        module.setup(stage)
    loaders = []
    for split, name in zip(SPLITS, ("train", "val", "test"), strict=True):
        try:
            loaders.append(getattr(module, f"{name}_dataloader")())
        except Exception as error:  # Lightning has its own, which tasks do not import
            if type(error).__name__ != "MisconfigurationException":
                raise
            loaders.append(None)
        if not isinstance(loaders[-1], Iterable):
            raise UserError(
                f'tasks.{task.name}.path: "{task.path}" has no loader for {split}: let it return '
                "one DataLoader for each of train, val and test."
            )
    return loaders


def _examples(task: Module, split: Split, loader: Iterable[Any]) -> Iterator[tuple[Array, ...]]:
    """Yield each sequence of a loader: its x, and its y unless there is a horizon."""
    for batch in loader:
        parts = list(batch) if isinstance(batch, tuple | list) else [batch]
        fits = len(parts) in ((1, 2, 3) if task.horizon else (2, 3))
        if isinstance(batch, dict) or not fits:
            kind = "a dict" if isinstance(batch, dict) else f"{len(parts)} parts"
            raise UserError(
                f'tasks.{task.name}.path: batches of "{task.path}" must be {FORMS}, got {kind} in '
                f"the {split} split: let a collate_fn make them so."
            )
        x, *rest = (np.asarray(part) for part in parts)
        if x.ndim not in (2, 3):
            raise UserError(
                f'tasks.{task.name}.path: x of "{task.path}" must be (batch, time) or '
                f"(batch, time, features), got the shape {x.shape} in the {split} split."
            )
        y = rest[0] if rest and not task.horizon else None
        if not task.batch_first:
            x = np.swapaxes(x, 0, 1)
            is_step = y is not None and (task.head == "categorical" or y.ndim == 3)
            y = np.swapaxes(y, 0, 1) if y is not None and is_step else y
        if y is not None and y.ndim == 1 and task.head in ("bernoulli", "gaussian"):
            y = y[:, np.newaxis]
        lengths = rest[1] if len(rest) == 2 else np.full(len(x), x.shape[1])
        for k, length in enumerate(lengths.tolist()):
            yield (x[k, :length], *([] if y is None else [_until(y[k], length, task)]))


def _until(y: Array, length: int, task: Module) -> Array:
    """Return the targets of the steps that count; a target of the whole sequence as it is."""
    is_step = task.head == "categorical" or y.ndim == 2
    return np.asarray(y[:length] if is_step else y)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
