"""Whether a device computes what the CPU does: forward, backward, and a short training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.bench.config import Shape
from nas.bench.stack import Stack, make
from nas.cell.cell import Cell
from nas.compile.backend import Backend
from nas.compile.capture import SEEN
from nas.errors import CellError
from nas.nn.budget import count_params
from nas.nn.settings import Settings
from nas.tasks import Xml
from nas.training.train import train
from nas.workers.worker import one_line

LEAST = 1e-4
"""A difference from float64, as a share of the largest value, that float32 may always have."""
TIMES = 4.0
"""How many times the CPU's own difference in float32 a device may have."""
SMALL = 1e-3
"""The share of the largest value of all tensors below which a tensor is small."""
TRAINED = 1e-3
"""The most that the loss of an epoch may differ from the CPU's, as a share of it."""


@dataclass(frozen=True)
class Agreement:
    """The differences of a backend on a device from float64 on the CPU, in shares of the largest
    value of each tensor."""

    cell: str
    hidden: int
    members: int
    device: str
    backend: str
    differences: list[float]
    """Of outputs and of gradients; empty if the backend does not run the cell there."""
    limits: list[float]
    reason: str = ""
    """Why the backend does not run the cell there, which is no fault."""
    error: str = ""
    """What the backend raised, which is one."""

    @property
    def is_right(self) -> bool:
        """Whether no difference is beyond its limit; NaN is."""
        pairs = zip(self.differences, self.limits, strict=False)
        return not self.error and all(difference <= limit for difference, limit in pairs)


@dataclass(frozen=True)
class Trained:
    """Of K settings, trained on a device and on the CPU, the loss in training and the one on
    validation after it."""

    cell: str
    hidden: int
    members: int
    device: str
    losses: list[float]
    expected: list[float]

    @property
    def difference(self) -> float:
        """The largest, as a share of the CPU's loss; NaN where a run has none."""
        if len(self.losses) != len(self.expected) or not self.losses:
            return math.nan
        pairs = zip(self.losses, self.expected, strict=True)
        return max((abs(a - b) / abs(b) for a, b in pairs), key=lambda d: (math.isnan(d), d))

    @property
    def is_right(self) -> bool:
        return self.difference <= TRAINED


def agreements(
    cell: Cell, shape: Shape, members: int, device: str, backends: Sequence[Backend]
) -> list[Agreement]:
    """Compare each backend on a device with float64 on the CPU."""
    exact = _values(make(cell, shape, members, "cpu", torch.float64), "auto")
    single = _values(make(cell, shape, members, "cpu", torch.float32), "auto")
    limits = [max(LEAST, TIMES * _difference(*pair)) for pair in zip(single, exact, strict=True)]
    other = make(cell, shape, members, device, torch.float32, seed=1)
    stack, found = make(cell, shape, members, device, torch.float32), []
    for backend in backends:
        about = (cell.name, shape.hidden, members, device, backend)
        try:
            for _ in range(SEEN + 1):  # a CUDA graph is recorded now, and must read other values
                _values(other, backend)
            values = _values(stack, backend)
        except CellError as error:
            found.append(Agreement(*about, [], limits, reason=str(error)))
            continue
        except Exception as error:  # of a library: the others are compared all the same
            found.append(Agreement(*about, [], limits, error=one_line(error)))
            continue
        differences = [_difference(*pair) for pair in zip(values, exact, strict=True)]
        found.append(Agreement(*about, differences, limits))
    return found


def _values(stack: Stack, backend: Backend) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and gradients, on the CPU in float64."""
    outputs = stack.run(backend)
    gradients = stack.gradients(outputs[0])
    given = zip(gradients, stack.layer.parameters(), strict=True)
    filled = [torch.zeros_like(p) if g is None else g for g, p in given]
    return _on_cpu(outputs), _on_cpu(filled)


def _on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().to("cpu", torch.float64) for tensor in tensors]


def _difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of a value, as a share of the largest value of its tensor.

    A tensor whose values are below a thousandth of those of all tensors counts as if it had such:
    gradients that cancel are nothing but rounding.
    """
    largest = [float(one.abs().max()) if one.numel() else 0.0 for one in expected]
    least = max(SMALL * max(largest, default=0.0), 1e-30)
    shares = [
        float((one.reshape(other.shape) - other).abs().max()) / max(size, least)
        for one, other, size in zip(found, expected, largest, strict=True)
        if other.numel()
    ]
    return max(shares, key=lambda share: (math.isnan(share), share), default=0.0)


def trained(
    cell: Cell, shape: Shape, members: int, device: str, steps: int, seed: int = 0
) -> Trained:
    """Train K settings for some minibatches on a device and on the CPU."""
    task = Xml(epochs=1, batches_per_epoch=steps, validation_batches=1, batch_size=shape.batch)
    n_params = count_params(cell, task.interface.inputs, shape.hidden, num_layers=1)
    rates = [0.05 + 0.2 * k / members for k in range(members)]
    settings = [Settings(n_params=n_params, learning_rate=rate) for rate in rates]

    def losses(device: str) -> list[float]:
        outcomes = train(cell, task, settings, seed, device=device)
        return [x for o in outcomes for epoch in o.curve for x in (epoch.train_loss, epoch.loss)]

    return Trained(cell.name, shape.hidden, members, device, losses(device), losses("cpu"))
