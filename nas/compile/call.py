"""A call of a loop over a sequence: the arguments of the C code, and the tensors that it fills."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.compile.buffers import CFunction, Layout, Shape, Table, block_of
from nas.compile.emit import Source
from nas.compile.emit.code import Buffer, Role
from nas.compile.hoist import padded as padded_to
from nas.compile.plan import SQUARE, Plan
from nas.compile.reference import parameter_labels
from nas.compile.rows import Rows
from nas.errors import CellError

ROWS_A_THREAD = 4
MULTIPLIED = 2_000_000
"""Weights times rows above which a second thread is worth its start, some 30 microseconds."""


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
        self.roles = [role for role, _ in self.given]
        self.leaving = [
            (place, i)
            for place, i in enumerate(plan.outputs)
            if place not in states and i in plan.depth
        ]
        """Places and nodes of the outputs that the loop computes."""
        self.forward_slots, self.backward_slots = self._slots()
        self.n_states = len(states)
        self.padded = {
            k: plan.sizes[i]
            for k, (_, i) in enumerate(self.leaving, start=self.n_states)
            if plan.sizes[i] != plan.padded(i)
        }
        """The widths of results that are shorter than their rows in memory, by place."""
        self.macs = sum(
            plan.sizes[product.arg] * product.count
            for stage in plan.stages
            for product in (*stage.inputs, *stage.products)
        )
        self.parameters = self._parameters()
        self._layouts: dict[object, Layout] = {}

    def _slots(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of pointers in the tables of both passes: to what is given, to final states, to
        outputs; to what is given, to gradients of results, to gradients of what is given."""
        given = [Buffer(role, (i,)) for role, i in self.given]
        results = [Buffer("final", (p,)) for p in self.plan.state_places]
        results += [Buffer("output", (place,)) for place, _ in self.leaving]
        gradients = [buffer._replace(gradient=True) for buffer in results + given]
        slots = self.source.slots
        spare = len(slots)  # a place for what the code never reads
        forward = np.array([slots.get(b, spare) for b in given + results])
        return forward, np.array([slots.get(b, spare) for b in given + gradients])

    def _parameters(self) -> list[str] | None:
        """Names of the arguments between x and the states if all of them are parameters as they
        are; None if some must be computed first."""
        plan = self.plan
        is_computed = plan.hoisted or set(plan.matrix_inputs) - {0}
        squares = any(role == "weight" and plan.node(i).op in SQUARE for role, i in self.given)
        outside = len(self.leaving) < len(plan.outputs) - self.n_states
        if is_computed or squares or outside:
            return None
        labels = parameter_labels(plan.cell)
        return [f"{labels[i]}_{role}" for role, i in self.given if role in ("weight", "bias")]

    def layout(
        self,
        rows: Rows,
        like: Tensor,
        lead: tuple[int, ...],
        n_inputs: int,
        *,
        reverse: bool,
        keep: bool,
        tokens: bool = False,
        by_step: bool = False,
    ) -> Layout:
        """The memory of a call, divided once for calls of equal sizes.

        `lead` are the first dimensions of all tensors: (members,), or none for one layer alone;
        `n_inputs` are the rows of the input: symbols of a table, or one for every row of x. With
        `by_step`, results are (steps, batch, width) and (1, batch, width), else without the first.
        """
        available = torch.get_num_threads()
        key = (rows, lead, n_inputs, reverse, keep, tokens, by_step, available)
        layout = self._layouts.get(key)
        if layout is None:
            if len(self._layouts) >= 64:  # packed batches differ all the time
                self._layouts.clear()
            members = lead[0] if lead else 1
            threads = self.threads(rows, members, available)
            shape = Shape(rows, n_inputs, members, threads, keep, tokens)
            layout = Layout(self.plan, self.source, shape, like.element_size(), reverse=reverse)
            batch = (1, rows.batch) if by_step else (*lead, rows.batch)
            every = (rows.n_steps, rows.batch) if by_step else (*lead, rows.total)
            layout.results = [(*batch, self.plan.sizes[p]) for p in self.plan.state_places]
            layout.results += [(*every, self.plan.padded(i)) for _, i in self.leaving]
            self._layouts[key] = layout
        return layout

    def threads(self, rows: Rows, members: int, available: int) -> int:
        """The number of threads that a call is worth, of those that are available."""
        if available == 1 or members * self.macs * rows.total < MULTIPLIED:
            return 1
        wanted = members if members > 1 else rows.batch // ROWS_A_THREAD
        return max(1, min(available, wanted))


