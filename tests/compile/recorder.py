"""A recorder for the CPU, where there is no GPU: it replays by calling again."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Again:
    """Fills the same memory at each replay, as a CUDA graph does."""

    """Replays by calling a function again and copying its results to where the first ones are."""

    def __init__(self) -> None:
        self.n_recorded = self.n_replayed = 0

    def warm_up(self, run: Callable[[], None]) -> None:
        run()

    def record(self, run: Callable[[], Sequence[Tensor | None]]) -> Any:
        # A graph that is recorded has computed nothing.
        results = [None if one is None else torch.full_like(one, torch.nan) for one in run()]
        self.n_recorded += 1

        def replay() -> None:
            self.n_replayed += 1
            for kept, one in zip(results, run(), strict=True):
                if kept is not None and one is not None:
                    kept.copy_(one)

        return results, replay
