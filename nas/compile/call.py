"""One call of a loop over a sequence: what the C code is given, and the tensors that it fills."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.compile.buffers import REVERSE, TOKENS, Layout, Shape, block_of
from nas.compile.emit import Source
from nas.compile.emit.code import Buffer
from nas.compile.hoist import padded as padded_to
from nas.compile.plan import Plan
from nas.compile.rows import Rows

CFunction = Callable[[int, int], None]
ROWS_A_THREAD = 4
MULTIPLIED = 2_000_000
"""Weights times rows from which a second thread is worth its start, some 30 microseconds."""


@functools.lru_cache(maxsize=256)
def learned(plan: Plan) -> tuple[int, ...]:
    """Nodes of the loop with a matrix or a vector."""
    return (*(t.node for stage in plan.stages for t in stage.targets), *plan.diagonals)


@functools.lru_cache(maxsize=256)
def biased(plan: Plan) -> tuple[int, ...]:
    """Nodes of the loop that may have a bias."""
    targets = [t.node for stage in plan.stages for t in stage.targets]
    return tuple(i for i in targets if plan.node(i).op == "linear")


class Loop:
    """A compiled plan: what it reads and gives, in the order of its arguments and results."""

    def __init__(self, plan: Plan, source: Source, forward: CFunction, backward: CFunction) -> None:
        self.plan, self.source = plan, source
        self.forward, self.backward = forward, backward
        states = range(1, len(plan.cell.states) + 1)
        self.given = (
            *((Buffer("input", (i,)), plan.rounded(i)) for i in plan.matrix_inputs),
            *((Buffer("hoisted", (i,)), 0) for i in plan.hoisted),
            *((Buffer("weight", (i,)), 0) for i in learned(plan)),
            *((Buffer("bias", (i,)), 0) for i in biased(plan)),
            *((Buffer("start", (p,)), 0) for p in states),
        )
        """What it reads, with the row length of those gradients that are padded."""
        self.leaving = tuple(
            (place, i)
            for place, i in enumerate(plan.outputs)
            if place not in states and i in plan.depth
        )
        """Places and nodes of the outputs that the loop computes."""
        slots = source.slots
        spare = len(slots)  # a place for what the code never reads
        given = [buffer for buffer, _ in self.given]
        results = [Buffer("final", (p,)) for p in states]
        results += [Buffer("output", (place,)) for place, _ in self.leaving]
        self.forward_slots = np.array([slots.get(buffer, spare) for buffer in given + results])
        """Places of pointers: to what is given, to final states, to outputs."""
        gradients = [buffer._replace(gradient=True) for buffer in results + given]
        self.backward_slots = np.array([slots.get(buffer, spare) for buffer in given + gradients])
        """To what is given, to gradients of results, to gradients of what is given."""
        self.n_states = len(states)
        self.macs = sum(
            plan.sizes[product.arg] * product.count
            for stage in plan.stages
            for product in (*stage.inputs, *stage.products)
        )
        self._layouts: dict[tuple[object, ...], Layout] = {}

    def layout(self, request: "Request", like: Tensor, *, keep: bool, tokens: bool) -> Layout:
        """The memory of a call, cut once for equal requests."""
        threads = request.threads(self)
        key = (request.rows, request.n_inputs, request.members, threads, keep, tokens)
        found = self._layouts.get(key)
        if found is None:
            if len(self._layouts) >= 64:  # packed batches differ all the time
                self._layouts.clear()
            members = request.members or 1
            shape = Shape(request.rows, request.n_inputs, members, threads, keep, tokens)
            found = Layout(self.plan, self.source, shape, like.element_size())
            self._layouts[key] = found
        return found


@dataclass(eq=False, slots=True)
class Request:
    """What is asked of a loop, beside tensors."""

    rows: Rows
    reverse: bool
    members: int | None
    """How many members all tensors have as their first dimension; None: they have none."""
    n_inputs: int

    def threads(self, loop: Loop) -> int:
        threads = torch.get_num_threads()
        if threads == 1:
            return 1
        members = self.members or 1
        if members * loop.macs * self.rows.total < MULTIPLIED:
            return 1
        wanted = members if members > 1 else self.rows.batch // ROWS_A_THREAD
        return max(1, min(threads, wanted))


def forward(
    loop: Loop,
    request: Request,
    tokens: Tensor | None,
    tensors: Sequence[Tensor | None],
    keep: bool,
) -> tuple[Tensor, list[Tensor]]:
    """The memory of a forward pass; final states, and what else leaves the loop."""
    like = tensors[-1]
    assert like is not None, "a cell has a state"
    plan, batch = loop.plan, request.rows.batch
    layout = loop.layout(request, like, keep=keep, tokens=tokens is not None)
    memory = block_of(layout.size, like)
    lead = () if request.members is None else (request.members,)
    sizes = plan.sizes[1 : 1 + loop.n_states]
    results = [like.new_empty((*lead, batch, size)) for size in sizes]
    results += [like.new_empty((*lead, layout.total, plan.padded(i))) for _, i in loop.leaving]
    table = layout.table(memory)
    _point(table, loop.forward_slots, (*tensors, *results), request)
    _run(loop.forward, table, layout, request, tokens)
    for k, (_, i) in enumerate(loop.leaving, start=loop.n_states):
        if plan.sizes[i] != plan.padded(i):
            results[k] = results[k][..., : plan.sizes[i]].contiguous()
    return memory, results


def backward(
    loop: Loop,
    request: Request,
    tokens: Tensor | None,
    tensors: Sequence[Tensor | None],
    memory: Tensor,
    gradients: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of what a forward pass was given, where they are wanted."""
    like = tensors[-1]
    assert like is not None, "a cell has a state"
    plan, n_states = loop.plan, loop.n_states
    layout = loop.layout(request, like, keep=True, tokens=tokens is not None)
    back = block_of(layout.back_size, like)
    coming = [None if g is None else g.contiguous() for g in gradients]
    for k, (_, i) in enumerate(loop.leaving, start=n_states):
        given = coming[k]
        if given is not None and plan.sizes[i] != plan.padded(i):
            coming[k] = padded_to(given, plan.padded(i))
    found = [
        _gradient(buffer, padded, tensor) if want or buffer.role == "hoisted" else None
        for (buffer, padded), tensor, want in zip(loop.given, tensors, wanted, strict=True)
    ]
    table = layout.table(memory, back)
    _point(table, loop.backward_slots, (*tensors, *coming, *found), request)
    _run(loop.backward, table, layout, request, tokens)
    for k, (_, padded) in enumerate(loop.given):
        grad, tensor = found[k], tensors[k]
        if padded and grad is not None and tensor is not None:
            found[k] = grad[..., : tensor.shape[-1]]
    return found


