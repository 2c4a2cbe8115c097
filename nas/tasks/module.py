"""The data of a LightningDataModule, named by its import path, with a declared head."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import yaml

from nas.errors import UserError, counted
from nas.resources import own_class
from nas.tasks import labelled, sequences
from nas.tasks.base import SPLITS, Split
from nas.tasks.fields import ADDED
from nas.tasks.labelled import Array, DeclaredHead, LabelledTask, read_lengths
from nas.tasks.packed import is_packed, unpacked
from nas.tasks.sequences import Data

FORMS = "(x, y) or (x, y, lengths), or x alone with a horizon"


class LoadedTask(LabelledTask):
    """Sequences that loaders yield; it is no dataclass: subclasses declare these fields."""

    path: str
    batch_first: bool

    @property
    def where(self) -> str:
        """What a message calls the field that names the loaders."""
        return f"tasks.{self.name}.path"


@dataclass(frozen=True)
class Module(LoadedTask):
    """The sequences that a LightningDataModule's loaders yield, read once and kept in memory.

    A batch is (x, y) or (x, y, lengths), or x alone with a `horizon`: x tokens (batch, time) or
    features (batch, time, features), y as in the task `arrays`. Sequences of several lengths may
    also be a PackedSequence, or a list of tensors. The loaders of train, validation
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
    folds: Annotated[int, "at least 0"] = field(default=0, metadata=ADDED)
    """At least 2: cross-validation. The sequences that are not of test are dealt into so many
    parts, each in turn is validated on by a model trained on the others, and the metric is that of
    all of them together; a run takes so many times as long. 0: one validation split."""
    fold: Annotated[int, "at least 0"] = field(default=0, metadata=ADDED)
    """The only one of the `folds` that is validated on, from 1 on; 0: all in turn."""

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


@functools.lru_cache(maxsize=16)
def _data(task: Module) -> Data:
    return _read(task)


def _read(task: Module) -> Data:
    return read_loaders(task, _loaders(task, _instance(task)))


def read_loaders(task: LoadedTask, loaders: Sequence[Iterable[Any]]) -> Data:
    """Read the loaders of train, validation and test; whatever their order, the same sequences
    give the same data.

    Raises:
        UserError: naming the part of a batch that has another form, or the rule that it breaks.
    """
    inputs: list[Array] = []
    targets: list[Array] = []
    dealt, digests = {}, []
    for split, loader in zip(SPLITS, loaders, strict=True):
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
    where, place = f"tasks.{task.name}", task.path
    kind = own_class(f"{where}.path", place, "a LightningDataModule")
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
        try:
            given[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(
                f"{where}.arguments: {key} has no value in YAML: {_reason(error)}."
            ) from None
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}.arguments: {place.partition(':')[2]} does not take them: {_reason(error)}."
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


def _examples(task: LoadedTask, split: Split, loader: Iterable[Any]) -> Iterator[tuple[Array, ...]]:
    """Yield each sequence of a loader: its x, and its y unless there is a horizon."""
    where = task.where
    for batch in loader:
        x, y, lengths = _parts(task, split, batch)
        inputs = _sequences(task, split, "x", x, is_step=True)
        n_steps = np.array([len(sequence) for sequence in inputs], dtype=np.int64)
        if lengths is not None:
            given = _array(task, split, "lengths", lengths)
            given = read_lengths(where, given, len(inputs), n_steps.max(initial=0))
            n_steps = np.minimum(n_steps, given)
        if y is None:
            yield from ((x_k[:n],) for x_k, n in zip(inputs, n_steps, strict=True))
            continue
        targets = _targets(task, split, y)
        if len(targets) != len(inputs):
            raise UserError(
                f'{where}: y of "{task.path}" must have a row for each of the {len(inputs)} '
                f"sequences of x, got {len(targets)} in the {split} split."
            )
        for x_k, y_k, n in zip(inputs, targets, n_steps, strict=True):
            is_step = task.head == "categorical" or y_k.ndim == 2
            yield x_k[:n], np.asarray(y_k[:n] if is_step else y_k)


def _parts(task: LoadedTask, split: Split, batch: Any) -> tuple[Any, Any, Any]:
    """Take a batch apart: x, y (None with a horizon) and lengths (None if it has none)."""
    parts = [batch] if is_packed(batch) or not isinstance(batch, tuple | list) else list(batch)
    fits = len(parts) in ((1, 2, 3) if task.horizon else (2, 3))
    if isinstance(batch, dict) or not fits:
        kind = "a dict" if isinstance(batch, dict) else counted(len(parts), "part")
        raise UserError(
            f'{task.where}: batches of "{task.path}" must be {FORMS}, got {kind} in '
            f"the {split} split: let a collate_fn make them so."
        )
    x, y, lengths = [*parts, None, None][:3]
    return x, None if task.horizon else y, lengths


def _targets(task: LoadedTask, split: Split, y: Any) -> list[Array]:
    """Return the targets of each sequence of a batch: of its steps, or of the whole."""
    numbers = task.head in ("bernoulli", "gaussian")
    if is_packed(y):
        targets = unpacked(y)
        return [t[:, np.newaxis] if numbers and t.ndim == 1 else t for t in targets]
    if task.head != "class":
        is_step = task.head == "categorical" or getattr(y, "ndim", 0) == 3
        return _sequences(task, split, "y", y, is_step=is_step)
    array = np.atleast_1d(_array(task, split, "y", y))
    return list(array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array)


def _sequences(task: LoadedTask, split: Split, name: str, part: Any, is_step: bool) -> list[Array]:
    """Return the rows of each sequence of a batch, be it one array, a list of them, or packed."""
    if is_packed(part):
        return unpacked(part)
    if isinstance(part, tuple | list):
        return [np.atleast_1d(_array(task, split, name, sequence)) for sequence in part]
    array = np.atleast_1d(_array(task, split, name, part))
    if name == "x" and array.ndim not in (2, 3):
        raise UserError(
            f'{task.where}: x of "{task.path}" must be (batch, time) or '
            f"(batch, time, features), got the shape {array.shape} in the {split} split."
        )
    if is_step and not task.batch_first and array.ndim > 1:
        array = np.swapaxes(array, 0, 1)
    return [np.atleast_1d(sequence) for sequence in array]


def _array(task: LoadedTask, split: Split, name: str, part: Any) -> Array:
    """Return a tensor, wherever it lies, or another array of a batch in NumPy."""
    for method in ("detach", "cpu"):
        part = getattr(part, method)() if hasattr(part, method) else part
    try:
        return np.asarray(part)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f'{task.where}: {name} of "{task.path}" cannot be read as an array in the '
            f"{split} split ({_reason(error)}): let a collate_fn make it one."
        ) from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
