"""The eager backend: a Python loop over time around `EagerCell`, the oracle of all others."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens
from nas.compile.stacked import StackedCell

Layer = tuple[Tensor, list[Tensor], list[Tensor]]

LINE_BYTES = 64
"""A line of memory, as wide as the widest vectors of a CPU."""


def aligned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy that begins a line of memory, as a member does that is alone.

    The library's matrix products round differently where their operands lie differently.
    """
    return tensor if is_aligned(tensor) else tensor.clone()


def is_aligned(tensor: Tensor) -> bool:
    """Whether the tensor begins a line of memory."""
    return tensor.data_ptr() % LINE_BYTES == 0


def run_layer(
    layer: EagerCell,
    x: Tensor | Tokens,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> Layer:
    """All steps of a layer: x (rows of all steps, width), states (batch, width).

    Sequences that are not there at a step keep their states. Returns y and the new verticals like
    x, and the final states.
    """
    x = x.rows() if isinstance(x, Tokens) else x
    steps = torch.split(x, list(rows.counts))
    below = [torch.split(vertical, list(rows.counts)) for vertical in verticals]
    clock: Sequence[Tensor | int] = range(len(steps))
    if any(n.op == "step" for n in layer.cell.nodes):
        clock = torch.split(rows.steps(x, reverse), list(rows.counts))
    outputs: list[Tensor] = [x] * len(steps)
    above: list[list[Tensor]] = [[x] * len(steps) for _ in verticals]
    current = list(states)
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        n = rows.counts[t]
        active = current if n == rows.batch else [state[:n] for state in current]
        y, new, up = layer(steps[t], active, [vertical[t] for vertical in below], clock[t])
        if n < rows.batch:
            new = [torch.cat([s, old[n:]]) for s, old in zip(new, current, strict=True)]
        current = new
        outputs[t] = y
        for values, value in zip(above, up, strict=True):
            values[t] = value
    return torch.cat(outputs), current, [torch.cat(values) for values in above]


def run_members(
    layer: StackedCell,
    x: Tensor | Tokens,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> Layer:
    """`run_layer` for K members, with a leading member dimension everywhere.

    x is (K, rows of all steps, width), or `Tokens` with a table (K, vocabulary, width) and an
    index that members share. On the CPU members run in turn, so that what a member gives does not
    depend, by a single bit, on the others; elsewhere one operation computes all of them.
    """
    x = x.table.index_select(1, x.index) if isinstance(x, Tokens) else x
    run = _in_turn if x.device.type == "cpu" else _at_once
    return run(layer, x, rows, list(states), list(verticals), reverse)


def _in_turn(
    layer: StackedCell,
    x: Tensor,
    rows: Rows,
    states: list[Tensor],
    verticals: list[Tensor],
    reverse: bool,
) -> Layer:
    one, members = _function(layer, rows, reverse), layer.members
    # Unbound, since the gradient of `x[k]` would be zeros for all other members.
    parts = zip(
        _members(list(layer.parameters()), members),
        map(aligned, x.unbind()),
        _members(states, members),
        _members(verticals, members),
        strict=True,
    )
    y, finals, above = zip(*(one(*part) for part in parts), strict=True)
    return torch.stack(y), _stacked(finals), _stacked(above)


def _at_once(
    layer: StackedCell,
    x: Tensor,
    rows: Rows,
    states: list[Tensor],
    verticals: list[Tensor],
    reverse: bool,
) -> Layer:
    one = torch.vmap(_function(layer, rows, reverse))
    result: Layer = one(list(layer.parameters()), x, states, verticals)
    return result


def _function(layer: StackedCell, rows: Rows, reverse: bool) -> Callable[..., Layer]:
    """One member's run as a function of its parameters, x, states and verticals."""
    names = [f"layer.{name}" for name, _ in layer.named_parameters()]
    template = _Loop(layer.template)

    def one(
        parameters: Sequence[Tensor], x: Tensor, states: list[Tensor], verticals: list[Tensor]
    ) -> Layer:
        named = dict(zip(names, parameters, strict=True))
        arguments = (x, rows, states, verticals, reverse)
        result: Layer = torch.func.functional_call(template, named, arguments)
        return result

    return one


class _Loop(nn.Module):
    """`run_layer` as a module, so that a function of its parameters can be made of it."""

    def __init__(self, layer: EagerCell) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, x: Tensor, rows: Rows, states: list[Tensor], verticals: list[Tensor], reverse: bool
    ) -> Layer:
        return run_layer(self.layer, x, rows, states, verticals, reverse)


def _members(tensors: Sequence[Tensor], members: int) -> list[list[Tensor]]:
    """Each member's part of each tensor."""
    unbound = [tensor.unbind() for tensor in tensors]
    return [[aligned(parts[k]) for parts in unbound] for k in range(members)]


def _stacked(members: Sequence[list[Tensor]]) -> list[Tensor]:
    return [torch.stack(tensors) for tensors in zip(*members, strict=True)]
