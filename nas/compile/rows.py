"""The shape of a batch of sequences: the number of sequences at each step."""

import functools
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nas.errors import CellError

LayerOutput = tuple[Tensor, list[Tensor], list[Tensor]]
"""What a layer gives: y, the final states, and the verticals for the layer above."""


@dataclass(frozen=True)
class Rows:
    """The number of sequences at each step, which never grows: a packed batch shrinks.

    A layer's values are tensors (rows of all steps, width), step after step.
    """

    counts: tuple[int, ...]
    first: int = field(default=0, compare=False)
    """The index of the first step, on which no layout of memory depends."""

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self.counts)

    @staticmethod
    @functools.lru_cache(maxsize=256)
    def equal(n_steps: int, batch: int) -> "Rows":
        """Sequences of one length."""
        return Rows((batch,) * n_steps)

    @property
    def batch(self) -> int:
        return self.counts[0]

    @functools.cached_property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def dense(self) -> bool:
        """Whether all sequences are equally long."""
        return self.counts[0] == self.counts[-1]

    @functools.cached_property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The counts, and the first row of each step, as C arrays."""
        offsets, total = [], 0
        for count in self.counts:
            offsets.append(total)
            total += count
        return np.array(self.counts, dtype=np.int64), np.array(offsets, dtype=np.int64)

    def steps(self, like: Tensor, reverse: bool) -> Tensor:
        """The index of each row's step in the order in which its sequence is read, as a column."""
        counts = torch.tensor(self.counts, device=like.device)
        index = torch.arange(len(self.counts), device=like.device).repeat_interleave(counts)
        if reverse:
            sequence = torch.cat([torch.arange(n, device=like.device) for n in self.counts])
            lengths = (
                counts.unsqueeze(0) > torch.arange(self.batch, device=like.device).unsqueeze(1)
            ).sum(1)
            index = lengths[sequence] - 1 - index
        return (index + self.first).to(like.dtype).unsqueeze(-1)


@dataclass(frozen=True)
class Tokens:
    """A layer's input as symbols: row k is the embedding `table[index[k]]`."""

    table: Tensor
    """(vocabulary, width), or (members, vocabulary, width)."""
    index: Tensor
    """(rows of all steps,), whole numbers."""

    @property
    def device(self) -> torch.device:
        return self.table.device

    @property
    def dtype(self) -> torch.dtype:
        return self.table.dtype

    def places(self) -> Tensor:
        """`index` in 64 bits and in range, since C does not check it.

        Raises:
            CellError: if a symbol is not in the table.
        """
        low, high = (int(bound) for bound in self.index.aminmax())
        if low < 0 or high >= self.table.shape[-2]:
            raise CellError(
                f"tokens must be at least 0 and below {self.table.shape[-2]}, the rows of the "
                f"table, got {low if low < 0 else high}."
            )
        return self.index.long().contiguous()

    def rows(self) -> Tensor:
        """The input as (rows of all steps, width), or (members, rows of all steps, width)."""
        if self.table.dim() > 2:
            return self.table.index_select(-2, self.index)
        return F.embedding(self.index, self.table)
