"""One call of a loop over a sequence: what the C code is given, and the tensors that it fills."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.compile.buffers import Layout, Shape, block_of
from nas.compile.emit import Source
from nas.compile.emit_shared import rounded
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
            *((f"input {i}", rounded(plan, i)) for i in plan.matrix_inputs),
            *((f"hoisted {i}", 0) for i in plan.hoisted),
            *((f"weight {i}", 0) for i in learned(plan)),
            *((f"bias of {i}", 0) for i in biased(plan)),
            *((f"start {p}", 0) for p in states),
        )
        """Names of what it reads, with the row length of those gradients that are padded."""
        self.leaving = tuple(
            (place, i)
            for place, i in enumerate(plan.outputs)
            if place not in states and i in plan.depth
        )
        """Places and nodes of the outputs that the loop computes."""
        slots = source.slots
        spare = len(slots)  # a place for what the code never reads
        self.given_slots = [slots.get(name, spare) for name, _ in self.given]
        self.grad_slots = [slots.get(f"grad {name}", spare) for name, _ in self.given]
        self.final_slots = [slots[f"final {p}"] for p in states]
        self.output_slots = [slots[f"output {place}"] for place, _ in self.leaving]
        self.grad_final_slots = [slots[f"grad final {p}"] for p in states]
        self.grad_output_slots = [slots[f"grad output {place}"] for place, _ in self.leaving]
        self.macs = sum(
            plan.sizes[product.arg] * product.count
            for stage in plan.stages
            for product in (*stage.inputs, *stage.products)
        )
        self._layouts: dict[tuple[Shape, torch.dtype], Layout] = {}

    def layout(self, shape: Shape, like: Tensor) -> Layout:
        key = (shape, like.dtype)
        if key not in self._layouts:
            if len(self._layouts) >= 64:  # packed batches differ all the time
                self._layouts.clear()
            self._layouts[key] = Layout(self.plan, self.source, shape, like.element_size())
        return self._layouts[key]


@dataclass(frozen=True)
class Request:
    """What is asked of a loop, beside tensors."""

    rows: Rows
    reverse: bool
    members: int | None
    """How many members all tensors have as their first dimension; None: they have none."""
    n_inputs: int

    @property
    def lead(self) -> tuple[int, ...]:
        return () if self.members is None else (self.members,)

    def shape(self, loop: Loop, *, keep: bool, tokens: bool) -> Shape:
        members, rows = self.members or 1, self.rows
        threads = torch.get_num_threads()
        if threads > 1:
            wanted = members if members > 1 else rows.batch // ROWS_A_THREAD
            small = members * loop.macs * rows.total < MULTIPLIED
            threads = 1 if small else max(1, min(threads, wanted))
        return Shape(rows, self.n_inputs, members, threads, keep, tokens)


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
    plan, lead, rows = loop.plan, request.lead, request.rows
    layout = loop.layout(request.shape(loop, keep=keep, tokens=tokens is not None), like)
    memory = block_of(layout.size, like)
    table = layout.table(memory)
    _point(table, loop.given_slots, tensors, request)
    n_states = len(loop.final_slots)
    finals = [like.new_empty(*lead, rows.batch, plan.sizes[p]) for p in range(1, n_states + 1)]
    outputs = [like.new_empty(*lead, layout.total, plan.padded(i)) for _, i in loop.leaving]
    _point(table, loop.final_slots, finals, request)
    _point(table, loop.output_slots, outputs, request)
    _run(loop.forward, table, layout, request, tokens)
    narrow = [
        whole if plan.sizes[i] == plan.padded(i) else whole[..., : plan.sizes[i]].contiguous()
        for (_, i), whole in zip(loop.leaving, outputs, strict=True)
    ]
    return memory, finals + narrow


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
    plan = loop.plan
    layout = loop.layout(request.shape(loop, keep=True, tokens=tokens is not None), like)
    back = block_of(layout.back_size, like)
    table = layout.table(memory, back)
    _point(table, loop.given_slots, tensors, request)
    n_states = len(loop.final_slots)
    finals = [None if g is None else g.contiguous() for g in gradients[:n_states]]
    outputs = [
        None if given is None else _padded(given, plan.padded(i)).contiguous()
        for (_, i), given in zip(loop.leaving, gradients[n_states:], strict=True)
    ]
    _point(table, loop.grad_final_slots, finals, request)
    _point(table, loop.grad_output_slots, outputs, request)
    found = [
        _gradient(name, padded, tensor, want)
        for (name, padded), tensor, want in zip(loop.given, tensors, wanted, strict=True)
    ]
    _point(table, loop.grad_slots, found, request)
    _run(loop.backward, table, layout, request, tokens)
    for k, (_, padded) in enumerate(loop.given):
        grad, tensor = found[k], tensors[k]
        if padded and grad is not None and tensor is not None:
            found[k] = grad[..., : tensor.shape[-1]]
    return found


def _gradient(name: str, padded: int, tensor: Tensor | None, want: bool) -> Tensor | None:
    """Where a gradient is to be written."""
    if tensor is None:
        return None
    if name.startswith("hoisted"):  # written whether it is wanted or not, and not in every row
        return torch.zeros_like(tensor)
    if not want:
        return None
    if padded and padded != tensor.shape[-1]:
        return tensor.new_empty(*tensor.shape[:-1], padded)
    # Not empty_like, which keeps the strides of members that lie apart.
    return tensor.new_empty(tensor.shape)


def _padded(value: Tensor, width: int) -> Tensor:
    missing = width - value.shape[-1]
    return torch.nn.functional.pad(value, (0, missing)) if missing else value


def _point(
    table: NDArray[np.int64],
    slots: Sequence[int],
    tensors: Sequence[Tensor | None],
    request: Request,
) -> None:
    if not slots:
        return
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
    call[4] = request.reverse
    call[10] = 0 if tokens is None else tokens.data_ptr()
    function(table.ctypes.data, call.ctypes.data)
