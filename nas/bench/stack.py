"""K models of one cell, a layer each, with their input: what a device is measured with."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.bench.config import Shape
from nas.cell.cell import Cell
from nas.compile.backend import Backend
from nas.compile.layer import Layer, StackedLayer
from nas.compile.rows import Rows


@dataclass(frozen=True)
class Stack:
    """K models with weights of their own on inputs of their own; one model is a plain layer, as a
    user's module has it."""

    layer: Layer | StackedLayer
    x: Tensor
    """(steps, batch, width), or (members, rows of all steps, width)."""
    rows: Rows
    states: list[Tensor]
    below: list[Tensor]
    weight: Tensor
    """The gradient of y that a backward pass begins with, like y."""

    def run(self, backend: Backend) -> list[Tensor]:
        """y and the final states."""
        y, finals, _ = self.layer(
            self.x, self.rows, self.states, self.below, reverse=False, backend=backend
        )
        return [y, *finals]

    def gradients(self, y: Tensor) -> list[Tensor]:
        """Those of all weights of a cell that has some; y must have a history."""
        given = list(self.layer.parameters())
        return list(torch.autograd.grad(y, given, self.weight, allow_unused=True))


def make(
    cell: Cell, shape: Shape, members: int, device: str, dtype: torch.dtype, seed: int = 0
) -> Stack:
    """The same values, up to rounding, on every device and in every precision."""
    random, wide, hidden = torch.Generator().manual_seed(seed), torch.float64, shape.hidden
    stacked = StackedLayer(cell, hidden, hidden, members, dtype=wide)
    generators = [torch.Generator().manual_seed(1 + seed + k) for k in range(members)]
    stacked.reset_parameters([1.0] * members, generators)
    rows = Rows.equal(shape.steps, shape.batch)
    layer: Layer | StackedLayer = stacked
    leading: Sequence[int] = (members, rows.total)
    start: Sequence[int] = (members, shape.batch)
    if members == 1:
        layer = Layer(cell, hidden, hidden, dtype=wide)
        layer.load_state_dict(stacked.member_state(0))
        leading, start = (shape.steps, shape.batch), (1, shape.batch)

    def drawn(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=random, dtype=wide).to(device, dtype)

    states = [
        torch.full((*start, layer.sizes[1 + k]), state.initial, device=device, dtype=dtype)
        for k, state in enumerate(cell.states)
    ]
    x, weight = drawn(*leading, hidden), drawn(*leading, layer.sizes[cell.y])
    below = [drawn(*leading, hidden) for _ in cell.verticals]
    return Stack(layer.to(device, dtype), x, rows, states, below, weight / weight[0].numel())