def _gradient(buffer: Buffer, padded: int, tensor: Tensor | None) -> Tensor | None:
    """Where a gradient is to be written."""
    if tensor is None:
        return None
    if buffer.role == "hoisted":  # written whether it is wanted or not, and not in every row
        return torch.zeros_like(tensor)
    if padded and padded != tensor.shape[-1]:
        return tensor.new_empty((*tensor.shape[:-1], padded))
    # Not empty_like, which keeps the strides of members that lie apart.
    return tensor.new_empty(tensor.shape)


def _point(
    table: NDArray[np.int64],
    slots: NDArray[np.int64],
    tensors: Sequence[Tensor | None],
    request: Request,
) -> None:
    first = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
    if request.members is None:
        table[0, slots] = first
        return
    stride = [0 if t is None else t.stride(0) * t.element_size() for t in tensors]
    members = np.arange(request.members, dtype=np.int64)[:, None]
    table[:, slots] = np.array(first, dtype=np.int64) + members * np.array(stride, dtype=np.int64)


def _run(
    function: CFunction,
    table: NDArray[np.int64],
    layout: Layout,
    request: Request,
    tokens: Tensor | None,
) -> None:
    call = layout.call.copy()
    call[REVERSE] = request.reverse
    call[TOKENS] = 0 if tokens is None else tokens.data_ptr()
    function(table.ctypes.data, call.ctypes.data)
