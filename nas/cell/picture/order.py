"""The order of slots in the layers of a picture, by barycentres and swaps: few lines cross."""

from random import Random

from nas.cell.picture.diagram import Part
from nas.cell.picture.grid import Grid

STARTS = 8
"""Orders from which the search for few crossings begins."""
SWEEPS = 12

Order = list[list[int]]
"""The slots of each layer, from top to bottom."""


def _rank(part: Part, n_states: int) -> int:
    """Where inputs and outputs stand: c above h, what comes from below under them, y above."""
    kind, _, number = part.port.partition(" ")
    if kind == "state":
        return n_states - int(number)
    if kind == "vertical":
        return n_states + 1 + int(number) if part.kind == "input" else -1 - int(number)
    return 10_000 if kind == "x" else -10_000


def ordered(grid: Grid) -> Order:
    """The order with the fewest crossings that was found."""
    n_states = sum(p.kind == "input" and p.port.startswith("state") for p in grid.parts)
    first = [s for s in grid.layers[0] if grid.kind(s) == "input"]
    first.sort(key=lambda s: _rank(grid.parts[grid.slots[s].part], n_states))
    first += [s for s in grid.layers[0] if s not in first]
    last = sorted(grid.layers[-1], key=lambda s: _rank(grid.parts[grid.slots[s].part], n_states))
    rng = Random(0)
    best: tuple[tuple[int, int], Order] | None = None
    for start in range(STARTS):
        order = [list(layer) for layer in grid.layers]
        for layer in order[1:-1]:
            if start == 1:
                layer.reverse()
            elif start > 1:
                rng.shuffle(layer)
        order[0], order[-1] = list(first), list(last)
        for sweep in range(SWEEPS):
            _sweep(grid, order, forward=sweep % 2 == 0)
            _swap(grid, order)
            score = (crossings(grid, order), _spread(grid, order))
            if best is None or score < best[0]:
                best = (score, [list(layer) for layer in order])
    assert best is not None
    return best[1]


def _sweep(grid: Grid, order: Order, *, forward: bool) -> None:
    """Sort every layer by where its neighbours are; the first and the last stay."""
    inner = range(1, len(order) - 1)
    for k in inner if forward else reversed(inner):
        beside = order[k - 1] if forward else order[k + 1]
        place_of = {slot: place for place, slot in enumerate(beside)}
        lines = grid.before if forward else grid.after

        def mean(slot: int, lines: list[list[int]] = lines, at: dict[int, int] = place_of) -> float:
            return sum(at[s] for s in lines[slot]) / len(lines[slot])

        free = iter(sorted((s for s in order[k] if lines[s]), key=mean))
        order[k] = [next(free) if lines[slot] else slot for slot in order[k]]


def _swap(grid: Grid, order: Order) -> None:
    """Exchange neighbours while that removes crossings."""
    for k in range(1, len(order) - 1):
        left = {slot: place for place, slot in enumerate(order[k - 1])}
        right = {slot: place for place, slot in enumerate(order[k + 1])}

        def crossed(
            upper: int, lower: int, left: dict[int, int] = left, right: dict[int, int] = right
        ) -> int:
            pairs = ((left, grid.before), (right, grid.after))
            return sum(
                at[a] > at[b] for at, lines in pairs for a in lines[upper] for b in lines[lower]
            )

        swapped = True
        while swapped:
            swapped = False
            for j in range(len(order[k]) - 1):
                upper, lower = order[k][j], order[k][j + 1]
                if crossed(lower, upper) < crossed(upper, lower):
                    order[k][j], order[k][j + 1] = lower, upper
                    swapped = True


def crossings(grid: Grid, order: Order) -> int:
    """How often two lines cross; lines from one slot or to one slot do not."""
    total = 0
    place_of = {slot: place for layer in order for place, slot in enumerate(layer)}
    for k in range(len(order) - 1):
        ends = sorted((place_of[a], place_of[b]) for a in order[k] for b in grid.after[a])
        total += sum(
            ends[i][0] < ends[j][0] and ends[i][1] > ends[j][1]
            for i in range(len(ends))
            for j in range(i + 1, len(ends))
        )
    return total


def _spread(grid: Grid, order: Order) -> int:
    """How far from straight the lines are, in places."""
    place_of = {slot: place for layer in order for place, slot in enumerate(layer)}
    return sum(abs(place_of[a] - place_of[b]) for a, b in grid.lines)
