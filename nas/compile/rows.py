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
    def n_steps(self) -> int:
        return len(self.counts)

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
        if self.dense:  # no number is copied to a GPU: a CUDA graph cannot hold that
            index = torch.arange(self.n_steps, device=like.device).repeat_interleave(self.batch)
            index = self.n_steps - 1 - index if reverse else index
            return (index + self.first).to(like.dtype).unsqueeze(-1)
        return _steps(torch.tensor(self.counts, device=like.device), self, like, reverse)

    def concrete(self) -> "Rows":
        return self


@dataclass(frozen=True)
class TracedRows:
    """The same of a batch that torch traces: sizes may be symbols, and counts are a tensor.

    torch.compile, torch.export, make_fx and torch.jit.trace record what is done with a tensor, not
    what is done with the numbers in it.
    """

    n_steps: int
    batch: int
    total: int
    carrier: Tensor
    """A tensor of which the loop reads the sizes when it runs: (steps, batch, …) or, of a packed
    batch, (rows of all steps, …)."""
    counts: Tensor | None = None
    """The sequences at each step of a packed batch, (steps,), as PackedSequence.batch_sizes."""
    first: int = 0

    def steps(self, like: Tensor, reverse: bool) -> Tensor:
        """As `Rows.steps`."""
        counts = self.counts
        if counts is None:
            counts = torch.full((self.n_steps,), self.batch, device=like.device)
        return _steps(counts, self, like, reverse)

    def concrete(self) -> Rows:
        """These rows with numbers for sizes, which a loop over the steps in Python needs."""
        if self.counts is not None:
            return Rows(tuple(self.counts.tolist()), self.first)
        return Rows((self.batch,) * int(self.n_steps), self.first)


def _steps(counts: Tensor, rows: Rows | TracedRows, like: Tensor, reverse: bool) -> Tensor:
    arange = functools.partial(torch.arange, device=like.device)
    index = arange(rows.n_steps).repeat_interleave(counts, output_size=rows.total)
    if reverse:
        sequence = arange(rows.total) - (counts.cumsum(0) - counts)[index]
        lengths = (counts.unsqueeze(0) > arange(rows.batch).unsqueeze(1)).sum(1)
        index = lengths[sequence] - 1 - index
    return (index + rows.first).to(like.dtype).unsqueeze(-1)


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

    def leading(self, rows: Rows | TracedRows) -> tuple[int, ...]:
        """The dimensions of the input before its width: rows, or (members, rows)."""
        return (*self.table.shape[:-2], rows.total)

    def places(self) -> Tensor:
        """`index` in 64 bits, as C reads it."""
        return self.index.long().contiguous()

    def rows(self) -> Tensor:
        """The input as (rows of all steps, width), or (members, rows of all steps, width)."""
        if self.table.dim() > 2:
            return self.table.index_select(-2, self.index)
        return F.embedding(self.index, self.table)


def check_places(places: Tensor, n_symbols: int) -> None:
    """Raise CellError if a symbol is not in the table, which C does not check."""
    low, high = (int(bound) for bound in places.aminmax())
    if low < 0 or high >= n_symbols:
        raise CellError(
            f"tokens must be at least 0 and below {n_symbols}, the rows of the table, got "
            f"{low if low < 0 else high}."
        )
