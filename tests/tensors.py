"""Small tensors and their comparison, for the tests of modules."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from tests.tolerances import OTHER_KERNEL_64

D, H, B = 3, 4, 3
LENGTHS = {"sorted": (5, 3, 2), "unsorted": (2, 5, 3)}
"""Of the sequences of a packed batch."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def flat(*values: Any) -> list[Tensor]:
    """All tensors of inputs or results, of whatever structure."""
    found = []
    for value in values:
        if isinstance(value, PackedSequence):
            found.append(value.data)
        elif isinstance(value, Tensor):
            found.append(value)
        elif value is not None:
            found += flat(*value)
    return found


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, **OTHER_KERNEL_64)
