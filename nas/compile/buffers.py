"""The memory of a call: a block for each pass, divided alike for calls of equal shapes."""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
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
from nas.compile.rows import Rows, TracedRows
from nas.compile.stacked import LINE

TOKENS = 11
"""The place in `call_t` (prelude.c) that differs between calls of one shape."""


CFunction = Callable[[int, int], None]
Pointers = tuple[NDArray[np.int64], NDArray[np.int64]]
"""For each member and slot: 1 if the slot points into a block, and at which byte of it."""


class Shape(NamedTuple):
    """The sizes of a call that, with its plan, decide how much memory it takes."""

    rows: Rows | TracedRows
    n_inputs: int
    """Rows of the input: symbols of a table, or one for every row of x."""
    members: int
    threads: int
    keep: bool
    """Whether a backward pass will follow."""
    tokens: bool


class Table:
    """Pointers for C, (members, slots), to be used by one call at a time."""

    def __init__(self, members: int, n_slots: int) -> None:
        self.pointers = np.zeros((members, n_slots), dtype=np.int64)
        self.address = self.pointers.ctypes.data
        self.blocks = (0, 0)
        """The addresses of the blocks that it points into."""


class Layout:
    """The buffers of a plan for calls of one shape, and their part of the table of pointers."""

    results: list[tuple[int, ...]]
    """The shapes of final states and outputs in memory."""

    def __init__(
        self, plan: Plan, source: Source, shape: Shape, itemsize: int, *, reverse: bool = False
    ) -> None:
        self.members, rows = shape.members, shape.rows
        assert isinstance(rows, Rows), "C is told numbers"
        self._n_slots = len(source.slots) + 1  # the last for what the code never reads
        cut = functools.partial(self._cut, source.slots, itemsize)
        self.size, self._forward = cut(_forward(plan, source.values, shape))
        if shape.keep and rows.dense:
            self._overlay_delays(plan, source.slots, rows.batch * itemsize, reverse)
        self.back_size, self._backward = cut(_backward(plan, source.values, shape))
        counts, offsets = rows.arrays
        self._arrays = (counts, offsets)  # must live as long as the pointers to them
        self._call = np.array(
            [
                *(shape.members, self._n_slots, rows.n_steps, rows.batch),
                *(reverse, shape.n_inputs, shape.keep, shape.threads, _is_direct(shape)),
                *(counts.ctypes.data, offsets.ctypes.data, 0),
            ],
            dtype=np.int64,
        )
        self.address = self._call.ctypes.data
        """Of the numbers that C is told."""
        self._spare: tuple[list[Table], list[Table]] = ([], [])

    def _cut(
        self, slots: dict[Buffer, int], itemsize: int, buffers: Iterable[tuple[Buffer, int]]
    ) -> tuple[int, Pointers]:
        """The number of values of a block, and the pointers into it."""
        inside, first = np.zeros((2, self.members, self._n_slots), dtype=np.int64)
        size = 0
        for buffer, bytes_ in _in_lines(slots, itemsize, buffers):
            inside[:, slots[buffer]], first[:, slots[buffer]] = 1, size
            size += bytes_
        first += inside * np.arange(self.members)[:, None] * size
        return self.members * size // itemsize, (inside, first)

    def _overlay_delays(
        self, plan: Plan, slots: dict[Buffer, int], row: int, reverse: bool
    ) -> None:
        """Let a state that holds what another one was lie in the other's values, some steps before.

        Nothing is copied then: C leaves out a copy of a step that stays where it is. The values of
        a sequence that has ended stay the same, so that this needs sequences of one length.
        """
        _, first = self._forward
        for source, steps in _longest_delays(plan).items():
            if not reverse:  # values of earlier steps lie before those of later ones
                first[:, slots[Buffer("state", (source,))]] += steps * row * plan.padded(source)
        for place, (source, steps) in plan.delays.items():
            shift = (steps if reverse else -steps) * row * plan.padded(source)
            of_source = first[:, slots[Buffer("state", (source,))]]
            first[:, slots[Buffer("state", (place,))]] = of_source + shift

    def run(self, function: CFunction, table: Table, tokens: Tensor | None) -> None:
        """Call C."""
        if tokens is None:
            function(table.address, self.address)
            return
        call = self._call.copy()
        call[TOKENS] = tokens.data_ptr()
        function(table.address, call.ctypes.data)

    def table(self, memory: Tensor, back: Tensor | None = None) -> Table:
        """A table of pointers with those into the blocks filled in; give it back to `keep`."""
        spare = self._spare[back is not None]
        table = spare.pop() if spare else Table(self.members, self._n_slots)
        blocks = memory.data_ptr(), 0 if back is None else back.data_ptr()
        if table.blocks != blocks:
            inside, first = self._forward
            pointers = inside * blocks[0] + first
            if back is not None:
                inside, first = self._backward
                pointers += inside * blocks[1] + first
            table.pointers[:], table.blocks = pointers, blocks
        return table

    def keep(self, table: Table, *, back: bool) -> None:
        """Take a table for later calls, whose blocks are often the same."""
        self._spare[back].append(table)


