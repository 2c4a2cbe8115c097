"""Tasks as a user writes them, right and wrong ones; tests name them by import path."""

import itertools
import os
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

import nas

Array = NDArray[Any]


def arrays(n: int, seed: int) -> tuple[Array, Array]:
    """Series of 6 steps of 2 features, and whether the first feature's sum is above 0."""
    x = np.random.default_rng(seed).normal(size=(n, 6, 2)).astype(np.float32)
    return x, (x[:, :, 0].sum(1) > 0).astype(np.int64)


def dataset(n: int, seed: int) -> TensorDataset:
    return TensorDataset(*map(torch.from_numpy, arrays(n, seed)))


def share_right(scores: Array, targets: Array) -> float:
    return float(np.mean(scores.argmax(1) == targets))


def share_wrong(scores: Array, targets: Array) -> float:
    return 1 - share_right(scores, targets)


def entropy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(scores, targets, reduction="none")


FEW: dict[str, Any] = {"n_params": 2000, "epochs": 2, "batches_per_epoch": 6}
GIVEN: dict[str, Any] = {
    "train": arrays(120, 0),
    "validation": arrays(60, 1),
    "test": arrays(60, 2),
}
BETTER: dict[str, Any] = {"metric": share_right, "higher_is_better": True, "perfect": 1.0}

usual = nas.Task(**GIVEN, **FEW)
signs = nas.Task(**GIVEN, **FEW, **BETTER, loss=entropy)
errors = nas.Task(**GIVEN, **FEW, metric=share_wrong, higher_is_better=False)
loaded = nas.Task(
    train=DataLoader(dataset(120, 0), batch_size=50, shuffle=True),
    validation=dataset(60, 1),
    test=partial(dataset, 60, 2),
    **FEW,
    **BETTER,
    loss=entropy,
)


def drawn() -> tuple[Array, Array]:
    return arrays(60, next(_counter))


_counter = itertools.count(10)


def negative(scores: Array, targets: Array) -> float:
    return -1.0


def moody(scores: Array, targets: Array) -> float:
    return share_right(scores, targets) + next(_counter) / 1000


def constant(scores: Array, targets: Array) -> float:
    return 0.5


def one_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return entropy(scores, targets)[:3]


def no_gradient(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (scores.argmax(1) != targets).float()


def reversed_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -entropy(scores, targets)


overlapping = nas.Task(**{**GIVEN, "validation": arrays(60, 0)}, **FEW)
wrong_way = nas.Task(**GIVEN, metric=share_right, higher_is_better=False)
below_zero = nas.Task(**GIVEN, metric=negative, higher_is_better=True)
moods = nas.Task(**GIVEN, metric=moody, higher_is_better=True)
guessed = nas.Task(**GIVEN, metric=constant, higher_is_better=True)
too_perfect = nas.Task(**GIVEN, metric=share_right, higher_is_better=True, perfect=0.9)
short_loss = nas.Task(**GIVEN, loss=one_loss)
flat_loss = nas.Task(**GIVEN, loss=no_gradient)
wrong_loss = nas.Task(**GIVEN, loss=reversed_loss)
drawn_anew = nas.Task(**{**GIVEN, "train": drawn})
of_process = nas.Task(**{**GIVEN, "train": arrays(120, os.getpid())})
without_labels = nas.Task(**{**GIVEN, "train": arrays(120, 0)[:1]})
no_task = "no task"