@dataclass(eq=False, slots=True)
class Call:
    """A loop with its arguments."""

    loop: Loop
    layout: Layout
    tokens: Tensor | None
    tensors: Sequence[Tensor | None]
    """The arguments, in the order of `Loop.given`; the last is a state."""

    def forward(self) -> tuple[Tensor, list[Tensor]]:
        """The memory of a forward pass; its final states and other outputs."""
        loop, layout, like = self.loop, self.layout, self.tensors[-1]
        assert like is not None, "a cell has a state"
        memory = block_of(layout.size, like)
        results = [like.new_empty(shape) for shape in layout.results]
        table = layout.table(memory)
        self._point(table, loop.forward_slots, (*self.tensors, *results))
        layout.run(loop.forward, table, self.tokens)
        layout.keep(table, back=False)
        for k, width in loop.padded.items():
            results[k] = results[k][..., :width].contiguous()
        return memory, results

    def backward(
        self,
        memory: Tensor,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
        places: Sequence[Tensor | None] = (),
    ) -> list[Tensor | None]:
        """The gradients of the arguments of a forward pass, where they are wanted; those of weights
        and biases in `places`, where there are some."""
        loop, layout, like = self.loop, self.layout, self.tensors[-1]
        assert like is not None, "a cell has a state"
        back = block_of(layout.back_size, like)
        coming = [None if g is None else g.contiguous() for g in gradients]
        for k in loop.padded:
            given = coming[k]
            if given is not None:
                coming[k] = padded_to(given, layout.results[k][-1])
        places = places or [None] * len(wanted)
        results = [
            self._gradient(role, tensor, place)
            if tensor is not None and (want or role == "hoisted")
            else None
            for role, tensor, want, place in zip(
                loop.roles, self.tensors, wanted, places, strict=True
            )
        ]
        table = layout.table(memory, back)
        self._point(table, loop.backward_slots, (*self.tensors, *coming, *results))
        layout.run(loop.backward, table, self.tokens)
        layout.keep(table, back=True)
        for k, tensor in enumerate(self.tensors[: len(loop.plan.matrix_inputs)]):
            gradient = results[k]
            if gradient is not None and tensor is not None and gradient.shape != tensor.shape:
                results[k] = gradient[..., : tensor.shape[-1]]
        return results

    def _gradient(self, role: Role, tensor: Tensor, place: Tensor | None) -> Tensor:
        """A tensor for the gradient of an argument."""
        if place is not None and role in ("weight", "bias"):
            return place
        if role == "hoisted":  # written whether it is wanted or not, and not in every row
            return torch.zeros_like(tensor)
        if role == "input":  # written in whole vectors
            return tensor.new_empty((*tensor.shape[:-1], self.loop.plan.whole(tensor.shape[-1])))
        if self.layout.members == 1:
            return torch.empty_like(tensor)
        return tensor.new_empty(tensor.shape)  # empty_like keeps members apart where they are

    def _point(
        self, table: Table, slots: NDArray[np.int64], tensors: Sequence[Tensor | None]
    ) -> None:
        """Fill in the pointers to tensors, for each member."""
        try:
            first = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
        except RuntimeError:  # batched gradients: vectorize=True, is_grads_batched=True
            raise CellError(
                "backend c gives no gradients of many outputs at once, whose tensors have no "
                'memory of their own: take backend="eager".'
            ) from None
        members = self.layout.members
        if members == 1:  # the same in less time
            table.pointers[0, slots] = first
            return
        stride = [0 if t is None else t.stride(0) * t.element_size() for t in tensors]
        starts = np.array(first) + np.arange(members)[:, None] * np.array(stride)
        table.pointers[:, slots] = starts
