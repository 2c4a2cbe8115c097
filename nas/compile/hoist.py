"""What a layer computes outside of its time loop; its plan says what that is."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.compile.plan import SQUARE, Plan
from nas.compile.reference import EagerCell, Operand
from nas.compile.stacked import Inputs, StackedCell, aligned, stacked, taken_apart


def padded(value: Tensor, width: int) -> Tensor:
    """`value` with zeros up to a width."""
    missing = width - value.shape[-1]
    return F.pad(value, (0, missing)) if missing else value


class Hoist:
    """Values that the plan hoists, by torch, for all steps at once.

    With tokens, values are computed for each symbol and gathered. They equal those computed for
    each row, at the cost of the vocabulary. Each member is computed by itself, so that it gives
    what it gives alone.
    """

    def __init__(self, plan: Plan, layer: EagerCell | StackedCell, inputs: Inputs) -> None:
        self.plan, self.layer, self.inputs = plan, layer, inputs
        self._alone = _Values(plan, layer, inputs) if isinstance(layer, EagerCell) else None

    def matrix_input(self, i: int) -> Tensor:
        """A value that a matrix multiplies, one row for every row of x."""
        return self.inputs.x if i == 0 else self._each(_Values.matrix_input, i)

    def operand(self, i: int) -> Tensor:
        """A value as the loop reads it: padded, and a single row if it is the same for all."""
        if self._alone is not None or i in self.plan.vectors:
            return self._each(_Values.operand, i)
        function: Any = _Operands  # torch declares no types of `apply`
        values = [member.row(i) for member in self._members]
        result: Tensor = function.apply(self.inputs.tokens, self.plan.padded(i), *values)
        return result

    def rows_of(self, i: int) -> Tensor:
        """A value with one row for every row of the sequence."""
        return self._each(_Values.rows_of, i)

    def weight(self, i: int) -> Tensor:
        """The matrix of a map as (width, sum of its arguments' widths), or a learned vector."""
        if self.plan.node(i).op in SQUARE:
            return self._each(_Values.square, i)
        return self.layer.weight_at(i)

    def _each(self, compute: "Callable[[_Values, int], Tensor]", i: int) -> Tensor:
        if self._alone is not None:
            return compute(self._alone, i)
        return stacked(compute(member, i) for member in self._members)

    @functools.cached_property
    def _members(self) -> "list[_Values]":
        assert isinstance(self.layer, StackedCell)
        layers = self.layer.alone(taken_apart, self.plan.outside)
        inputs = self.inputs.alone(taken_apart)
        return [_Values(self.plan, *member) for member in zip(layers, inputs, strict=True)]


class _Values:
    """The hoisted values of one layer, each computed once."""

    def __init__(self, plan: Plan, layer: EagerCell, inputs: Inputs) -> None:
        self.plan, self.layer, self.inputs, self.x = plan, layer, inputs, inputs.x
        self.values: dict[int, Operand] = {0: inputs.x}
        self.values.update(enumerate(inputs.verticals, start=1 + len(plan.cell.states)))

    def value(self, i: int) -> Operand:
        if i not in self.values:
            n = self.plan.node(i)
            if n.op == "step":
                self.values[i] = self.inputs.rows.steps(self.x, self.inputs.reverse)
            else:
                args = [self.value(arg) for arg in self.plan.args(i)]
                self.values[i] = self.layer.value(i, n, args, self.x, 0)
        return self.values[i]

    def matrix_input(self, i: int) -> Tensor:
        return self.row(i).contiguous()

    def rows_of(self, i: int) -> Tensor:
        return self._gathered(self.row(i))

    def row(self, i: int) -> Tensor:
        """A value with one row for every row of x, or symbol of its table."""
        return self.layer.row(self.value(i), i, self.x)

    def square(self, i: int) -> Tensor:
        n = self.plan.node(i)
        if n.op == "block_diagonal":
            blocks: Tensor = torch.block_diag(*self.layer.weight_at(i))
            return blocks
        return self.layer.square(i, n, self.x)

    def operand(self, i: int) -> Tensor:
        if i in self.plan.vectors:
            value = self.value(i)
            row = value if isinstance(value, Tensor) else self.x.new_tensor(value)
            row = row[0] if row.dim() == 2 else row  # a linear map of parameters has equal rows
            return padded(row.expand(self.plan.sizes[i]), self.plan.padded(i)).contiguous()
        whole = padded(self.row(i), self.plan.padded(i))
        return self._gathered(whole).contiguous()

    def _gathered(self, value: Tensor) -> Tensor:
        tokens = self.inputs.tokens
        return value if tokens is None else F.embedding(tokens, value)


class _Operands(torch.autograd.Function):
    """The members' values as the loop reads them, in one tensor: `_Values.operand` of each, with
    the gradient that each has alone."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor | None, width: int, *values: Tensor) -> Tensor:
        n_rows, own = values[0].shape
        ctx.shape = n_rows, own
        ctx.save_for_backward(tokens)
        every = n_rows if tokens is None else len(tokens)
        result = values[0].new_zeros((len(values), every, width))
        for place, value in zip(result[..., :own].unbind(), values, strict=True):
            place.copy_(value if tokens is None else value.index_select(0, tokens))
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        n_rows, own = ctx.shape
        (tokens,) = ctx.saved_tensors
        parts = gradient[..., :own].unbind()
        if tokens is None:
            return (None, None, *(aligned(part.contiguous()) for part in parts))
        back = torch.ops.aten.embedding_dense_backward
        return (None, None, *(back(part.contiguous(), tokens, n_rows, -1, False) for part in parts))
