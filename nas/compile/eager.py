"""The eager backend: a Python loop over time around `EagerCell`, the oracle of all others."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens


def run_layer(
    layer: EagerCell,
    x: Tensor | Tokens,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
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
