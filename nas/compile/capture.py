"""Work on a device that is recorded once for its shapes and replayed, forward and backward.

A CUDA graph reads and writes the same memory at every replay. So inputs are copied into tensors of
its own, and results out of them at once: what a caller holds is never written again. What the
forward part keeps for the backward part lies in memory that all recordings of a device share;
where another replay came in between, the forward part is replayed before the backward part.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.errors import CellError

MOST = 16
"""Recordings that a device keeps; one of a long sequence takes some megabytes of the driver's
memory."""
SEEN = 2
"""How often a shape has run before it is recorded, which costs as much as some runs."""
MOST_SEEN = 4096
"""Shapes of which a device counts how often they ran."""

Work = Callable[[Sequence[Tensor]], list[Tensor]]
"""Results from tensors, by operations on the device alone."""
Replay = Callable[[], None]
"""Does once more to the same memory what was recorded."""


class Recorder(Protocol):
    """How a device records."""

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run a function once before it is recorded."""

    def record(
        self, run: Callable[[], Sequence[Tensor | None]]
    ) -> tuple[Sequence[Tensor | None], Replay]:
        """Record a function; return the tensors that each replay fills, and the replay."""


class Device:
    """The recordings of one device. The thread that first asks for one has them all: a backward
    pass runs in a thread of autograd's, while this one waits."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.turn = 0
        """The number of the last replay."""
        self.refused: dict[Hashable, str] = {}
        """Why shapes cannot be recorded."""
        self._owner: int | None = None
        self._captures: OrderedDict[Hashable, Capture] = OrderedDict()
        self._seen: dict[Hashable, int] = {}

    @property
    def is_own(self) -> bool:
        """Whether the recordings are this thread's."""
        self._owner = self._owner or threading.get_ident()
        return self._owner == threading.get_ident()

    def capture_of(self, key: Hashable, work: Work, given: Sequence[Tensor]) -> "Capture | None":
        """The recording of a shape, made when it has run often enough; None before, and where it
        cannot be made, which `refused` then says."""
        if capture := self._captures.get(key):
            self._captures.move_to_end(key)
            return capture
        if key in self.refused or not self._is_due(key):
            return None
        try:
            capture = Capture(self, work, given)
        except RuntimeError as error:  # of CUDA, memory that ran out included
            self.refused[key] = " ".join(str(error).split())[:300] or "recording it failed"
            return None
        self._captures[key] = capture
        if len(self._captures) > MOST:  # it must then run often again to come back
            self._seen.pop(self._captures.popitem(last=False)[0], None)
        return capture

    def _is_due(self, key: Hashable) -> bool:
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen[key] = self._seen.get(key, 0) + 1
        return self._seen[key] > SEEN

    def forget(self) -> None:
        """Drop all recordings, so that their memory is free when no gradient waits for them."""
        for kept in (self._captures, self._seen, self.refused):
            kept.clear()


class Capture:
    """Recorded work: the tensors that it reads and fills, and its replays."""

    def __init__(self, device: Device, work: Work, given: Sequence[Tensor]) -> None:
        self.device = device
        self.given = [_like(tensor) for tensor in given]
        self._load(given)
        live: list[Tensor] = []  # the results of the last forward part, with their history

        def forward() -> list[Tensor]:
            live[:] = work(self.given)
            return [result.detach() for result in live]

        def backward() -> Sequence[Tensor | None]:
            by = [tensor for tensor in self.given if tensor.requires_grad]
            of = [live[place] for place in self.differentiated]
            return torch.autograd.grad(of, by, self.gradients, allow_unused=True)

        def both() -> None:
            forward()
            self.differentiated = [k for k, result in enumerate(live) if result.requires_grad]
            self.gradients = [_like(live[place]).detach() for place in self.differentiated]
            if self.differentiated:
                backward()

        device.recorder.warm_up(both)
        self._results, self._forward = device.recorder.record(forward)
        if self.differentiated:
            self._found, self._backward = device.recorder.record(backward)
        live.clear()

    @torch.no_grad()
    def _load(self, given: Sequence[Tensor]) -> None:
        torch._foreach_copy_(self.given, list(given))

    def forward(self, given: Sequence[Tensor]) -> list[Tensor]:
        """The results for these tensors; `device.turn` is then the number of this replay."""
        self._load(given)
        self._forward()
        self.device.turn += 1
        return [_copied(result) for result in self._results]

    @torch.no_grad()
    def backward(
        self, turn: int, given: Callable[[], Sequence[Tensor]], gradients: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """The gradients of the tensors of the replay of a number, from those of its results."""
        if self.device.turn != turn:
            self._load(given())
            with torch.enable_grad():
                self._forward()
        self.device.turn += 1  # a backward part overwrites what the forward part kept
        torch._foreach_copy_(self.gradients, [gradients[place] for place in self.differentiated])
        self._backward()
        found = iter(self._found)
        each = [next(found) if tensor.requires_grad else None for tensor in self.given]
        return [None if one is None else _copied(one) for one in each]


def _like(tensor: Tensor) -> Tensor:
    """Memory for a tensor of this shape."""
    made = torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    return made.requires_grad_(tensor.requires_grad and torch.is_grad_enabled())


def _copied(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor.clone(memory_format=torch.contiguous_format)


def replayed(capture: Capture, given: Sequence[Tensor]) -> list[Tensor]:
    """What the work of a capture gives for these tensors, with gradients if it was recorded so."""
    if not capture.differentiated:
        return capture.forward(given)
    function: Any = _Replayed  # torch declares no types of `apply`
    return list(function.apply(capture, *given))


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, capture: Capture, *given: Tensor) -> Any:
        with torch.enable_grad():  # a recorder that calls again needs the history
            results = capture.forward(given)
        ctx.capture, ctx.turn = capture, capture.device.turn
        ctx.save_for_backward(*given)
        known = set(capture.differentiated)
        ctx.mark_non_differentiable(*[r for k, r in enumerate(results) if k not in known])
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise CellError(
                "CUDA graphs give no gradients of gradients (create_graph=True): take "
                'backend="eager".'
            )
        found = ctx.capture.backward(ctx.turn, lambda: ctx.saved_tensors, gradients)
        return None, *found
