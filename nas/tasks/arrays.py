"""Arrays of a user's own: an .npz file of sequences, with labels, targets, or to be forecast."""

import functools
import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np

from nas.errors import UserError
from nas.tasks import labelled, sequences
from nas.tasks.base import SPLITS, Split, check_shares
from nas.tasks.fields import ADDED
from nas.tasks.files import file_bytes
from nas.tasks.labelled import Array, DeclaredHead, LabelledTask
from nas.tasks.sequences import Data, Places

KNOWN = ("x", "y", "lengths", "split")
UNREADABLE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for files that hold no plain arrays, or are damaged or encrypted."""


@dataclass(frozen=True)
class Arrays(LabelledTask):
    """The sequences of an .npz file, each one example; no code in it is run.

    An .npy file is x alone, for a `horizon`.

    `x` is (N, T) whole numbers, tokens, or (N, T) or (N, T, features) numbers. `y` goes with the
    head: class (N,), categorical (N, T), bernoulli and gaussian (N, T, outputs), or (N, outputs) or
    (N,) for the last step; with a `horizon` there is none. `lengths`, (N,), says how many steps
    count where x is padded, `split`, (N,), "train", "validation" or "test"; without it sequences
    are dealt by shares. Numbers are normalised by the training part alone, and errors are of
    normalised values. A piece is a whole sequence: the field `window` is not used.
    """

    name: ClassVar[str] = "arrays"

    path: str = ""
    """An .npz file with x, y and, if need be, lengths and split; or an .npy file of x."""
    head: DeclaredHead = "class"
    """class: one of several a sequence; categorical: at each step; bernoulli: bits; gaussian:
    numbers."""
    horizon: Annotated[int, "at least 0"] = 0
    """If above 0, x so many steps later is predicted, in place of y."""
    split: Literal["random", "order"] = "random"
    """How sequences are dealt if the file does not say it: always the same way, or in order."""
    normalise: bool = True
    metric_name: Literal["", "accuracy", "loss"] = ""
    """Accuracy for classes and loss for the rest, if empty."""
    validation_share: float = 0.1
    """Share of the sequences, after the training part."""
    test_share: float = 0.1
    folds: Annotated[int, "at least 0"] = field(default=0, metadata=ADDED)
    """At least 2: cross-validation. The sequences that are not of test are dealt into so many
    parts, each in turn is validated on by a model trained on the others, and the metric is that of
    all of them together; a run takes so many times as long. 0: one validation split."""
    fold: Annotated[int, "at least 0"] = field(default=0, metadata=ADDED)
    """The only one of the `folds` that is validated on, from 1 on; 0: all in turn."""

    @property
    def shuffles(self) -> bool:
        return self.split == "random"

    @property
    def data(self) -> Data:
        """The content of the file, split and normalised; it is made once in a process."""
        return _data(self)

    def check(self) -> None:
        super().check()
        check_shares(self, self.validation_share, self.test_share, test_may_be_0=False)
        _ = self.data


@functools.lru_cache(maxsize=16)
def _data(task: Arrays) -> Data:
    field = f"tasks.{task.name}.path"
    if not task.path:
        raise UserError(f"{field} must name an .npz file, got nothing.")
    content = file_bytes(field, task.path, "give the path of an .npz file")
    stored = _stored(field, task.path, content)
    x = stored["x"]
    lengths = stored.get("lengths", np.full(len(x), x.shape[1]))
    lengths = labelled.read_lengths(field, lengths, *x.shape[:2])
    inputs = [rows[:length] for rows, length in zip(x, lengths, strict=True)]
    targets = None if task.horizon else _targets(task, field, stored, lengths)
    dealt = _dealt(task, field, stored)
    return labelled.build(task, inputs, targets, dealt, hashlib.sha256(content).hexdigest())


def _stored(field: str, path: str, content: bytes) -> dict[str, Array]:
    """Read the file's arrays and check them against one another."""
    try:
        opened = np.load(io.BytesIO(content), allow_pickle=False)
        is_one = isinstance(opened, np.ndarray)  # an .npy file
        found = {"x": opened} if is_one else {name: opened[name] for name in opened.files}
    except UNREADABLE as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f'{field}: "{path}" is no .npz file of plain arrays ({reason}): save it with '
            "numpy.savez(path, x=…, y=…)."
        ) from None
    stored = {name: a for name, a in found.items() if isinstance(a, np.ndarray)}  # else bytes
    if unknown := sorted(set(stored) - set(KNOWN)):
        raise UserError(f"{field}: arrays are named {', '.join(KNOWN)}, got {', '.join(unknown)}.")
    if "x" not in stored:
        raise UserError(f"{field}: {path} has no array x, got {', '.join(stored) or 'none'}.")
    x = stored["x"]
    if x.ndim not in (2, 3) or not x.size:
        raise UserError(
            f"{field}: x must be (sequences, steps) or (sequences, steps, features), got {x.shape}."
        )
    for name, array in stored.items():
        if not array.ndim or len(array) != len(x):
            raise UserError(
                f"{field}: {name} must have a row for each of the {len(x)} sequences of x, got the "
                f"shape {array.shape}."
            )
    return stored


def _targets(task: Arrays, field: str, stored: dict[str, Array], lengths: Places) -> list[Array]:
    """Return the targets of each sequence, of its steps that count or of the whole."""
    if "y" not in stored:
        raise UserError(
            f"{field}: {task.path} has no array y, which head {task.head} needs without a horizon."
        )
    y, n_steps = stored["y"], stored["x"].shape[1]
    n_dims = {"class": (1,), "categorical": (2,)}.get(task.head, (1, 2, 3))
    if y.ndim == n_dims[-1] + 1 and y.shape[-1] == 1:
        y = y[..., 0]
    is_step = y.ndim == 3 or task.head == "categorical"
    if y.ndim not in n_dims or (is_step and y.shape[1] != n_steps):
        shapes = {"class": "(N,)", "categorical": "(N, T)"}
        raise UserError(
            f"{field}: y of head {task.head} must be "
            f"{shapes.get(task.head, '(N, T, outputs), (N, outputs) or (N,)')} with the {len(y)} "
            f"sequences and {n_steps} steps of x, got {y.shape}."
        )
    if not is_step:
        return list(y if task.output_head == "categorical" else y.reshape(len(y), -1))
    return [rows[:length] for rows, length in zip(y, lengths, strict=True)]


def _dealt(task: Arrays, field: str, stored: dict[str, Array]) -> dict[Split, Places]:
    """Deal the sequences to the splits, as the file says or by shares."""
    if "split" not in stored:
        n = len(stored["x"])
        return sequences.dealt(n, task.validation_share, task.test_share, task.split)
    names = labelled.one_each(field, "split", stored["split"], len(stored["x"])).astype(np.str_)
    if unknown := sorted(set(names.tolist()) - set(SPLITS)):
        raise UserError(
            f'{field}: split must be "train", "validation" or "test", got "{unknown[0]}".'
        )
    return {split: np.flatnonzero(names == split) for split in SPLITS}
