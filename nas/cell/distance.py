"""The distance of two cells, by the subtrees of their graphs.

Weisfeiler-Lehman subtree features (Shervashidze et al. 2011, JMLR 12): every node of the canonical
form begins with its label, and in each round its label becomes a digest of it and its neighbours'.
The features are the counts of all labels of all rounds. The distance is one minus the share that
two cells have in common, sum(min) / sum(max) (Ruzicka 1958): a metric, from 0 (equal counts, as of
cells of one key) to 1 (nothing in common). A change affects labels within `ROUNDS` edges of it.
"""

import hashlib
import json
from collections import Counter
from functools import lru_cache

from nas.cell.canon import terms
from nas.cell.graph import Graph

ROUNDS = 2
"""Number of rounds in which labels are refined."""

Features = Counter[str]


def features(cell: Graph, rounds: int = ROUNDS) -> Features:
    """The counts of subtrees of a cell; equal for cells of one key."""
    (states, *others), rows, roots = terms(cell)
    labels = [label for label, _ in rows]
    neighbours: list[list[tuple[str, int]]] = [[] for _ in rows]
    for user, (_, args) in enumerate(rows):
        for edge, arg in args:
            neighbours[user].append((f"of {edge}", arg))
            neighbours[arg].append((f"in {edge}", user))
    for place, root in enumerate(roots):  # a node of its own for each output
        labels.append(f"output {place}")
        neighbours.append([("of", root)])
        neighbours[root].append((f"output {place}", len(labels) - 1))
    counts = Counter([f"state {width} {initial}" for width, initial in states])
    counts[f"interface {json.dumps(others)}"] += 1
    counts.update(labels)
    for _ in range(rounds):
        labels = [
            _digest(label, *sorted(f"{edge} {labels[other]}" for edge, other in beside))
            for label, beside in zip(labels, neighbours, strict=True)
        ]
        counts.update(labels)
    return counts


@lru_cache(maxsize=1 << 14)  # cells that are compared have most subtrees in common
def _digest(label: str, *beside: str) -> str:
    return hashlib.sha256(json.dumps([label, *beside]).encode()).hexdigest()[:16]


def distance(one: Features, other: Features) -> float:
    """The distance of two cells by their features, from 0 to 1."""
    common = (one & other).total()
    return 1.0 - common / (one.total() + other.total() - common)
