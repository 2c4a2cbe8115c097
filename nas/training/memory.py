"""How many runs train as one stack: what a device has free, and what was once too much for it.

A process trains on one device after another, so what it learns of a device it keeps to its end.
"""

import torch

STACK_BYTES = 1 << 28
"""On a CPU a stack is no larger than about this: wide members gain nothing from being many."""
SHARE = 0.4
"""Of a device's free memory that a stack is planned for: its caches and others' take some too."""


class StackMemory:
    """Bytes that a stack may take, by device."""

    def __init__(self) -> None:
        self._most: dict[str, int] = {}

    def members(self, device: str, member_bytes: int) -> int:
        """Runs of this size that may train as one stack, at least 1."""
        limit = min(_planned(device), self._most.get(device, _planned(device)))
        return max(1, limit // member_bytes)

    def too_many(self, device: str, n_members: int, member_bytes: int) -> None:
        """Memory ran out with so many: on a GPU there are half as many at most from now on.

        On the CPU it was perhaps other programs' doing, and stacks are small.
        """
        if torch.device(device).type == "cpu":
            return
        half = n_members * member_bytes // 2
        self._most[device] = min(half, self._most.get(device, half))


def _planned(device: str) -> int:
    return STACK_BYTES if torch.device(device).type == "cpu" else int(SHARE * free_bytes(device))


def free_bytes(device: str) -> int:
    """What a GPU has free for this process, what torch holds and does not use included."""
    free = int(torch.cuda.mem_get_info(device)[0])
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


OF_PROCESS = StackMemory()
"""What this worker has learned."""
