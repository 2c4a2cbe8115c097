"""The part of a layer that depends on no state, computed outside of its time loop."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.compile.emit import is_vector
from nas.compile.plan import Plan, Stage, Target
from nas.compile.reference import EagerCell, Operand, block_mask
from nas.compile.rows import Rows


def padded(value: Tensor, width: int) -> Tensor:
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

    def _of_each(self, i: int) -> Tensor:
        """A value with one row for every row of x."""
        return self.layer.row(self.value(i), i, self.x)

    def _gathered(self, value: Tensor) -> Tensor:
        return value if self.tokens is None else F.embedding(self.tokens, value)

    def rows_of(self, i: int) -> Tensor:
        """A value with one row for every row of the sequence."""
        return self._gathered(self._of_each(i))

    def operand(self, i: int) -> Tensor:
        value = self.value(i)
        if is_vector(self.plan, i):
            width = self.plan.sizes[i]
            row = value if isinstance(value, Tensor) else self.x.new_tensor(value)
            return padded(row.expand(width), self.plan.padded(i)).contiguous()
        return self._gathered(padded(self._of_each(i), self.plan.padded(i))).contiguous()

    def _weight(self, i: int) -> Tensor:
        """A linear map's matrix (width, sum of its arguments' widths)."""
        n, label = self.plan.node(i), self.layer.labels[i]
        weight = self.layer.get_parameter(f"{label}_weight")
        if n.op == "block_diagonal":
            blocks: Tensor = torch.block_diag(*weight)  # type: ignore[no-untyped-call]
            return blocks
        return weight * block_mask(n, weight) if n.op == "masked" else weight

    def _part(self, i: int, wanted: Sequence[int]) -> list[Tensor]:
        """The columns of a map's matrix for each of the arguments at the given positions."""
        weight, args = self._weight(i), self.plan.node(i).args
        parts = torch.split(weight, [self.plan.sizes[arg] for arg in args], dim=1)
        return [parts[position] for position in wanted]

    def matrix(self, arg: int, targets: Sequence[Target]) -> Tensor:
        """The matrix of one product of the loop, (width of arg, padded columns of the targets)."""
        columns = []
        for target in targets:
            places = [k for k, a in enumerate(self.plan.args(target.node)) if a == arg]
            parts = self._part(target.node, places)
            weight = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
            missing = target.padded - target.width
            columns.append(F.pad(weight, (0, 0, 0, missing)) if missing else weight)
        return (torch.cat(columns) if len(columns) > 1 else columns[0]).t().contiguous()

    def base(self, stage: Stage) -> Tensor:
        """What the sums of a stage start from: (rows, columns), or (columns,) without an input."""
        parts, last = list[Tensor](), list[Target]()
        for target in stage.targets:
            if last and self._hoisted_args(target) != self._hoisted_args(last[-1]):
                parts.append(self._base_of(last))
                last = []
            last.append(target)
        parts.append(self._base_of(last))
        if any(part.dim() == 2 for part in parts):
            parts = [part.expand(self.x.shape[0], -1) for part in parts]
        whole = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
        return self._gathered(whole).contiguous() if whole.dim() == 2 else whole

    def _hoisted_args(self, target: Target) -> tuple[int, ...]:
        return tuple(arg for arg in self.plan.args(target.node) if arg not in self.plan.depth)

    def _base_of(self, targets: Sequence[Target]) -> Tensor:
        """The hoisted part of neighbouring maps that read the same: one product for all of them."""
        args = self._hoisted_args(targets[0])
        biases = torch.cat([self._bias(target) for target in targets])
        if not args:
            return biases
        weights = []
        for target in targets:
            wanted = [
                k for k, a in enumerate(self.plan.args(target.node)) if a not in self.plan.depth
            ]
            weight = torch.cat(self._part(target.node, wanted), 1)
            missing = target.padded - target.width
            weights.append(F.pad(weight, (0, 0, 0, missing)) if missing else weight)
        read = [self._of_each(arg) for arg in args]
        inputs = torch.cat(read, -1) if len(read) > 1 else read[0]
        return F.linear(inputs, torch.cat(weights), biases)

    def _bias(self, target: Target) -> Tensor:
        label = self.layer.labels[target.node]
        bias = dict(self.layer.named_parameters(recurse=False)).get(f"{label}_bias")
        if bias is None:
            return self.x.new_zeros(target.padded)
        return padded(bias, target.padded)
