"""The eager backend: a Python loop over time around `EagerCell`, the oracle of all others."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens
from nas.compile.stacked import StackedCell, aligned, parts_of


def run_layer(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
    """All steps of a layer: x (rows of all steps, width), states (batch, width).

    Sequences that have ended at a step keep their states. Returns y, the final states, and the new
    verticals, which are like x.

    A stacked layer has a leading member dimension everywhere; members share the index of `Tokens`.
    On the CPU they run in turn, so that what a member gives does not depend, by a single bit, on
    the others; elsewhere one operation computes all of them.
    """
    x = x.rows() if isinstance(x, Tokens) else x
    if isinstance(layer, EagerCell):
        return _run(layer, x, rows, states, verticals, reverse)
    run = _in_turn if x.device.type == "cpu" else _at_once
    return run(layer, x, rows, states, verticals, reverse)


def _run(
    layer: EagerCell,
    x: Tensor,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
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


def _in_turn(
    layer: StackedCell,
    x: Tensor,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
    parts = zip(
        layer.alone(aligned),
        map(aligned, x.unbind()),
        parts_of(states, layer.members, aligned),
        parts_of(verticals, layer.members, aligned),
        strict=True,
    )
    results = [_run(member, x, rows, start, below, reverse) for member, x, start, below in parts]
    y, finals, above = zip(*results, strict=True)
    return torch.stack(y), _stacked(finals), _stacked(above)


def _at_once(
    layer: StackedCell,
    x: Tensor,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
    def run_member(
        parameters: dict[str, Tensor], x: Tensor, states: list[Tensor], verticals: list[Tensor]
    ) -> LayerOutput:
        return _run(layer.member(parameters), x, rows, states, verticals, reverse)

    parameters: dict[str, Tensor] = dict(layer.named_parameters())
    result: LayerOutput = torch.vmap(run_member)(parameters, x, list(states), list(verticals))
    return result


def _stacked(members: Sequence[list[Tensor]]) -> list[Tensor]:
    return [torch.stack(tensors) for tensors in zip(*members, strict=True)]
