"""Times of K models at once on a device, by backend, and of torch's module one at a time."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from nas.bench.arms import TWINS, YARDSTICK, twin
from nas.bench.config import Mode, Shape
from nas.bench.stack import Stack, make
from nas.bench.timing import Ratio, Times, compare, median_s, take_turns
from nas.cell.cell import Cell
from nas.compile.backend import Backend
from nas.compile.capture import SEEN

EAGER: Backend = "eager"
GRAPH: Backend = "graph"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceRow:
    """One cell, shape and mode with K models, by backend, and one model of torch's."""

    cell: str
    shape: Shape
    members: int
    mode: Mode
    device: str
    torch: str
    same_cell: bool
    """Whether torch's module computes the same."""
    times_s: dict[str, Times]
    """Of K models by each backend that can run them, and of one model by torch."""

    @property
    def ours(self) -> str:
        """The fastest backend."""
        arms = [arm for arm in self.times_s if arm != self.torch]
        return min(arms, key=lambda arm: median_s(self.times_s[arm]))

    @property
    def against_torch(self) -> Ratio:
        """The time of K models one after another by torch over that of K models by ours."""
        one = [None if t is None else t * self.members for t in self.times_s[self.torch]]
        return compare(one, self.times_s[self.ours])

    @property
    def against_eager(self) -> Ratio:
        """The time of the eager batch over that of ours."""
        return compare(self.times_s[EAGER], self.times_s[self.ours])

    @property
    def models_per_s(self) -> float:
        """Minibatches a second, summed over the models."""
        return self.members / median_s(self.times_s[self.ours])


def device_row(
    cell: Cell,
    shape: Shape,
    members: int,
    mode: Mode,
    device: str,
    backends: Sequence[Backend],
    rounds: int,
    round_s: float,
) -> DeviceRow:
    """Time all backends that can run the cell, and torch's module, by turns."""
    known = twin(cell)
    name, make_module = TWINS[known or YARDSTICK]
    stack = make(cell, shape, members, device, torch.float32)
    work: dict[str, Callable[[], None]] = {
        backend: _work(stack, backend, mode, device) for backend in _able(stack, backends)
    }
    for _ in range(SEEN if GRAPH in work else 0):  # what is timed first must not record a graph
        work[GRAPH]()
    seldom = [EAGER] if len(work) > 1 else []
    module = make_module(shape.hidden, shape.hidden).to(device)
    single = make(cell, shape, 1, device, torch.float32)
    work[name] = _torchs(module, single, mode, device)
    times = take_turns(work, rounds, round_s, seldom)
    return DeviceRow(cell.name, shape, members, mode, device, name, known is not None, times)


def _able(stack: Stack, backends: Sequence[Backend]) -> list[Backend]:
    able: list[Backend] = []
    for backend in backends:
        try:
            stack.gradients(stack.run(backend)[0])
        except Exception as error:  # of a library: the others are timed all the same
            logger.debug("backend %s is not timed: %s", backend, error)
            continue
        able.append(backend)
    return able


def _work(stack: Stack, backend: Backend, mode: Mode, device: str) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            stack.run(backend)
        wait(device)

    def both() -> None:
        stack.gradients(stack.run(backend)[0])
        wait(device)

    return forward if mode == "fwd" else both


def _torchs(module: torch.nn.RNNBase, stack: Stack, mode: Mode, device: str) -> Callable[[], None]:
    """The work of one model of torch's on the input of a single model."""
    weights, weight = list(module.parameters()), torch.zeros_like(stack.x)

    def forward() -> None:
        with torch.no_grad():
            module(stack.x)
        wait(device)

    def both() -> None:
        torch.autograd.grad(module(stack.x)[0], weights, weight)
        wait(device)

    return forward if mode == "fwd" else both


def wait(device: str) -> None:
    """Wait until a device has done all that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
