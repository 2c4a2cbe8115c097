"""Sequences of a user's own data as the windows of a task: features or tokens, with any head.

The data of a split are rows, and pieces of them. `SequenceTask.windows` batches whole pieces, so
that no state is carried from one to the next: a cell can remember at most the longest piece.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.base import (
    ERROR,
    SPLITS,
    Answers,
    Baseline,
    Head,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    bounds,
    generator,
    scored_rows,
)
from nas.tasks.folds import check_folds

Rows = NDArray[Any]
"""Single-precision or whole numbers."""
Places = NDArray[np.int64]
NORMALISED = replace(ERROR, unit="mean squared error of normalised values")


@dataclass(frozen=True)
class Pieces:
    """The sequences of one split, as pieces of consecutive rows."""

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
        """Lay some pieces side by side; steps after the end of a piece are 0 and not scored."""
        steps = np.arange(int(self.lengths[places].max()))[:, np.newaxis]
        inside = steps < self.lengths[places]
        rows = np.where(inside, self.starts[places] + steps, 0)
        scored = inside & (steps >= self.warmup) & self.scored[rows]
        inputs, targets = _blank(self.inputs[rows], inside), _blank(self.targets[rows], inside)
        return Window(inputs, targets, scored, fresh=True)

    def scored_rows(self, place: int) -> Places:
        """Return the rows that a piece scores."""
        rows = np.arange(self.warmup, self.lengths[place]) + self.starts[place]
        return np.asarray(rows[self.scored[rows]], dtype=np.int64)


def _blank(values: Rows, inside: NDArray[np.bool_]) -> Rows:
    """Set all values outside to 0."""
    kept = inside if values.ndim == 2 else inside[..., np.newaxis]
    return np.where(kept, values, np.zeros((), values.dtype))


@dataclass(frozen=True)
class Data:
    """The data of a task, split and normalised."""

    interface: Interface
    parts: dict[Split, Pieces]
    sha256: str
    legend: dict[str, object]
    """The meaning of inputs and outputs for users of trained weights, as plain data."""
    last: Places | None = None
    """For forecasts, the inputs that are the present values of the targets; else None."""
    edges: Places | None = None
    """The first rows of the series that pieces were cut from; None where each is a sequence."""


@dataclass(frozen=True)
class SequenceTask(Task):
    """A task of sequences that are read from somewhere; a subclass says from where."""

    forced: ClassVar[bool] = False

    @property
    @abstractmethod
    def data(self) -> Data:
        """All sequences, split and normalised; they are read once in a process."""

    @property
    def interface(self) -> Interface:
        return self.data.interface

    @property
    def answers(self) -> Answers:
        return "each step" if self.data.parts["train"].scored.all() else "last step"

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        """Yield batches of pieces: in training in a random order, all before any comes again; else
        in order, evenly spread pieces if `validation_batches` do not hold all."""
        pieces, size = self.data.parts[split], self.batch_size
        n = len(pieces.starts)
        if split == "train":
            needed = self.batches_per_epoch * size
            random = generator(self, split, seed, epoch)
            order = np.concatenate([random.permutation(n) for _ in range(-(-needed // n))])[:needed]
        else:
            order = self.held_out(split)
        for first in range(0, len(order), size):
            yield pieces.batch(order[first : first + size])

    def held_out(self, split: Split) -> Places:
        """Return the pieces of validation or test that are measured, in order."""
        n = len(self.data.parts[split].starts)
        most = min(n, self.validation_batches * self.batch_size)
        return np.arange(most) * n // most

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Return the best predictor that looks at no more than the present row.

        Shares of the classes or bits and means of the numbers are those of the training part; a
        forecast may also be the present value.
        """
        targets, inputs = scored_rows(self.windows(split, seed))
        train, metric, head = self.data.parts["train"], self.metric, self.interface.head
        known = train.targets[_scored_in(train)]
        # Of little data, the commonest class in training may be rarer than a blind guess elsewhere.
        baselines = [Baseline("blind guess", self.chance(split))]
        baselines += [_constant(head, metric, known, targets, self.interface.outputs)]
        if self.data.last is not None:
            last = inputs if head == "categorical" else inputs[:, self.data.last]
            baselines += _last(head, metric, last, targets)
        sign = 1 if metric.higher_is_better else -1
        return max(baselines, key=lambda baseline: sign * baseline.value)

    def content(self) -> str:
        return self.data.sha256

    def legend(self) -> dict[str, Any]:
        return self.data.legend


class OwnSequenceTask(SequenceTask):
    """Sequences of a user's own, who chooses the metric.

    It is no dataclass: subclasses declare these fields at their own places.
    """

    metric_name: Literal["", "accuracy", "loss"]
    normalise: bool
    folds: int
    fold: int

    def in_folds(self) -> tuple[Task, ...]:
        if not self.folds or self.fold:
            return (self,)
        made: Any = self  # a subclass, which has the field
        return tuple(replace(made, fold=fold) for fold in range(1, self.folds + 1))

    @property
    @abstractmethod
    def output_head(self) -> Head:
        """The head of the interface, known without the data."""

    @property
    def metric(self) -> Metric:
        """The chosen metric; without a name accuracy where there are classes, else the loss."""
        head, name = self.output_head, self.metric_name
        if head == "gaussian":
            return NORMALISED if self.normalise else ERROR
        unit = "label" if head == "categorical" else "step"
        if name == "accuracy" or (head == "categorical" and not name):
            return Metric("accuracy", f"share of right {unit}s", higher_is_better=True)
        return Metric("loss", f"nats a {unit}", higher_is_better=False)

    def check(self) -> None:
        super().check()
        check_folds(self, self.folds, self.fold)
        if self.metric_name == "accuracy" and self.output_head == "gaussian":
            rule = "loss for numbers, which are near or far and not right"
            raise self.refused("metric_name", rule, '"accuracy"')


