"""How many runs train as one stack: a device's free memory, and the sizes that it did not hold.

A process trains on one device after another, and keeps what it learns of a device to its end.
Several processes may share a GPU: each plans with its part of it.
"""

import errno
import os

import torch

from nas.compile.graphs import forget
from nas.protocol.device import SHARING, planned_bytes

STACK_BYTES = 1 << 28
"""The largest stack on a CPU, about: many wide members are no faster than few."""


class StackMemory:
    """Bytes that a stack may take, by device."""

    def __init__(self) -> None:
        self._most: dict[str, int] = {}

    def members(self, device: str, member_bytes: int) -> int:
        """Return how many runs of this size may train as one stack, at least 1."""
        limit = min(_planned(device), self._most.get(device, _planned(device)))
        return max(1, limit // member_bytes)

    def too_many(self, device: str, n_members: int, member_bytes: int) -> None:
        """Note that memory ran out: on a GPU there are half as many at most from now on.

        On the CPU, where stacks are small, other programs may have taken the memory.
        """
        if torch.device(device).type == "cpu":
            return
        half = n_members * member_bytes // 2
        self._most[device] = min(half, self._most.get(device, half))


def must_hold(member_bytes: int) -> bool:
    """Whether a single run is so small that memory ran out by the machine's fault: every device
    has the memory of a stack on a CPU to spare, if nothing else fills it."""
    return member_bytes <= STACK_BYTES


def _planned(device: str) -> int:
    if torch.device(device).type == "cpu":
        return STACK_BYTES
    free, total = free_bytes(device)
    return planned_bytes(free, total, int(os.environ.get(SHARING, "1")))


def free_bytes(device: str) -> tuple[int, int]:
    """Return what a GPU has free for this process, unused memory that torch holds included, and
    what it has in all."""
    free, total = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free) + unused, int(total)


def begin(device: str) -> None:
    """Give a GPU's memory back that earlier evaluations left with this process, for other workers
    may need it, and see that the GPU answers.

    Raises:
        OSError: with the number ENODEV, if it does not.
    """
    if torch.device(device).type == "cpu":
        return
    forget()
    try:
        torch.cuda.empty_cache()
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OSError(errno.ENODEV, f"{device}: {' '.join(str(error).split())}") from error


OF_PROCESS = StackMemory()
"""The limits of this worker's devices."""
