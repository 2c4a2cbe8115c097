"""The windows of a task as tensors, and what is counted over them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from nas.tasks.base import Split, Task, Window


@dataclass(frozen=True)
class TensorWindow:
    """A `Window` as torch tensors."""

    inputs: Tensor
    targets: Tensor
    scored: Tensor
    fresh: bool
    marks: dict[str, Tensor]

    def to(self, device: torch.device, non_blocking: bool = False) -> "TensorWindow":
        """The window on another device; Lightning calls it on every batch."""
        if self.inputs.device == device:
            return self
        return TensorWindow(
            self.inputs.to(device, non_blocking=non_blocking),
            self.targets.to(device, non_blocking=non_blocking),
            self.scored.to(device, non_blocking=non_blocking),
            self.fresh,
            {name: mark.to(device, non_blocking=non_blocking) for name, mark in self.marks.items()},
        )


def _to_tensors(window: Window) -> TensorWindow:
    marks = {name: torch.from_numpy(marked) for name, marked in window.marks.items()}
    arrays = (window.inputs, window.targets, window.scored)
    inputs, targets, scored = (torch.from_numpy(array) for array in arrays)
    return TensorWindow(inputs, targets, scored, window.fresh, marks)


@lru_cache(maxsize=64)
def _windows(task: Task, split: Split, seed: int, epoch: int) -> tuple[TensorWindow, ...]:
    """All candidates of a study read the same windows, so a worker makes them once."""
    return tuple(_to_tensors(window) for window in task.windows(split, seed, epoch))


class _Epochs(IterableDataset[TensorWindow]):
    """The windows of a split; each pass over the training split is the next epoch."""

    def __init__(self, task: Task, split: Split, seed: int) -> None:
        self.task, self.split, self.seed = task, split, seed
        self.epoch = 0

    def __iter__(self) -> Iterator[TensorWindow]:
        windows = _windows(self.task, self.split, self.seed, self.epoch)
        self.epoch += self.split == "train"
        return iter(windows)


class WindowData(pl.LightningDataModule):
    """The training and validation windows of a task; a search never sees the test split."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__()
        self.task, self.seed = task, seed

    def train_dataloader(self) -> DataLoader[TensorWindow]:
        return DataLoader(_Epochs(self.task, "train", self.seed), batch_size=None)

    def val_dataloader(self) -> DataLoader[TensorWindow]:
        return DataLoader(_Epochs(self.task, "validation", self.seed), batch_size=None)


class Totals:
    """Sums over the scored positions of the windows of an epoch."""

    def __init__(self) -> None:
        self.count = 0
        self.total_loss = 0.0
        self.hits = 0
        self.marked: dict[str, tuple[int, int]] = {}

    def add(
        self, losses: Tensor, right: Tensor, window: TensorWindow, marks: dict[str, Tensor]
    ) -> None:
        self.count += losses.numel()
        self.total_loss += float(losses.detach().sum())
        self.hits += int(right.sum())
        for name, marked in marks.items():
            hits, count = self.marked.get(name, (0, 0))
            inside = marked[window.scored]
            self.marked[name] = (hits + int(right[inside].sum()), count + int(inside.sum()))

    @property
    def loss(self) -> float:
        return self.total_loss / max(1, self.count)

    @property
    def accuracy(self) -> float:
        return self.hits / max(1, self.count)

    @property
    def marks(self) -> dict[str, float]:
        return {name: hits / max(1, count) for name, (hits, count) in self.marked.items()}
