"""One call of a loop over a sequence: its buffers, and the pointers that the C code is given."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nas.compile.buffers import Layout, layout_of
from nas.compile.emit import Source
from nas.compile.hoist import padded
from nas.compile.plan import Plan
from nas.compile.rows import Rows


@dataclass(frozen=True, eq=False)
class Loop:
    """A compiled plan."""

    plan: Plan
    source: Source
    forward: Any
    backward: Any


@functools.lru_cache(maxsize=256)
def learned(plan: Plan) -> tuple[int, ...]:
    """Nodes of the loop with a matrix or a vector."""
    return (*(t.node for stage in plan.stages for t in stage.targets), *plan.diagonals)


@functools.lru_cache(maxsize=256)
def biased(plan: Plan) -> tuple[int, ...]:
    """Nodes of the loop that may have a bias."""
    targets = [t.node for stage in plan.stages for t in stage.targets]
    return tuple(i for i in targets if plan.node(i).op == "linear")


class Call:
    """One run over a sequence, forward or, in the same memory, backward."""

    def __init__(
        self,
        loop: Loop,
        rows: Rows,
        reverse: bool,
        tokens: Tensor | None,
        tensors: Sequence[Tensor | None],
        memory: Tensor | None = None,
    ) -> None:
        self.loop, self.rows, self.reverse, self.tokens = loop, rows, reverse, tokens
        self.plan = plan = loop.plan
        self.names = [f"input {i}" for i in plan.matrix_inputs]
        self.names += [f"hoisted {i}" for i in plan.hoisted]
        self.names += [f"weight {i}" for i in learned(plan)]
        self.names += [f"bias of {i}" for i in biased(plan)]
        self.names += [f"start {p}" for p in range(1, len(plan.cell.states) + 1)]
        self.given = {
            name: None if tensor is None else tensor.detach().contiguous()
            for name, tensor in zip(self.names, tensors, strict=True)
        }
        like = self.given[self.names[-1]]
        assert like is not None, "a cell has a state"
        self.like = like
        first = self.given.get(f"input {plan.matrix_inputs[0]}") if plan.matrix_inputs else None
        self.n_inputs = 0 if first is None else first.shape[0]
        self.layout: Layout = layout_of(loop.plan, loop.source, rows, self.n_inputs)
        self.memory = like.new_empty(self.layout.size) if memory is None else memory
        self.table = self.layout.table(self.memory)
        for name, tensor in self.given.items():
            self._point(name, tensor)

    @property
    def n_states(self) -> int:
        return len(self.plan.cell.states)

    def buffer(self, name: str) -> Tensor:
        """A buffer of the forward pass, (rows, padded width)."""
        return self.layout.view(self.memory, name)

    def forward(self) -> tuple[Tensor, ...]:
        """The final states, and what else leaves the loop."""
        plan, rows, last = self.plan, self.rows, 0 if self.reverse else -1
        wholes = [self.like.new_empty(rows.total, plan.padded(i)) for _, i in self._leaving()]
        for (place, _), whole in zip(self._leaving(), wholes, strict=True):
            self._point(f"output {place}", whole)
        self._run(self.loop.forward)
        # Copies, not views of the memory: the caller may write into what he is given.
        finals = []
        for place in range(1, self.n_states + 1):
            history = self.buffer(f"state {place}").view(-1, rows.batch, plan.padded(place))
            finals.append(history[last][:, : plan.sizes[place]].clone())
        outputs = [
            whole if plan.sizes[i] == plan.padded(i) else whole[:, : plan.sizes[i]].contiguous()
            for (_, i), whole in zip(self._leaving(), wholes, strict=True)
        ]
        return (*finals, *outputs)

    def _leaving(self) -> list[tuple[int, int]]:
        """Places and nodes of the outputs that the loop computes."""
        return [
            (place, i)
            for place, i in enumerate(self.plan.outputs)
            if not 1 <= place <= self.n_states and i in self.plan.depth
        ]

    def _point(self, name: str, tensor: Tensor | None) -> None:
        place = self.loop.source.slots.get(name)
        if place is not None:
            self.table[place] = 0 if tensor is None else tensor.data_ptr()

    def _run(self, function: Any) -> None:
        counts, offsets = self.rows.arrays
        tokens = 0 if self.tokens is None else self.tokens.data_ptr()
        function(
            self.table.ctypes.data,
            len(self.rows.counts),
            self.rows.batch,
            counts.ctypes.data,
            offsets.ctypes.data,
            int(self.reverse),
            self.n_inputs,
            tokens,
        )

    def backward(self, gradients: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """Gradients by name; those of matrices, biases and inputs follow from the sums' later."""
        plan, layout = self.plan, self.layout
        self.back = self.like.new_empty(layout.back_size)
        layout.point_back(self.table, self.back)
        keep = []  # what C reads must live until it returns
        for place in range(1, self.n_states + 1):
            into = layout.back_view(self.back, f"grad state {place}")
            given = gradients[place - 1]
            if given is None:
                into.zero_()
            else:
                into.copy_(padded(given, plan.padded(place)))
        for (place, i), given in zip(self._leaving(), gradients[self.n_states :], strict=True):
            shape = (self.rows.total, plan.padded(i))
            whole = self.like.new_zeros(shape)
            if given is not None:
                whole = padded(given, plan.padded(i)).contiguous()
            keep.append(whole)
            self._point(f"grad output {place}", whole)
        sums = {}
        for name in layout.zeroed:
            read = self.given[name]
            assert read is not None
            kind, _, which = name.partition(" ")
            wide = [plan.padded(int(which))] if kind == "weight" else list(read.shape)
            sums[name] = read.new_zeros(wide)
            slot = "grad vector " + which if kind == "weight" else f"grad {name}"
            self._point(slot, sums[name])
        widest = max((plan.padded(i) for i in plan.depth), default=1)
        zeros = self.like.new_zeros(widest)
        self._point("zeros", zeros)
        self._run(self.loop.backward)
        found: dict[str, Tensor] = dict(sums)
        for i in plan.diagonals:
            found[f"weight {i}"] = found[f"weight {i}"][: plan.sizes[i]]
        for place in range(1, self.n_states + 1):
            initial = layout.back_view(self.back, f"grad initial {place}")
            found[f"start {place}"] = initial[:, : plan.sizes[place]]
        return found
