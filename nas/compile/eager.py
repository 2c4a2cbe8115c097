"""The eager backend: a Python loop over time around `EagerCell`, the oracle of all others."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens, TracedRows
from nas.compile.stacked import Inputs, StackedCell, aligned, parts_of


def run_layer(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    rows: Rows | TracedRows,
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
    inputs = Inputs(x, None, rows.concrete(), verticals, reverse)
    if isinstance(layer, EagerCell):
        return _run(layer, inputs, states)
    if x.device.type == "cpu":
        return _in_turn(layer, inputs, states)
    return run_at_once(layer.template, dict(layer.named_parameters()), inputs, states)


def run_alone(
    layer: EagerCell, parameters: Mapping[str, Tensor], inputs: Inputs, states: Sequence[Tensor]
) -> LayerOutput:
    """All steps of a layer that has these tensors as its parameters."""
    return _run(layer.with_parameters(parameters), inputs, states)


def run_at_once(
    template: EagerCell, parameters: Mapping[str, Tensor], inputs: Inputs, states: Sequence[Tensor]
) -> LayerOutput:
    """All steps of all members of a stacked layer, whose parameters these are, in one operation
    each."""

    def run_member(
        parameters: dict[str, Tensor], x: Tensor, verticals: list[Tensor], states: list[Tensor]
    ) -> LayerOutput:
        part = inputs._replace(x=x, verticals=verticals)
        return _run(template.with_parameters(parameters), part, states)

    own, verticals = dict(parameters), list(inputs.verticals)
    result: LayerOutput = torch.vmap(run_member)(own, inputs.x, verticals, list(states))
    return result


def _run(layer: EagerCell, inputs: Inputs, states: Sequence[Tensor]) -> LayerOutput:
    x, _, rows, verticals, reverse = inputs
    assert isinstance(rows, Rows), "the loop over steps needs numbers"
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
        y, new, up = layer.step(steps[t], active, [vertical[t] for vertical in below], clock[t])
        if n < rows.batch:
            new = [torch.cat([s, old[n:]]) for s, old in zip(new, current, strict=True)]
        current = new
        outputs[t] = y
        for values, value in zip(above, up, strict=True):
            values[t] = value
    return torch.cat(outputs), current, [torch.cat(values) for values in above]


def _in_turn(layer: StackedCell, inputs: Inputs, states: Sequence[Tensor]) -> LayerOutput:
    starts = parts_of(states, layer.members, _apart)
    members = zip(layer.alone(_apart), inputs.alone(_apart), starts, strict=True)
    y, finals, above = zip(*(_run(*member) for member in members), strict=True)
    return torch.stack(y), _stacked(finals), _stacked(above)


def _apart(tensor: Tensor) -> list[Tensor]:
    """The members' parts, unbound: the gradient of `x[k]` would be zeros for all other members."""
    return [aligned(part) for part in tensor.unbind()]


def _stacked(members: Sequence[list[Tensor]]) -> list[Tensor]:
    return [torch.stack(tensors) for tensors in zip(*members, strict=True)]
