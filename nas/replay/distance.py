"""Distances of cells to many others at once: those of `nas/cell/distance.py`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.cell.distance import Features


class Distances:
    """Distances to a number of cells, whose features are indexed once."""

    def __init__(self, counted: Sequence[Features]) -> None:
        self.n = len(counted)
        self._totals = np.array([one.total() for one in counted], dtype=np.int64)
        places: dict[str, list[tuple[int, int]]] = {}
        for index, one in enumerate(counted):
            for label, count in one.items():
                places.setdefault(label, []).append((index, count))
        self._places = {label: np.array(found).T for label, found in places.items()}

    def to(self, one: Features) -> NDArray[np.float64]:
        """The distance of each of the cells to one, which need not be among them."""
        common = np.zeros(self.n, dtype=np.int64)
        for label, count in one.items():
            if label in self._places:
                indices, counts = self._places[label]
                common[indices] += np.minimum(counts, count)
        return 1.0 - common / (self._totals + one.total() - common)
