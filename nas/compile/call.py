"""A call of a loop over a sequence: the arguments of the C code, and the tensors that it fills."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.compile.buffers import REVERSE, TOKENS, Layout, Shape, block_of
from nas.compile.emit import Source
from nas.compile.emit.code import Buffer, Role
from nas.compile.hoist import padded as padded_to
from nas.compile.plan import Plan
from nas.compile.rows import Rows

CFunction = Callable[[int, int], None]
ROWS_A_THREAD = 4
MULTIPLIED = 2_000_000
"""Weights times rows above which a second thread is worth its start, some 30 microseconds."""


@dataclass(eq=False, slots=True)
class Request:
    """The sizes and the direction of a call of a loop."""

    rows: Rows
    reverse: bool
    lead: tuple[int, ...]
    """The first dimensions of all tensors: (members,), or none for one layer alone."""
    n_inputs: int
    """Rows of the input: symbols of a table, or one for every row of x."""

    @property
    def members(self) -> int:
        return self.lead[0] if self.lead else 1

    def threads(self, loop: "Loop") -> int:
        threads = torch.get_num_threads()
        if threads == 1 or self.members * loop.macs * self.rows.total < MULTIPLIED:
            return 1
        wanted = self.members if self.members > 1 else self.rows.batch // ROWS_A_THREAD
        return max(1, min(threads, wanted))


class Loop:
    """A compiled plan, with its arguments and results in order."""

    def __init__(self, plan: Plan, source: Source, forward: CFunction, backward: CFunction) -> None:
        self.plan, self.source = plan, source
        self.forward, self.backward = forward, backward
        states = plan.state_places
        maps = [target.node for stage in plan.stages for target in stage.targets]
        self.given: list[tuple[Role, int]] = [
            *(("input", i) for i in plan.matrix_inputs),
            *(("hoisted", i) for i in plan.hoisted),
            *(("weight", i) for i in (*maps, *plan.diagonals)),
            *(("bias", i) for i in maps if plan.node(i).op == "linear"),
            *(("start", p) for p in states),
        ]
        """The arguments: their roles, with nodes or the places of states."""
        self.leaving = [
            (place, i)
            for place, i in enumerate(plan.outputs)
            if place not in states and i in plan.depth
        ]
        """Places and nodes of the outputs that the loop computes."""
        given = [Buffer(role, (i,)) for role, i in self.given]
        results = [Buffer("final", (p,)) for p in states]
        results += [Buffer("output", (place,)) for place, _ in self.leaving]
        gradients = [buffer._replace(gradient=True) for buffer in results + given]
        spare = len(source.slots)  # a place for what the code never reads
        self.forward_slots = np.array([source.slots.get(b, spare) for b in given + results])
        """Places of pointers: to what is given, to final states, to outputs."""
        self.backward_slots = np.array([source.slots.get(b, spare) for b in given + gradients])
        """To what is given, to gradients of results, to gradients of what is given."""
        self.n_states = len(states)
        self.macs = sum(
            plan.sizes[product.arg] * product.count
            for stage in plan.stages
            for product in (*stage.inputs, *stage.products)
        )
        self._layouts: dict[Shape, Layout] = {}

    def layout(self, request: Request, like: Tensor, *, keep: bool, tokens: bool) -> Layout:
        """The memory of a call, cut once for equal requests."""
        threads, members = request.threads(self), request.members
        shape = Shape(request.rows, request.n_inputs, members, threads, keep, tokens)
        layout = self._layouts.get(shape)
        if layout is None:
            if len(self._layouts) >= 64:  # packed batches differ all the time
                self._layouts.clear()
            layout = Layout(self.plan, self.source, shape, like.element_size())
            self._layouts[shape] = layout
        return layout


@dataclass(eq=False, slots=True)
class Call:
    """A loop with its arguments."""

    loop: Loop
    request: Request
    tokens: Tensor | None
    tensors: Sequence[Tensor | None]
    """The arguments, in the order of `Loop.given`; the last is a state."""

    def forward(self, *, keep: bool) -> tuple[Tensor, list[Tensor]]:
        """The memory of a forward pass; its final states and other outputs."""
        loop, plan, lead = self.loop, self.loop.plan, self.request.lead
        like, layout = self._layout(keep)
        memory = block_of(layout.size, like)
        sizes = plan.sizes[1 : 1 + loop.n_states]
        results = [like.new_empty((*lead, self.request.rows.batch, size)) for size in sizes]
        results += [like.new_empty((*lead, layout.total, plan.padded(i))) for _, i in loop.leaving]
        table = layout.table(memory)
        self._point(table, loop.forward_slots, (*self.tensors, *results))
        self._run(loop.forward, table, layout)
        for k, (_, i) in enumerate(loop.leaving, start=loop.n_states):
            if plan.sizes[i] != plan.padded(i):
                results[k] = results[k][..., : plan.sizes[i]].contiguous()
        return memory, results

    def backward(
        self, memory: Tensor, gradients: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """The gradients of the arguments of a forward pass, where they are wanted."""
        loop, plan = self.loop, self.loop.plan
        like, layout = self._layout(keep=True)
        back = block_of(layout.back_size, like)
        coming = [None if g is None else g.contiguous() for g in gradients]
        for k, (_, i) in enumerate(loop.leaving, start=loop.n_states):
            given = coming[k]
            if given is not None and plan.sizes[i] != plan.padded(i):
                coming[k] = padded_to(given, plan.padded(i))
        results = [
            self._gradient(role, tensor) if want or role == "hoisted" else None
            for (role, _), tensor, want in zip(loop.given, self.tensors, wanted, strict=True)
        ]
        table = layout.table(memory, back)
        self._point(table, loop.backward_slots, (*self.tensors, *coming, *results))
        self._run(loop.backward, table, layout)
        for k, tensor in enumerate(self.tensors[: len(plan.matrix_inputs)]):
            gradient = results[k]
            if gradient is not None and tensor is not None:
                results[k] = gradient[..., : tensor.shape[-1]]
        return results

    def _layout(self, keep: bool) -> tuple[Tensor, Layout]:
        """A tensor of the call's dtype, and its memory."""
        like = self.tensors[-1]
        assert like is not None, "a cell has a state"
        tokens = self.tokens is not None
        return like, self.loop.layout(self.request, like, keep=keep, tokens=tokens)

    def _gradient(self, role: Role, tensor: Tensor | None) -> Tensor | None:
        """A tensor for the gradient of an argument."""
        if tensor is None:
            return None
        if role == "hoisted":  # written whether it is wanted or not, and not in every row
            return torch.zeros_like(tensor)
        if role == "input":  # written in whole vectors
            return tensor.new_empty((*tensor.shape[:-1], self.loop.plan.whole(tensor.shape[-1])))
        # Not empty_like, which keeps the strides of members that lie apart.
        return tensor.new_empty(tensor.shape)

    def _point(
        self,
        table: NDArray[np.int64],
        slots: NDArray[np.int64],
        tensors: Sequence[Tensor | None],
    ) -> None:
        """Fill in the pointers to tensors, for each member."""
        first = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
        members = self.request.members
        if members == 1:  # the same in less time
            table[0, slots] = first
            return
        stride = [0 if t is None else t.stride(0) * t.element_size() for t in tensors]
        table[:, slots] = np.array(first) + np.arange(members)[:, None] * np.array(stride)

    def _run(self, function: CFunction, table: NDArray[np.int64], layout: Layout) -> None:
        call = layout.call.copy()
        call[REVERSE] = self.request.reverse
        call[TOKENS] = 0 if self.tokens is None else self.tokens.data_ptr()
        function(table.ctypes.data, call.ctypes.data)
