"""Where the parts of a picture stand: their layers, their order in a layer, their heights.

Heights are those at which most lines are straight, exactly for one layer at a time. States enter
and leave at the same height. Everything is deterministic: the same parts give the same places.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from nas.cell.picture.diagram import Part
from nas.cell.picture.grid import Grid, grid_of, placed
from nas.cell.picture.order import Order, crossings, ordered

SPARE = (0, 1, 2, 3)
"""Units of height beyond those that are needed, of which the best is taken."""


@dataclass(frozen=True)
class Layout:
    """Where every slot stands."""

    grid: Grid
    order: tuple[tuple[int, ...], ...]
    heights: tuple[int, ...]
    """Of each slot, in units from the top."""
    n_units: int

    @property
    def n_crossings(self) -> int:
        return crossings(self.grid, [list(layer) for layer in self.order])


def place(parts: Sequence[Part]) -> Layout:
    """Place the parts; outputs whose port is "y" are no part of it if a state leaves with y."""
    grid = grid_of(tuple(parts))
    order = ordered(grid)
    heights, n_units = _heights(grid, order)
    return Layout(grid, tuple(map(tuple, order)), tuple(heights), n_units)


def _heights(grid: Grid, order: Order) -> tuple[list[int], int]:
    """Heights of all slots, and how many units there are."""
    ports = len(_port_heights(grid, 0))
    least = max(3 * ports, 2 + max(_extent(grid, layer) for layer in order))
    found = [_heights_in(grid, order, least + more) for more in SPARE]
    heights = min(found, key=lambda heights: (_bending(grid, heights), max(heights)))
    return heights, max(heights)


def _heights_in(grid: Grid, order: Order, n_units: int) -> list[int]:
    fixed = _ends(grid, order, n_units)
    best: tuple[int, list[int]] | None = None
    for passes in (("before", "after"), ("after", "before")):
        heights = _spread_out(grid, order, n_units, fixed)
        for side in (*passes, *(["both"] * 8)):
            forward = side != "after"
            for k in range(len(order)) if forward else reversed(range(len(order))):
                _set_layer(grid, order[k], heights, fixed, n_units, side)
            total = _bending(grid, heights)
            if side == "both" and (best is None or total < best[0]):
                best = (total, list(heights))
    assert best is not None
    return best[1]


def _extent(grid: Grid, layer: Sequence[int]) -> int:
    return sum(grid.gap(a, b) for a, b in itertools.pairwise(layer))


def _ends(grid: Grid, order: Order, n_units: int) -> dict[int, int]:
    """Heights of inputs and outputs: x at the bottom, h above it or, if it is alone, at the top."""
    ports = {port: height for port, height in _port_heights(grid, n_units)}
    fixed: dict[int, int] = {}
    for slot in (*order[0], *order[-1]):
        part = grid.parts[grid.slots[slot].part]
        key = (part.kind, part.port) if not part.port.startswith("state") else ("", part.port)
        if not grid.slots[slot].passes and key in ports:
            fixed[slot] = ports[key]
    return fixed


def _port_heights(grid: Grid, n_units: int) -> list[tuple[tuple[str, str], int]]:
    states = [p.port for p in grid.parts if p.kind == "input" and p.port.startswith("state")]
    below = [p.port for p in grid.parts if p.kind == "input" and p.port.startswith("vertical")]
    up = [grid.parts[i] for i in placed(grid.parts) if grid.parts[i].kind == "output"]
    above = [p.port for p in up if not p.port.startswith("state")]
    found = [(("input", "x"), n_units)]
    found += [(("input", port), n_units - 3 * (len(below) - k)) for k, port in enumerate(below)]
    found += [(("output", port), 3 * k) for k, port in enumerate(reversed(above))]
    top, bottom = 3 * len(above), n_units - 3 * (1 + len(below))
    for k, port in enumerate(reversed(states)):
        low = k == len(states) - 1 and len(states) > 1
        found.append((("", port), bottom if low else top + 3 * k))
    return found


def _spread_out(grid: Grid, order: Order, n_units: int, fixed: dict[int, int]) -> list[int]:
    heights = [0] * len(grid.slots)
    for layer in order:
        at = (n_units - _extent(grid, layer)) // 2
        for before, slot in zip([layer[0], *layer], layer, strict=False):
            at += grid.gap(before, slot) if before != slot else 0
            heights[slot] = fixed.get(slot, at)
    return heights


def _bending(grid: Grid, heights: Sequence[int]) -> int:
    return sum(grid.line_cost(a, b, heights[a] - heights[b]) for a, b in grid.lines)


def _set_layer(
    grid: Grid,
    layer: Sequence[int],
    heights: list[int],
    fixed: dict[int, int],
    n_units: int,
    side: str,
) -> None:
    """The best heights of a layer whose order and neighbours stay: dynamic programming."""
    infinite = float("inf")
    best: list[float] = [0.0] * (n_units + 1)
    choices: list[list[int]] = []
    for j, slot in enumerate(layer):
        first, last = not grid.before[slot], not grid.after[slot]
        lines = [(a, slot, heights[a]) for a in grid.before[slot] if side != "after" or last]
        lines += [(slot, b, heights[b]) for b in grid.after[slot] if side != "before" or first]
        gap = grid.gap(layer[j - 1], slot) if j else 0
        lowest, choice = infinite, -1
        reached, chosen = [infinite] * (n_units + 1), [-1] * (n_units + 1)
        for at in range(n_units + 1):
            if at - gap >= 0 and best[at - gap] < lowest:
                lowest, choice = best[at - gap], at - gap
            if slot in fixed and fixed[slot] != at:
                continue
            reached[at] = lowest + sum(grid.line_cost(a, b, at - to) for a, b, to in lines)
            chosen[at] = choice
        best = reached
        choices.append(chosen)
    at = min(range(n_units + 1), key=lambda h: best[h])
    assert best[at] < infinite, "the layer has room"
    for slot, chosen in zip(reversed(layer), reversed(choices), strict=True):
        heights[slot] = at
        at = chosen[at]
