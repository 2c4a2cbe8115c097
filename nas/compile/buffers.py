"""The memory of a call: a block for each pass, divided alike for calls of equal shapes."""

import functools
import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.compile.emit import Source
from nas.compile.emit.code import Buffer
from nas.compile.emit.forward import CHUNK
from nas.compile.emit.gradients import PIECE, running, widest
from nas.compile.emit.values import Values
from nas.compile.plan import Plan
from nas.compile.rows import Rows
from nas.compile.stacked import LINE

REVERSE, TOKENS = 4, 10
"""Places in `call_t` (prelude.c) that differ between calls of one shape."""


Pointers = tuple[NDArray[np.int64], NDArray[np.int64]]
"""For each member and slot: 1 if the slot points into a block, and at which byte of it."""


class Shape(NamedTuple):
    """The sizes of a call that, with its plan, decide how much memory it takes."""

    rows: Rows
    n_inputs: int
    """Rows of the input: symbols of a table, or one for every row of x."""
    members: int
    threads: int
    keep: bool
    """Whether a backward pass will follow."""
    tokens: bool


class Layout:
    """The buffers of a plan for calls of one shape, and their part of the table of pointers."""

    def __init__(self, plan: Plan, source: Source, shape: Shape, itemsize: int) -> None:
        self.total = shape.rows.total
        self._n_slots = len(source.slots) + 1  # the last for what the code never reads
        cut = functools.partial(self._cut, source.slots, shape.members, itemsize)
        self.size, self._forward = cut(_forward(plan, source.values, shape))
        self.back_size, self._backward = cut(_backward(plan, source.values, shape))
        counts, offsets = shape.rows.arrays
        self._arrays = (counts, offsets)  # must live as long as the pointers to them
        self.call = np.array(
            [
                *(shape.members, self._n_slots, len(shape.rows.counts), shape.rows.batch),
                *(0, shape.n_inputs, shape.keep, shape.threads),
                *(counts.ctypes.data, offsets.ctypes.data, 0),
            ],
            dtype=np.int64,
        )

    def _cut(
        self,
        slots: dict[Buffer, int],
        members: int,
        itemsize: int,
        buffers: Iterable[tuple[Buffer, int]],
    ) -> tuple[int, Pointers]:
        """The size of a block, and the pointers into it.

        Buffers begin on cache lines, so that a vector never crosses a line.
        """
        inside, first = np.zeros((2, members, self._n_slots), dtype=np.int64)
        size = 0
        for buffer, count in buffers:
            if buffer in slots:
                inside[:, slots[buffer]], first[:, slots[buffer]] = 1, size
                size += -(-count * itemsize // LINE) * LINE
        first += inside * np.arange(members)[:, None] * size
        return members * size // itemsize, (inside, first)

    def table(self, memory: Tensor, back: Tensor | None = None) -> NDArray[np.int64]:
        """The table of pointers, (members, slots), with those into the blocks filled in."""
        inside, first = self._forward
        table: NDArray[np.int64] = inside * memory.data_ptr()
        table += first
        if back is not None:
            inside, first = self._backward
            table += inside * back.data_ptr()
            table += first
        return table


def _forward(plan: Plan, values: Values, shape: Shape) -> Iterator[tuple[Buffer, int]]:
    """The buffers that the forward pass writes, with the number of their values."""
    rows = shape.rows
    every = rows.total if shape.keep else rows.batch
    for s, stage in enumerate(plan.stages):
        yield Buffer("biases", (s,)), stage.columns
        chunk = min(len(rows.counts), CHUNK // rows.batch + 1) * rows.batch
        yield Buffer("base", (s,)), (shape.n_inputs if shape.tokens else chunk) * stage.columns
        n_rows = every if values.stage_is_kept(s) else rows.batch
        yield Buffer("sums", (s,)), n_rows * stage.columns
        for q, product in enumerate(stage.inputs):
            yield Buffer("input panels", (s, q)), plan.sizes[product.arg] * product.count
        for q, product in enumerate(stage.products):
            yield Buffer("panels", (s, q)), plan.sizes[product.arg] * product.count
    for i in plan.diagonals:
        yield Buffer("vector", (i,)), plan.padded(i)
    for p in plan.state_places:
        steps = len(rows.counts) if shape.keep else 1
        yield Buffer("state", (p,)), (steps + 1) * rows.batch * plan.padded(p)
    for i in values.group_of:
        n_rows = every if i in values.kept else rows.batch
        yield Buffer("value", (i,)), n_rows * plan.padded(i)


def _backward(plan: Plan, values: Values, shape: Shape) -> Iterator[tuple[Buffer, int]]:
    """The buffers that the backward pass writes, with the number of their values."""
    rows = shape.rows
    for s, stage in enumerate(plan.stages):
        yield Buffer("sums", (s,), True), rows.total * stage.columns
        yield Buffer("symbols", (s,), True), shape.n_inputs * stage.columns if shape.tokens else 0
        for q, product in enumerate(stage.inputs):
            count = plan.rounded(product.arg) * product.count
            yield Buffer("input panels back", (s, q)), count
        for q, product in enumerate(stage.products):
            yield Buffer("panels back", (s, q)), plan.padded(product.arg) * product.count
    for p in plan.state_places:
        for buffer in (Buffer("state", (p,), True), Buffer("next state", (p,))):
            yield buffer, rows.batch * plan.padded(p)
    for i in values.group_of:
        yield Buffer("value", (i,), True), rows.batch * plan.padded(i)
    for i in values.multiplied:
        yield Buffer("gathered", (i,)), 0 if rows.dense else rows.total * plan.padded(i)
    for i, width in running(plan).items():
        yield Buffer("running", (i,)), shape.threads * width
    # The last: vectors that are read at the end of other buffers may reach into it.
    yield Buffer("scratch", ()), shape.threads * PIECE * widest(plan) + LINE


KEPT_BLOCKS = 8
_pool: list[Tensor] = []
_lock = threading.Lock()


def block_of(size: int, like: Tensor) -> Tensor:
    """Memory for `size` values, not cleared: that of an earlier call if nothing refers to it.

    A fresh block of some megabytes costs a page fault every 4 KiB, which took a tenth of the time
    of an LSTM of 128 units.
    """
    if torch.is_inference_mode_enabled():  # a block of it could not be saved for a backward pass
        return like.new_empty(size)
    with _lock:
        for place, whole in enumerate(_pool):
            fits = whole.dtype == like.dtype and size <= whole.numel() <= 2 * size + 4096
            if fits and _is_free(whole):
                _pool.append(_pool.pop(place))  # the most recently used comes last
                return whole[:size]
        whole = like.new_empty(size)
        _pool.append(whole)
        if len(_pool) > KEPT_BLOCKS:
            _pool.pop(next((k for k, old in enumerate(_pool) if _is_free(old)), 0))
        return whole[:size]


def _is_free(whole: Tensor) -> bool:
    """Whether only the pool refers to a block: by its tensor, and by `storage` here."""
    storage = whole.untyped_storage()
    return int(torch._C._storage_Use_Count(storage._cdata)) <= 2
