"""The least and the largest value of every node, as a network in float64 reads example data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nas.compile.reference import Operand
from nas.export.c.depends import clocks
from nas.export.c.network import Network, Running

LATE, LATE_STEPS = (1000, 10_007, 1_000_000), 8
"""Steps at which a cell that reads the index of the step is looked at, too, and how many then."""
GROWN = 16
"""A value that is so many times as large at a late step grows without end."""
RANDOM_STEPS, RANDOM_SEQUENCES = 64, 32
"""Of the random inputs that stand for data where there are none."""


@dataclass
class Ranges:
    """The least and the largest value by layer and node."""

    found: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)

    def see(self, layer: int, node: int, value: Operand) -> None:
        """Widen the range of a node; what is not a number widens it without end."""
        if isinstance(value, Tensor):
            low, high = (float(extreme) for extreme in torch.aminmax(value.detach()))
        else:
            low = high = value
        if not (np.isfinite(low) and np.isfinite(high)):
            low, high = -np.inf, np.inf
        before = self.found.get((layer, node), (low, high))
        self.found[layer, node] = min(before[0], low), max(before[1], high)


def ranges_of(network: Network, pieces: Iterable[tuple[Tensor, bool]]) -> Ranges:
    """Read pieces of sequences, (time, batch, …), each with whether states begin anew at it."""
    ranges, running = Ranges(), None
    for inputs, is_fresh in pieces:
        if running is None or is_fresh or running.batch != inputs.shape[1]:
            running = Running(network, inputs.shape[1], ranges.see)
        running.read(inputs)
    if running is not None and clocks(network.cell):
        _look_ahead(ranges, running, inputs[-LATE_STEPS:])
    return ranges


def _look_ahead(ranges: Ranges, running: Running, inputs: Tensor) -> None:
    """Read some steps again as late ones of a sequence; what has grown by then has no end."""
    late = Ranges()
    running.seen = late.see
    for running.step in LATE:
        running.read(inputs)
    for place, (low, high) in late.found.items():
        before = ranges.found[place]
        largest = max(map(abs, before))
        if max(abs(low), abs(high)) > GROWN * largest:
            low, high = -np.inf, np.inf
        ranges.found[place] = min(low, before[0]), max(high, before[1])


def random_inputs(
    network: Network, seed: int = 0, n_steps: int = RANDOM_STEPS, batch: int = RANDOM_SEQUENCES
) -> Tensor:
    """Normal features, or symbols that are all equally likely: (time, batch, …)."""
    random = np.random.default_rng([seed, n_steps])
    if network.tokens:
        return torch.from_numpy(random.integers(network.n_inputs, size=(n_steps, batch)))
    return torch.from_numpy(random.normal(size=(n_steps, batch, network.n_inputs)))


def random_pieces(network: Network) -> Sequence[tuple[Tensor, bool]]:
    """Random inputs as one piece."""
    return [(random_inputs(network), True)]
