"""Keys of cells whose gates look alike: as many as there are graphs that are not isomorphic.

Each vertex of a graph is a gate `linear(x, h)` of its own and each edge the product of two gates,
so that cells are equal exactly if their graphs are isomorphic.
"""

from collections.abc import Iterable
from itertools import combinations
from random import Random

import pytest

from nas.cell import Cell, node

Edges = Iterable[tuple[int, int]]


def cell_of(n_vertices: int, edges: Edges) -> Cell:
    """The new state is the sum of all gates, and of their products along the edges."""
    nodes = [node("input", name="x"), node("state", name="h")]
    nodes += [node("linear", 0, 1, name=f"p{v}") for v in range(n_vertices)]
    total = 1
    for a, b in edges:
        nodes.append(node("mul", 2 + a, 2 + b))
        nodes.append(node("add", total, len(nodes) - 1, name=f"s{len(nodes)}"))
        total = len(nodes) - 1
    for v in range(n_vertices):
        nodes.append(node("add", total, 2 + v, name=f"t{v}"))
        total = len(nodes) - 1
    return Cell("graph", tuple(nodes), total, (total,))


@pytest.mark.parametrize(
    ("n_vertices", "n_graphs"),
    [(2, 2), (3, 4), (4, 11), (5, 34)],  # OEIS A000088
)
def test_there_are_as_many_keys_as_graphs(n_vertices, n_graphs):
    pairs = list(combinations(range(n_vertices), 2))
    keys = {
        cell_of(n_vertices, edges).key
        for n in range(len(pairs) + 1)
        for edges in combinations(pairs, n)
    }
    assert len(keys) == n_graphs


def cycle(*vertices: int) -> list[tuple[int, int]]:
    return list(zip(vertices, (*vertices[1:], vertices[0]), strict=True))


ALIKE = {
    "two triangles or a hexagon": (6, cycle(0, 1, 2) + cycle(3, 4, 5), cycle(0, 1, 2, 3, 4, 5)),
    "triangle and square or a heptagon": (
        7,
        cycle(0, 1, 2) + cycle(3, 4, 5, 6),
        cycle(0, 1, 2, 3, 4, 5, 6),
    ),
}


@pytest.mark.parametrize(("n", "one", "other"), ALIKE.values(), ids=ALIKE)
def test_graphs_that_refinement_cannot_tell_apart(n, one, other):
    """All have two neighbours; in the second pair not all vertices of one graph are equal."""
    rng = Random(0)
    for edges in (one, other):
        keys = set()
        for _ in range(6):
            order = rng.sample(range(n), n)
            moved = [(order[a], order[b]) for a, b in rng.sample(edges, len(edges))]
            keys.add(cell_of(n, moved).key)
        assert len(keys) == 1
    assert cell_of(n, one).key != cell_of(n, other).key
