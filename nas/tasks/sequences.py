"""Sequences of a user's own data as the windows of a task: features or tokens, with any head.

A part of a split is rows and pieces of them; `windows` batches whole pieces, so that a state is
never carried from one to the next and the longest piece is what a cell can learn to remember.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.base import (
    ERROR,
    Baseline,
    Head,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    generator,
)

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Rows = NDArray[Any]
"""Numbers in single precision, or whole ones."""
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """The sequences of one split, as pieces of rows that lie one after another."""

    inputs: Rows
    """Tokens, (rows,), or features, (rows, inputs)."""
    targets: Rows
    """Classes, (rows,), or bits or numbers, (rows, outputs)."""
    scored: NDArray[np.bool_]
    """(rows,)."""
    starts: Places
    """The first row of each piece, and its number of rows."""
    lengths: Places
    warmup: int = 0
    """First steps of each piece that are not scored."""

    def batch(self, places: Places) -> Window:
        """Some pieces side by side; what is behind the end of a piece is 0 and not scored."""
        steps = np.arange(int(self.lengths[places].max()))[:, np.newaxis]
        inside = steps < self.lengths[places]
        rows = np.where(inside, self.starts[places] + steps, 0)
        scored = inside & (steps >= self.warmup) & self.scored[rows]
        inputs, targets = _blank(self.inputs[rows], inside), _blank(self.targets[rows], inside)
        return Window(inputs, targets, scored, fresh=True)


def _blank(values: Rows, inside: NDArray[np.bool_]) -> Rows:
    """Zeros outside."""
    kept = inside if values.ndim == 2 else inside[..., np.newaxis]
    return np.where(kept, values, np.zeros((), values.dtype))


@dataclass(frozen=True)
class Data:
    """All that a task is made of."""

    interface: Interface
    parts: dict[Split, Pieces]
    sha256: str
    legend: dict[str, object]
    """What a user of trained weights must know, as plain data."""
    last: Places | None = None
    """The inputs that are the targets' values now, for forecasts; None if there are none."""


@dataclass(frozen=True)
class SequenceTask(Task):
    """A task of sequences that were read from somewhere; a subclass says which, and the metric."""

    forced: ClassVar[bool] = False

    @property
    @abstractmethod
    def data(self) -> Data:
        """All sequences, split and normalised; they are read once in a process."""

    @property
    def interface(self) -> Interface:
        return self.data.interface

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return windows(self, self.data.parts[split], split, seed, epoch)

    def chance(self, split: Split = "validation") -> float:
        return chance(self.interface, self.metric, self.windows(split, 0))

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        return baseline(self, self.data, seed, split)

    def content(self) -> str:
        return self.data.sha256

    def legend(self) -> dict[str, Any]:
        return self.data.legend