def _is_direct(shape: Shape) -> bool:
    """Whether a call is too short for its matrices to be packed: a step of one sequence.

    Products of bfloat16 factors are made of packed matrices alone.
    """
    is_short = shape.rows.total == 1 and shape.members == 1
    rounds = torch.get_float32_matmul_precision() == "medium"
    return is_short and not (shape.keep or shape.tokens or rounds)


def memory_size(plan: Plan, source: Source, shape: Shape, itemsize: int) -> int:
    """The number of values that a forward pass of one layer keeps in memory: `Layout.size`, also
    where sizes are symbols of torch's tracing."""
    buffers = _in_lines(source.slots, itemsize, _forward(plan, source.values, shape))
    return sum(bytes_ for _, bytes_ in buffers) // itemsize


def _in_lines(
    slots: dict[Buffer, int], itemsize: int, buffers: Iterable[tuple[Buffer, int]]
) -> Iterator[tuple[Buffer, int]]:
    """The buffers that the code uses, with their bytes.

    Buffers begin on cache lines, so that a vector never crosses a line.
    """
    for buffer, count in buffers:
        if buffer in slots:
            yield buffer, -(-count * itemsize // LINE) * LINE


def _forward(plan: Plan, values: Values, shape: Shape) -> Iterator[tuple[Buffer, int]]:
    """The buffers that the forward pass writes, with the number of their values."""
    rows = shape.rows
    every = rows.total if shape.keep else rows.batch
    for s, stage in enumerate(plan.stages):
        yield Buffer("biases", (s,)), stage.columns
        chunk = torch.sym_min(rows.n_steps, CHUNK // rows.batch + 1) * rows.batch
        yield Buffer("base", (s,)), (shape.n_inputs if shape.tokens else chunk) * stage.columns
        n_rows = every if values.stage_is_kept(s) else rows.batch
        yield Buffer("sums", (s,)), n_rows * stage.columns
        for q, product in enumerate(stage.inputs):
            yield Buffer("input panels", (s, q)), plan.sizes[product.arg] * product.count
        for q, product in enumerate(stage.products):
            yield Buffer("panels", (s, q)), plan.sizes[product.arg] * product.count
    for i in plan.diagonals:
        yield Buffer("vector", (i,)), plan.padded(i)
    past = _longest_delays(plan)
    for p in plan.state_places:
        steps = rows.n_steps + past.get(p, 0) if shape.keep else 1
        yield Buffer("state", (p,)), (steps + 1) * rows.batch * plan.padded(p)
    for i in values.group_of:
        n_rows = every if i in values.kept else rows.batch
        yield Buffer("value", (i,)), n_rows * plan.padded(i)


def _longest_delays(plan: Plan) -> dict[int, int]:
    """How many steps before the first one the past of a state reaches, where another holds it."""
    longest: dict[int, int] = {}
    for source, steps in plan.delays.values():
        longest[source] = max(steps, longest.get(source, 0))
    return longest


def _backward(plan: Plan, values: Values, shape: Shape) -> Iterator[tuple[Buffer, int]]:
    """The buffers that the backward pass writes, with the number of their values."""
    rows = shape.rows
    assert isinstance(rows, Rows), "the memory of a backward pass is never traced"
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
        for place in range(len(_pool) - 1, -1, -1):
            whole = _pool[place]
            values = whole.numel()
            if size <= values <= 2 * size + 4096 and whole.dtype == like.dtype and _is_free(whole):
                _pool.append(_pool.pop(place))  # the most recently used comes last
                return whole.narrow(0, 0, size)
        whole = like.new_empty(size)
        _pool.append(whole)
        if len(_pool) > KEPT_BLOCKS:
            _pool.pop(next((k for k, old in enumerate(_pool) if _is_free(old)), 0))
        return whole.narrow(0, 0, size)


def _is_free(whole: Tensor) -> bool:
    """Whether only the pool refers to a block: by its tensor, and by `storage` here."""
    storage = whole.untyped_storage()
    return int(torch._C._storage_Use_Count(storage._cdata)) <= 2
