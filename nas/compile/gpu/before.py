"""What torch computes before the loop of a kernel: products of the input, hoisted values, and the
weights as the kernels read them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.compile.gpu.layout import Group, Layout, whole
from nas.compile.hoist import Hoist, padded
from nas.compile.reference import EagerCell
from nas.compile.stacked import Inputs, StackedCell


class Before(NamedTuple):
    """The tensors of a call, each with members first; all lead back to parameters and inputs."""

    bases: list[Tensor]
    """For each group of maps, its products of hoisted values: (members, rows, columns)."""
    rows: list[Tensor]
    """Hoisted values in whole blocks: (members, rows, columns)."""
    vectors: Tensor
    """(members, width of all vectors)."""
    weights: Tensor
    """(members, entries of all matrices)."""
    outside: list[Tensor]
    """Outputs that depend on no state: (members, rows, width)."""


def before(layout: Layout, layer: EagerCell | StackedCell, inputs: Inputs) -> Before:
    """The tensors of a call, computed for all members at once."""
    if isinstance(layer, EagerCell):
        bases, rows, vectors, weights, outside = _of_one(layout, layer, inputs)
        return Before(
            [t.unsqueeze(0) for t in bases],
            [t.unsqueeze(0) for t in rows],
            vectors.unsqueeze(0),
            weights.unsqueeze(0),
            [t.unsqueeze(0) for t in outside],
        )

    def of_member(
        parameters: dict[str, Tensor], x: Tensor, verticals: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor, list[Tensor]]:
        part = inputs._replace(x=x, verticals=verticals)
        return _of_one(layout, layer.member(parameters), part)

    parameters: dict[str, Tensor] = {**dict(layer.named_parameters())}
    return Before(*torch.vmap(of_member)(parameters, inputs.x, list(inputs.verticals)))


def _of_one(
    layout: Layout, layer: EagerCell, inputs: Inputs
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor, list[Tensor]]:
    plan, hoist = layout.plan, Hoist(layout.plan, layer, inputs)
    own = [
        layer.weight_at(i) if i in plan.diagonals else _bias(layer, hoist, i) for i in layout.own
    ]
    vectors = [*(hoist.operand(i) for i in layout.vectors), *own]
    weights = [_part(layout, hoist, node, [arg]).flatten() for node, arg in layout.matrices]
    outside = [
        hoist.rows_of(i)
        for place, i in enumerate(plan.outputs)
        if place not in plan.state_places and i not in plan.depth
    ]
    return (
        [_base(layout, layer, hoist, group) for group in layout.groups],
        [padded(hoist.operand(i), layout.columns(i)) for i in layout.rows],
        torch.cat(vectors) if vectors else inputs.x.new_empty(0),
        torch.cat(weights) if weights else inputs.x.new_empty(0),
        outside,
    )


def _base(layout: Layout, layer: EagerCell, hoist: Hoist, group: Group) -> Tensor:
    """The products of a group's hoisted values, with biases, as one product."""
    args = list(dict.fromkeys(group.args))
    values = [hoist.matrix_input(arg) for arg in args]
    weights, biases = [], []
    for target in group.targets:
        missing = whole(target.width) - target.width
        weights.append(F.pad(_part(layout, hoist, target.node, args), (0, 0, 0, missing)))
        biases.append(F.pad(_bias(layer, hoist, target.node), (0, missing)))
    weight, bias = torch.cat(weights), torch.cat(biases)
    base = F.linear(torch.cat(values, -1) if len(values) > 1 else values[0], weight, bias)
    tokens = hoist.inputs.tokens
    return base if tokens is None else F.embedding(tokens, base)


def _bias(layer: EagerCell, hoist: Hoist, i: int) -> Tensor:
    bias = layer.bias_of(i)
    return hoist.weight(i).new_zeros(hoist.plan.sizes[i]) if bias is None else bias


def _part(layout: Layout, hoist: Hoist, i: int, args: Sequence[int]) -> Tensor:
    """The columns of a map's matrix that multiply some values, side by side; those of a value that
    it reads more than once are summed."""
    plan, weight = layout.plan, hoist.weight(i)
    parts = []
    for arg in args:
        firsts = [
            plan.columns_before(i, place) for place, of in enumerate(plan.args(i)) if of == arg
        ]
        columns = [weight[:, first : first + plan.sizes[arg]] for first in firsts]
        total = columns[0]
        for column in columns[1:]:
            total = total + column
        parts.append(total)
    return torch.cat(parts, -1) if len(parts) > 1 else parts[0]
