"""The part of a layer that depends on no state, computed outside of its time loop."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.cell.ops import FIXED
from nas.compile.emit.values import is_vector
from nas.compile.plan import Plan
from nas.compile.reference import EagerCell, Operand
from nas.compile.rows import Rows
from nas.compile.stacked import StackedCell

LINE = 64
"""Bytes of a cache line."""


def padded(value: Tensor, width: int) -> Tensor:
    """`value` with zeros up to a width."""
    missing = width - value.shape[-1]
    return F.pad(value, (0, missing)) if missing else value


class Hoist:
    """Values that depend on no state, by torch, for all steps at once.

    With `tokens`, (rows,), x is the table of their embeddings: values are computed for each symbol
    and gathered, exactly what computing them for each row gives, at the cost of the vocabulary.
    """

    def __init__(
        self,
        plan: Plan,
        layer: EagerCell,
        x: Tensor,
        tokens: Tensor | None,
        rows: Rows,
        verticals: Sequence[Tensor],
        reverse: bool,
    ) -> None:
        self.plan, self.layer, self.x, self.tokens = plan, layer, x, tokens
        self.values: dict[int, Operand] = {0: x}
        first = 1 + len(plan.cell.states)
        self.values |= dict(enumerate(verticals, start=first))
        self.rows, self.reverse = rows, reverse

    def value(self, i: int) -> Operand:
        if i not in self.values:
            n = self.plan.node(i)
            if n.op == "step":
                self.values[i] = self.rows.steps(self.x, self.reverse)
            else:
                args = [self.value(arg) for arg in self.plan.args(i)]
                self.values[i] = self.layer.value(i, n, args, self.x, 0)
        return self.values[i]

    def matrix_input(self, i: int) -> Tensor:
        """A value that a matrix multiplies, one row for every row of x."""
        return self.layer.row(self.value(i), i, self.x).contiguous()

    def _gathered(self, value: Tensor) -> Tensor:
        return value if self.tokens is None else F.embedding(self.tokens, value)

    def rows_of(self, i: int) -> Tensor:
        """A value with one row for every row of the sequence."""
        return self._gathered(self.layer.row(self.value(i), i, self.x))

    def weight(self, i: int) -> Tensor:
        """The matrix of a map as (width, sum of its arguments' widths), or a learned vector."""
        n = self.plan.node(i)
        if n.op == "block_diagonal":
            blocks: Tensor = torch.block_diag(*self.layer.weight_at(i))
            return blocks
        if n.op in ("masked", "skew", *FIXED):
            return self.layer.square(i, n, self.x)
        return self.layer.weight_at(i)

    def operand(self, i: int) -> Tensor:
        """A value as the loop reads it: padded, and a single row if it is the same for all."""
        value = self.value(i)
        if is_vector(self.plan, i):
            row = value if isinstance(value, Tensor) else self.x.new_tensor(value)
            row = row[0] if row.dim() == 2 else row  # a linear map of parameters has equal rows
            return padded(row.expand(self.plan.sizes[i]), self.plan.padded(i)).contiguous()
        whole = padded(self.layer.row(value, i, self.x), self.plan.padded(i))
        return self._gathered(whole).contiguous()


class _Aligned(torch.autograd.Function):
    """The same tensor at the start of a cache line, and its gradient too.

    Libraries round products otherwise where memory is otherwise aligned, as one member's part of a
    stacked tensor may be.
    """

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor) if tensor.data_ptr() % LINE == 0 else tensor.clone()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient if gradient.data_ptr() % LINE == 0 else gradient.clone()


def traced_aligned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy at the start of a cache line; its gradient likewise."""
    function: Any = _Aligned  # torch declares no types of `apply`
    aligned: Tensor = function.apply(tensor)
    return aligned


def stacked(parts: Iterable[Tensor]) -> Tensor:
    """What members give, as one tensor that goes back to each as if it were alone."""
    return torch.stack([traced_aligned(part) for part in parts])


class StackedHoist:
    """`Hoist` for members; with a leading member dimension everywhere.

    Each member is computed by itself, so that it gives what it gives alone.
    """

    def __init__(
        self,
        plan: Plan,
        layer: StackedCell,
        x: Tensor,
        tokens: Tensor | None,
        rows: Rows,
        verticals: Sequence[Tensor],
        reverse: bool,
    ) -> None:
        self.plan, self.layer, self.x = plan, layer, x
        self.rest = (tokens, rows, reverse)
        self.verticals = verticals

    @functools.cached_property
    def members(self) -> list[Hoist]:
        tokens, rows, reverse = self.rest
        verticals = [[traced_aligned(v) for v in one.unbind()] for one in self.verticals]
        inputs = [traced_aligned(x) for x in self.x.unbind()]
        layers = self.layer.alone(traced_aligned)
        return [
            Hoist(self.plan, one, x, tokens, rows, [v[k] for v in verticals], reverse)
            for k, (one, x) in enumerate(zip(layers, inputs, strict=True))
        ]

    def matrix_input(self, i: int) -> Tensor:
        return self.x if i == 0 else stacked(m.matrix_input(i) for m in self.members)

    def rows_of(self, i: int) -> Tensor:
        return stacked(member.rows_of(i) for member in self.members)

    def weight(self, i: int) -> Tensor:
        if self.plan.node(i).op in ("block_diagonal", "masked", "skew", *FIXED):
            return stacked(member.weight(i) for member in self.members)
        return self.layer.weight_at(i)

    def operand(self, i: int) -> Tensor:
        return stacked(member.operand(i) for member in self.members)