def windows(task: Task, pieces: Pieces, split: Split, seed: int, epoch: int) -> Iterator[Window]:
    """Batches of pieces: in a random order in training, all pieces before any comes again; else in
    order, evenly spread ones if there are more than `validation_batches` take."""
    n, size = len(pieces.starts), task.batch_size
    if split == "train":
        needed = task.batches_per_epoch * size
        random = generator(task, split, seed, epoch)
        order = np.concatenate([random.permutation(n) for _ in range(-(-needed // n))])[:needed]
    else:
        most = min(n, task.validation_batches * size)
        order = np.arange(most) * n // most
    for first in range(0, len(order), size):
        yield pieces.batch(order[first : first + size])


def metric_of(head: Head, name: str) -> Metric:
    """The metric of a head; with an empty name, accuracy where there are classes, else the loss."""
    if head == "gaussian":
        return ERROR
    what = "label" if head == "categorical" else "step"
    if name == "accuracy" or (head == "categorical" and not name):
        return Metric("accuracy", f"share of right {what}s", higher_is_better=True)
    return Metric("loss", f"nats a {what}", higher_is_better=False)


def check_metric(task: Task, head: Head, name: str) -> None:
    """Raise UserError if the head has no such metric."""
    if name not in ("", "loss", "accuracy"):
        raise UserError(
            f'tasks.{task.name}.metric_name must be "loss", "accuracy" or empty, got "{name}".'
        )
    if name == "accuracy" and head == "gaussian":
        raise UserError(
            f"tasks.{task.name}.metric_name must be loss for numbers, which are near or far and "
            'not right, got "accuracy".'
        )


def chance(interface: Interface, metric: Metric, windows: Iterator[Window]) -> float:
    """The metric of uniform guesses; for numbers, of the training part's mean, which is 0."""
    if interface.head == "gaussian":
        targets, _ = scored_rows(windows)
        return float(np.mean(np.square(targets, dtype=np.float64)))
    if interface.head == "bernoulli":
        bits = interface.outputs
        return 0.5**bits if metric.name == "accuracy" else float(bits * np.log(2))
    n = interface.outputs
    return 1 / n if metric.name == "accuracy" else float(np.log(n))


def baseline(task: Task, data: Data, seed: int, split: Split) -> Baseline:
    """The best of the predictors that look at no more than the row that they are at.

    Shares of the classes or bits and means of the numbers are those of the training part; a
    forecast may also be the value that is there now.
    """
    targets, inputs = scored_rows(task.windows(split, seed))
    known = data.parts["train"]
    seen = known.targets[_scored_in(known)]
    metric, head = task.metric, data.interface.head
    # Of little data, what is commonest in training may be rarer than a blind guess elsewhere.
    found = [Baseline("blind guess", task.chance(split))]
    found += [_constant(head, metric, seen, targets, data.interface.outputs)]
    if data.last is not None:
        last = inputs if head == "categorical" else inputs[:, data.last]
        found += _last(head, metric, last, targets)
    return max(found, key=lambda one: one.value if metric.higher_is_better else -one.value)


def _scored_in(pieces: Pieces) -> NDArray[np.bool_]:
    """The rows that some piece scores."""
    change = np.zeros(len(pieces.scored) + 1, dtype=np.int64)
    firsts = np.minimum(pieces.starts + pieces.warmup, pieces.starts + pieces.lengths)
    np.add.at(change, firsts, 1)
    np.add.at(change, pieces.starts + pieces.lengths, -1)
    covered: NDArray[np.bool_] = (np.cumsum(change)[:-1] > 0) & pieces.scored
    return covered


def _constant(head: Head, metric: Metric, seen: Rows, targets: Rows, n: int) -> Baseline:
    if head == "gaussian":
        apart = targets - seen.mean(0, dtype=np.float64)
        return Baseline("mean", float(np.mean(apart**2)))
    if head == "bernoulli":
        # Laplace's rule, so that a bit which never was 1 in training costs no infinite loss.
        shares = (seen.sum(0, dtype=np.float64) + 1) / (len(seen) + 2)
        if metric.name == "accuracy":
            return Baseline(
                "commonest bits", float(((shares > 0.5) == (targets > 0)).all(1).mean())
            )
        losses = np.where(targets > 0, -np.log(shares), -np.log1p(-shares))
        return Baseline("share of each bit", float(losses.sum(1).mean()))
    counts = np.bincount(seen, minlength=n)
    if metric.name == "accuracy":
        return Baseline("majority class", float(np.mean(targets == counts.argmax())))
    return Baseline(
        "share of each class", float(-np.log((counts[targets] + 1) / (len(seen) + n)).mean())
    )


def _last(head: Head, metric: Metric, last: Rows, targets: Rows) -> list[Baseline]:
    if head == "gaussian":
        return [Baseline("last value", float(np.mean((targets - last.astype(np.float64)) ** 2)))]
    if metric.name == "accuracy":
        same = (targets == last) if head == "categorical" else (targets == (last > 0)).all(1)
        return [Baseline("last value", float(same.mean()))]
    return []  # a certain guess that is wrong loses without bound


def scored_rows(of: Iterator[Window]) -> tuple[Rows, Rows]:
    """The targets and inputs of the scored positions of some windows."""
    found = [(window.targets[window.scored], window.inputs[window.scored]) for window in of]
    targets, inputs = zip(*found, strict=True)
    return np.concatenate(targets), np.concatenate(inputs)


@dataclass(frozen=True)
class Scaling:
    """What makes the training part's columns of mean 0 and standard deviation 1."""

    means: NDArray[np.float64]
    scales: NDArray[np.float64]

    def applied(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        return ((values - self.means) / self.scales).astype(np.float32)


def scaling(known: NDArray[np.float64], on: bool) -> Scaling:
    """Of the rows of a training part, (rows, columns); a column of one value is left as wide."""
    if not on:
        return Scaling(np.zeros(known.shape[1]), np.ones(known.shape[1]))
    varies = np.ptp(known, axis=0) > 0  # by rounding, the deviation of one value may not be 0
    return Scaling(known.mean(0), np.where(varies, known.std(0), 1.0))


def shares_ok(task: Task, validation: float, test: float) -> None:
    """Raise UserError unless each split has a share."""
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise UserError(
            f"tasks.{task.name}: validation_share > 0, test_share > 0 and a sum below 1 must hold, "
            f"got {validation} and {test}."
        )


def more_of(split: Split) -> str:
    """How a split gets a larger part, as the end of an error."""
    if split == "train":
        return "lower validation_share or test_share"
    return f"raise {split}_share"


def bounds(n: int, validation: float, test: float) -> list[int]:
    """Where the parts of n things in order begin and end: train, validation, test."""
    n_test, n_validation = round(n * test), round(n * validation)
    return [0, n - n_validation - n_test, n - n_test, n]


def dealt(n: int, validation: float, test: float, order: str) -> dict[Split, Places]:
    """The places of n sequences in each split, "random" (always the same) or in "order"."""
    places = np.arange(n) if order == "order" else np.random.default_rng(0).permutation(n)
    at = bounds(n, validation, test)
    return {split: np.sort(places[at[k] : at[k + 1]]) for k, split in enumerate(SPLITS)}


def digest(*arrays: NDArray[np.generic] | bytes) -> str:
    """The SHA-256 of arrays with their types and shapes."""
    data = hashlib.sha256()
    for array in arrays:
        if not isinstance(array, bytes):
            data.update(f"{array.dtype.str}{array.shape}".encode())
            array = np.ascontiguousarray(array).tobytes()
        data.update(array)
    return data.hexdigest()
