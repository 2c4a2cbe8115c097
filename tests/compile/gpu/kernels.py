"""Layers run by the kernels in Triton's interpreter beside the eager reference in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nas.cell import Cell
from nas.compile import eager
from nas.compile.gpu import run
from nas.compile.rows import LayerOutput, Rows, Tokens
from nas.compile.stacked import StackedCell
from tests.tensors import seeded
from tests.tolerances import KERNEL_32

DENSE, PACKED = (3, 3), (3, 2, 1)


@dataclass(frozen=True)
class Problem:
    """A stacked layer, and what it is run on."""

    cell: Cell
    input_size: int
    hidden_size: int
    counts: tuple[int, ...] = DENSE
    members: int = 2
    reverse: bool = False
    symbols: int = 0
    """Of a vocabulary whose embeddings are the input; 0 for an input of numbers."""

    def layer(self, dtype: torch.dtype) -> StackedCell:
        made = StackedCell(self.cell, self.input_size, self.hidden_size, self.members, dtype=dtype)
        generator = seeded(3)
        with torch.no_grad():
            for parameter in made.parameters():
                drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(0.5 * drawn)
        return made

    def drawn(self, dtype: torch.dtype) -> tuple[Tensor | Tokens, list[Tensor], list[Tensor]]:
        """The input, the states and the verticals, drawn alike in both precisions."""
        generator, rows, sizes = seeded(1), Rows(self.counts), self.layer(dtype).sizes

        def normal(*shape: int) -> Tensor:
            values = torch.randn((self.members, *shape), generator=generator, dtype=torch.float64)
            return values.to(dtype).requires_grad_()

        states = [normal(rows.batch, sizes[p]) for p in range(1, 1 + len(self.cell.states))]
        verticals = [normal(rows.total, self.hidden_size) for _ in self.cell.verticals]
        if not self.symbols:
            return normal(rows.total, self.input_size), states, verticals
        index = torch.randint(self.symbols, (rows.total,), generator=generator)
        return Tokens(normal(self.symbols, self.input_size), index), states, verticals

    def results(
        self, run_layer: Callable[..., LayerOutput], dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """All outputs and all gradients, by name."""
        layer, (x, states, verticals) = self.layer(dtype), self.drawn(dtype)
        y, finals, above = run_layer(layer, x, Rows(self.counts), states, verticals, self.reverse)
        outputs = [y, *finals, *above]
        generator = seeded(9)
        weights = [torch.randn(o.shape, generator=generator, dtype=torch.float64) for o in outputs]
        loss = sum(((o * w.to(dtype)).sum() for o, w in zip(outputs, weights, strict=True)))
        leaves = [x.table if isinstance(x, Tokens) else x, *states, *verticals]
        named = dict(layer.named_parameters())
        of: Sequence[Tensor] = [*leaves, *named.values()]
        found: Any = torch.autograd.grad(loss, of, allow_unused=True, materialize_grads=True)
        labels = ["x", *(f"start {p}" for p in range(len(states)))]
        labels += [*(f"vertical {p}" for p in range(len(verticals))), *named]
        gradients = {f"gradient of {n}": g for n, g in zip(labels, found, strict=True)}
        return {f"output {k}": o for k, o in enumerate(outputs)} | gradients

    def check(self) -> None:
        """Compare outputs and gradients; values are compared with the largest of their tensor."""
        ours = self.results(run.run_layer, torch.float32)
        theirs = self.results(eager.run_layer, torch.float64)
        eagerly = self.results(eager.run_layer, torch.float32)
        for name, expected in theirs.items():
            error = distance(ours[name], expected)
            allowed = KERNEL_32["factor"] * distance(eagerly[name], expected) + KERNEL_32["slack"]
            assert error <= allowed, f"{name} of {self.cell.name}: {error:.1e} > {allowed:.1e}"


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest value that is finite, or of 1."""
    assert found.shape == expected.shape
    expected = expected.detach()
    same = (found == expected) | (found.isnan() & expected.isnan())
    if bool(same.all()):
        return 0.0
    scale = max(1.0, float(expected[expected.isfinite()].abs().max()))
    apart = (found.detach().double() - expected).abs()[~same].max()
    return float(apart) / scale if not bool(apart.isnan()) else float("inf")
