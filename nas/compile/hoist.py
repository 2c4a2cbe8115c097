"""The part of a layer that depends on no state, computed outside of its time loop."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.cell.ops import FIXED
from nas.compile.plan import Plan
from nas.compile.reference import EagerCell, Operand
from nas.compile.stacked import Inputs, StackedCell, stacked, traced_aligned

SQUARE = ("block_diagonal", "masked", "skew", *FIXED)
"""Maps whose matrix is made of their weight, or of none."""


def padded(value: Tensor, width: int) -> Tensor:
    """`value` with zeros up to a width."""
    missing = width - value.shape[-1]
    return F.pad(value, (0, missing)) if missing else value


class Hoist:
    """Values that depend on no state, by torch, for all steps at once.

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
        return self._each(_Values.operand, i)

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
        layers, inputs = self.layer.alone(traced_aligned), self.inputs.alone(traced_aligned)
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
        return self.layer.row(self.value(i), i, self.x).contiguous()

    def rows_of(self, i: int) -> Tensor:
        return self._gathered(self.layer.row(self.value(i), i, self.x))

    def square(self, i: int) -> Tensor:
        n = self.plan.node(i)
        if n.op == "block_diagonal":
            blocks: Tensor = torch.block_diag(*self.layer.weight_at(i))
            return blocks
        return self.layer.square(i, n, self.x)

    def operand(self, i: int) -> Tensor:
        value = self.value(i)
        if i in self.plan.vectors:
            row = value if isinstance(value, Tensor) else self.x.new_tensor(value)
            row = row[0] if row.dim() == 2 else row  # a linear map of parameters has equal rows
            return padded(row.expand(self.plan.sizes[i]), self.plan.padded(i)).contiguous()
        whole = padded(self.layer.row(value, i, self.x), self.plan.padded(i))
        return self._gathered(whole).contiguous()

    def _gathered(self, value: Tensor) -> Tensor:
        tokens = self.inputs.tokens
        return value if tokens is None else F.embedding(tokens, value)