def covered(starts: Places, ends: Places, n_rows: int) -> NDArray[np.bool_]:
    """Return which of the rows lie in one of the ranges, (rows,)."""
    change = np.zeros(n_rows + 1, dtype=np.int64)
    np.add.at(change, starts, 1)
    np.add.at(change, ends, -1)
    inside: NDArray[np.bool_] = np.cumsum(change)[:-1] > 0
    return inside


def _scored_in(pieces: Pieces) -> NDArray[np.bool_]:
    """Return the rows that some piece scores."""
    ends = pieces.starts + pieces.lengths
    firsts = np.minimum(pieces.starts + pieces.warmup, ends)
    return covered(firsts, ends, len(pieces.scored)) & pieces.scored


def _constant(head: Head, metric: Metric, known: Rows, targets: Rows, n: int) -> Baseline:
    """Measure the best constant guess, of the known training targets, on other targets."""
    if head == "gaussian":
        apart = targets - known.mean(0, dtype=np.float64)
        return Baseline("mean", float(np.mean(apart**2)))
    if head == "bernoulli":
        # Laplace's rule, so that a bit which never was 1 in training costs no infinite loss.
        shares = (known.sum(0, dtype=np.float64) + 1) / (len(known) + 2)
        if metric.name == "accuracy":
            return Baseline(
                "commonest bits", float(((shares > 0.5) == (targets > 0)).all(1).mean())
            )
        losses = np.where(targets > 0, -np.log(shares), -np.log1p(-shares))
        return Baseline("share of each bit", float(losses.sum(1).mean()))
    counts = np.bincount(known, minlength=n)
    if metric.name == "accuracy":
        return Baseline("majority class", float(np.mean(targets == counts.argmax())))
    return Baseline(
        "share of each class", float(-np.log((counts[targets] + 1) / (len(known) + n)).mean())
    )


def _last(head: Head, metric: Metric, last: Rows, targets: Rows) -> list[Baseline]:
    """Measure the guess that a value stays as it is, if it can be measured."""
    if head == "gaussian":
        return [Baseline("last value", float(np.mean((targets - last.astype(np.float64)) ** 2)))]
    if metric.name == "accuracy":
        same = (targets == last) if head == "categorical" else (targets == (last > 0)).all(1)
        return [Baseline("last value", float(same.mean()))]
    return []  # the loss of a certain guess that is wrong is unbounded


@dataclass(frozen=True)
class Scaling:
    """The scaling of columns that have mean 0 and standard deviation 1 in the training part."""

    means: NDArray[np.float64]
    scales: NDArray[np.float64]

    def applied(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        return ((values - self.means) / self.scales).astype(np.float32)

    def described(self, prefix: str = "") -> dict[str, object]:
        """Return the means and scales for a legend."""
        return {f"{prefix}means": self.means.tolist(), f"{prefix}scales": self.scales.tolist()}


def scaling(known: NDArray[np.float64], on: bool) -> Scaling:
    """Fit a scaling to rows, (rows, columns); with `on` false it changes nothing.

    A column of a single value is only shifted.
    """
    if not on:
        return Scaling(np.zeros(known.shape[1]), np.ones(known.shape[1]))
    varies = np.ptp(known, axis=0) > 0  # by rounding, the deviation of one value may not be 0
    return Scaling(known.mean(0), np.where(varies, known.std(0), 1.0))


def dealt(n: int, validation: float, test: float, order: str) -> dict[Split, Places]:
    """Deal n sequences to the splits: their places, "random" (always the same) or in "order"."""
    places = np.arange(n) if order == "order" else np.random.default_rng(0).permutation(n)
    at = bounds(n, validation, test)
    return {split: np.sort(places[at[k] : at[k + 1]]) for k, split in enumerate(SPLITS)}


def check_dealt(task: Task, n: int, dealt: dict[Split, Places]) -> None:
    """Raise UserError if one of the splits of n sequences has none."""
    for split, places in dealt.items():
        if not len(places):
            raise UserError(
                f"tasks.{task.name}: the {split} split has none of the {n} sequences: give more, "
                "or change how they are dealt to the splits."
            )


def digest(*arrays: NDArray[np.generic] | bytes) -> str:
    """Return the SHA-256 of bytes and of arrays with their types and shapes."""
    data = hashlib.sha256()
    for array in arrays:
        if not isinstance(array, bytes):
            data.update(f"{array.dtype.str}{array.shape}".encode())
            array = np.ascontiguousarray(array).tobytes()
        data.update(array)
    return data.hexdigest()
