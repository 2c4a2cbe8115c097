"""The device that a worker trains on, and how much of a GPU's memory it plans with."""

DEVICE = "NAS_DEVICE"
"""The environment variable of a worker that names the device it trains on; the CPU without it."""
SHARING = "NAS_SHARING"
"""The environment variable of a worker that says how many workers train on its device; 1 without
it."""
SHARE = 0.4
"""The share of a GPU's free memory that a stack is planned for: caches take some too."""


def planned_bytes(free: int, total: int, sharing: int) -> int:
    """Return the bytes that a stack is planned for on a GPU that so many workers share.

    They begin at one time, when all of it is free, so that none may plan with more than its part.
    """
    return int(SHARE * min(free, total // sharing))
