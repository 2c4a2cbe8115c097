"""The windows of a task as tensors, and sums over them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytorch_lightning as pl
import torch
from cachetools import LRUCache, cached
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from nas.tasks.base import Split, Task, Window

WINDOWS_PER_BATCH = 10
"""Windows that Lightning hands on at a time: its 0.4 ms a batch are then 0.04 ms a window."""


@dataclass(frozen=True)
class TensorWindow:
    """A `Window` as torch tensors, whose targets and marks are those of scored positions alone."""

    inputs: Tensor
    """Tokens, (time, batch), or features, (time, batch, inputs)."""
    targets: Tensor
    """Classes, (scored,), or bits or numbers, (scored, outputs)."""
    places: Tensor | None
    """The scored places of the time * batch positions, (scored,); None if all are scored."""
    fresh: bool
    marks: dict[str, Tensor]
    """Which of the scored positions are marked, (scored,) each."""

    @property
    def n_streams(self) -> int:
        """Sequences side by side: the size of the minibatch."""
        return self.inputs.shape[1]

    @property
    def n_tokens(self) -> int:
        """Steps of all sequences."""
        return self.inputs.shape[0] * self.inputs.shape[1]

    @property
    def scored(self) -> Tensor:
        """Which positions are scored, (time, batch)."""
        if self.places is None:
            return self.inputs.new_ones(self.inputs.shape[:2], dtype=torch.bool)
        flat = self.inputs.new_zeros(self.n_tokens, dtype=torch.bool)
        return flat.index_fill(0, self.places, True).view(self.inputs.shape[:2])

    @property
    def laid_out(self) -> Tensor:
        """The targets at their positions, (time, batch) or (time, batch, outputs); else 0."""
        shape = (*self.inputs.shape[:2], *self.targets.shape[1:])
        if self.places is None:
            return self.targets.view(shape)
        flat = self.targets.new_zeros(self.n_tokens, *self.targets.shape[1:])
        return flat.index_copy(0, self.places, self.targets).view(shape)

    def to(self, device: torch.device, non_blocking: bool = False) -> "TensorWindow":
        """The window on another device; Lightning calls it on every batch."""
        if self.inputs.device == device:
            return self

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        return TensorWindow(
            moved(self.inputs),
            moved(self.targets),
            None if self.places is None else moved(self.places),
            self.fresh,
            {name: moved(mark) for name, mark in self.marks.items()},
        )


def to_tensors(window: Window) -> TensorWindow:
    """Turn a window into tensors."""
    scored = window.scored.reshape(-1)
    return TensorWindow(
        torch.from_numpy(window.inputs),
        torch.from_numpy(window.targets.reshape(-1, *window.targets.shape[2:])[scored]),
        None if scored.all() else torch.from_numpy(np.flatnonzero(scored)),
        window.fresh,
        {name: torch.from_numpy(m.reshape(-1)[scored]) for name, m in window.marks.items()},
    )


KEPT_BYTES = 2**29
"""The windows that a worker keeps. An epoch of xml takes 1 MB, one of `storn` 120."""


def _bytes(windows: Sequence[TensorWindow]) -> int:
    held = (t for w in windows for t in (w.inputs, w.targets, w.places) if t is not None)
    return sum(tensor.nbytes for tensor in held)


@cached(LRUCache(KEPT_BYTES, _bytes))
def windows_of(task: Task, split: Split, seed: int, epoch: int) -> tuple[TensorWindow, ...]:
    """Make an epoch once in a worker: all candidates of a study read the same windows."""
    return tuple(to_tensors(window) for window in task.windows(split, seed, epoch))


@dataclass(frozen=True)
class Extent:
    """How long an epoch of training is."""

    n_tokens: int
    """Symbols, or vectors of features, that a model reads."""
    n_steps: int
    """The most steps over which a state is carried."""


@lru_cache(maxsize=64)
def extent(task: Task, seed: int) -> Extent:
    """Measure the first epoch of a task; others are as long, or about as long if lengths differ."""
    n_tokens, n_steps, most = 0, 0, 0
    for window in windows_of(task, "train", seed, 0):
        n_tokens += window.n_tokens
        n_steps = len(window.inputs) + (0 if window.fresh else n_steps)
        most = max(most, n_steps)
    return Extent(n_tokens, most)


Batch = tuple[TensorWindow, ...]
"""Consecutive windows."""


class _Epochs(IterableDataset[Batch]):
    """The windows of a split; each pass over the training split is the next epoch."""

    def __init__(self, task: Task, split: Split, seed: int, first_epoch: int) -> None:
        self.task, self.split, self.seed = task, split, seed
        self.epoch = first_epoch

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch if self.split == "train" else 0
        windows, size = windows_of(self.task, self.split, self.seed, epoch), WINDOWS_PER_BATCH
        self.epoch += 1
        return (windows[first : first + size] for first in range(0, len(windows), size))


class WindowData(pl.LightningDataModule):
    """The training and validation windows of a task; a search never sees the test split."""

    def __init__(self, task: Task, seed: int, first_epoch: int = 0) -> None:
        super().__init__()
        self.task, self.seed, self.first_epoch = task, seed, first_epoch

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader("validation")

    def _loader(self, split: Split) -> DataLoader[Batch]:
        return DataLoader(_Epochs(self.task, split, self.seed, self.first_epoch), batch_size=None)


class Totals:
    """Sums over the scored positions of the windows of an epoch, for each member."""

    def __init__(self, members: int) -> None:
        self.count = 0
        self.loss = torch.zeros(members, dtype=torch.float64)
        self.hits = torch.zeros(members, dtype=torch.int64)
        self.marked: dict[str, tuple[Tensor, int]] = {}

    def add(self, losses: Tensor, window: TensorWindow, right: Tensor | None = None) -> None:
        """Add a window's losses for each stream, (members,), and whether each guess was right."""
        self.count += len(window.targets)
        self.loss += losses.detach().to(self.loss) * window.n_streams
        if right is None:
            return
        self.hits += right.sum(1).to(self.hits)
        for name, mark in window.marks.items():
            hits, count = self.marked.get(name, (torch.zeros_like(self.hits), 0))
            inside = (right & mark).sum(1).to(self.hits)
            self.marked[name] = (hits + inside, count + int(mark.sum()))

    def keep(self, indices: Sequence[int]) -> None:
        """Keep these members."""
        self.loss, self.hits = self.loss[list(indices)], self.hits[list(indices)]
        self.marked = {name: (hits[list(indices)], n) for name, (hits, n) in self.marked.items()}

    @property
    def losses(self) -> list[float]:
        """The loss of a scored position, by member."""
        return _shares(self.loss, self.count)

    @property
    def accuracies(self) -> list[float]:
        """The share of right guesses, by member."""
        return _shares(self.hits, self.count)

    @property
    def marks(self) -> list[dict[str, float]]:
        """The accuracy on each marked set, by member."""
        shares = {name: _shares(hits, n) for name, (hits, n) in self.marked.items()}
        return [{name: of[k] for name, of in shares.items()} for k in range(len(self.hits))]


def _shares(sums: Tensor, count: int) -> list[float]:
    return [value / max(1, count) for value in sums.tolist()]
