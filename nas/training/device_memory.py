"""How many runs train as one stack: a device's free memory, and the sizes that it did not hold.

A process trains on one device after another, and keeps what it learns of a device to its end.
"""

import torch

STACK_BYTES = 1 << 28
"""The largest stack on a CPU, about: many wide members are no faster than few."""
SHARE = 0.4
"""The share of a device's free memory that a stack is planned for: caches take some too."""


class StackMemory:
    """Bytes that a stack may take, by device."""

    def __init__(self) -> None:
        self._most: dict[str, int] = {}

    def members(self, device: str, member_bytes: int) -> int:
        """Return how many runs of this size may train as one stack, at least 1."""
        limit = min(_planned(device), self._most.get(device, _planned(device)))
        return max(1, limit // member_bytes)

    def must_hold(self, device: str, member_bytes: int) -> bool:
        """Whether a single run is so small that memory ran out by the machine's fault.

        A GPU is one's own; on a CPU, every machine has the memory of a stack to spare.
        """
        return torch.device(device).type == "cpu" and member_bytes <= STACK_BYTES

    def too_many(self, device: str, n_members: int, member_bytes: int) -> None:
        """Note that memory ran out: on a GPU there are half as many at most from now on.

        On the CPU, where stacks are small, other programs may have taken the memory.
        """
        if torch.device(device).type == "cpu":
            return
        half = n_members * member_bytes // 2
        self._most[device] = min(half, self._most.get(device, half))


def _planned(device: str) -> int:
    return STACK_BYTES if torch.device(device).type == "cpu" else int(SHARE * free_bytes(device))


def free_bytes(device: str) -> int:
    """Return what a GPU has free for this process, unused memory that torch holds included."""
    free = int(torch.cuda.mem_get_info(device)[0])
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


OF_PROCESS = StackMemory()
"""The limits of this worker's devices."""
