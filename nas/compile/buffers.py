"""Where the buffers of a loop lie: one block of memory each way, cut the same for equal shapes."""

import functools
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.compile.emit import Source
from nas.compile.plan import Plan
from nas.compile.rows import Rows

ALIGNED = 16
"""Values; a buffer begins at a multiple, so that rows of whole vectors stay on cache lines."""


@dataclass
class Block:
    """Names cut out of one tensor."""

    place: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """(first value, rows, width)."""
    size: int = 0

    def add(self, name: str, rows: int, width: int) -> None:
        self.place[name] = (self.size, rows, width)
        self.size += -(-rows * width // ALIGNED) * ALIGNED

    def view(self, memory: Tensor, name: str) -> Tensor:
        first, rows, width = self.place[name]
        return memory[first : first + rows * width].view(rows, width)


@dataclass(frozen=True, eq=False)
class Layout:
    """The buffers of a plan for a shape of batch."""

    forward: Block
    backward: Block
    slots: dict[str, int]
    zeroed: tuple[str, ...]
    """What the backward pass adds to, by the name of what it is the gradient of."""

    @property
    def size(self) -> int:
        return self.forward.size

    @property
    def back_size(self) -> int:
        return self.backward.size

    def view(self, memory: Tensor, name: str) -> Tensor:
        return self.forward.view(memory, name)

    def back_view(self, memory: Tensor, name: str) -> Tensor:
        return self.backward.view(memory, name)

    @functools.cached_property
    def _forward(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._places(self.forward)

    @functools.cached_property
    def _backward(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._places(self.backward)

    def _places(self, block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = [(self.slots[n], at) for n, (at, _, _) in block.place.items() if n in self.slots]
        slots, first = zip(*found, strict=True) if found else ((), ())
        return np.array(slots, dtype=np.int64), np.array(first, dtype=np.int64)

    def table(self, memory: Tensor) -> NDArray[np.int64]:
        """The table of pointers, with those into the forward block filled in."""
        table = np.zeros(max(1, len(self.slots)), dtype=np.int64)
        slots, first = self._forward
        table[slots] = memory.data_ptr() + first * memory.element_size()
        return table

    def point_back(self, table: NDArray[np.int64], memory: Tensor) -> None:
        """Fill in the pointers into the backward block."""
        slots, first = self._backward
        table[slots] = memory.data_ptr() + first * memory.element_size()


@functools.lru_cache(maxsize=512)
def layout_of(plan: Plan, source: Source, rows: Rows, n_inputs: int) -> Layout:
    """Cut the memory for a plan, a batch and a number of rows (or symbols) of input."""
    forward, backward = Block(), Block()
    steps, batch, total = len(rows.counts), rows.batch, rows.total
    states = range(1, len(plan.cell.states) + 1)
    for s, stage in enumerate(plan.stages):
        forward.add(f"bias {s}", 1, stage.columns)
        forward.add(f"base {s}", n_inputs if stage.inputs else 0, stage.columns)
        forward.add(f"sums {s}", total if s in source.kept_stages else batch, stage.columns)
        backward.add(f"grad sums {s}", total, stage.columns)
        for q, product in enumerate(stage.inputs):
            forward.add(f"panels in {s} {q}", plan.sizes[product.arg], product.count)
        for q, product in enumerate(stage.products):
            forward.add(f"panels {s} {q}", plan.sizes[product.arg], product.count)
            backward.add(f"panels back {s} {q}", plan.padded(product.arg), product.count)
    for i in plan.diagonals:
        forward.add(f"vector {i}", 1, plan.padded(i))
    for p in states:
        width = plan.padded(p)
        forward.add(f"state {p}", (steps + 1) * batch, width)
        for name in (f"grad state {p}", f"grad state {p} too", f"grad initial {p}"):
            backward.add(name, batch, width)
    for name in source.slots:
        kind, _, which = name.rpartition(" ")
        if kind == "value":
            forward.add(name, total, plan.padded(int(which)))
        elif kind == "grad value":
            backward.add(name, batch, plan.padded(int(which)))
    zeroed = [f"hoisted {i}" for i in plan.hoisted if f"grad hoisted {i}" in source.slots]
    zeroed += [f"weight {i}" for i in plan.diagonals]
    return Layout(forward, backward, source.slots, tuple(zeroed))


def gather_rows(history: Tensor, rows: Rows) -> Tensor:
    """The active rows of (steps, batch, width), step after step."""
    if rows.dense:
        return history.flatten(0, 1)
    parts = [step[:count] for step, count in zip(history, rows.counts, strict=True)]
    return torch.cat(parts)
