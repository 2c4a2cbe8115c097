"""Where the parts of a picture stand: layered graph drawing, as in Sugiyama et al. 1981.

Layers run from left to right, and a part stands right of all that it reads. A value that is read
further right occupies a slot of its own in every layer between, so lines join slots of neighbouring
layers only. The order within a layer has few crossings of lines, and the heights make most lines
straight. The same parts give the same places.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from nas.cell.picture.diagram import Part

ROOM = {"input": 1, "output": 1, "merge": 1, "pass": 1, "leaf": 2, "layer": 2, "point": 2}
"""Units of height on each side of the middle of a slot, by the kind of slot."""
STRAIGHT = (1, 2, 8)
"""Cost of a unit of height between the ends of a line, if none, one or both of them only pass."""
BEND = 3
"""Further cost of a line that is not straight."""
STARTS = 8
"""Orders from which the search for few crossings begins."""
SWEEPS = 12
LARGE = 150
"""Parts above which a picture is a plot of its structure that nobody follows line by line: it is
laid out in one pass, since the search for few crossings and bends would take minutes to hours."""
SPARE = (0, 1, 2, 3)
"""Numbers of units of height beyond those that are needed, of which the best is taken."""

Order = list[list[int]]
"""The slots of each layer, from top to bottom."""


@dataclass(frozen=True)
class Slot:
    """A place in a layer, which a part takes or its value on the way to the right."""

    part: int
    layer: int
    passes: bool = False
    """Whether the part's value passes here and the part itself stands elsewhere."""


@dataclass(frozen=True)
class Grid:
    """Slots, and the lines between neighbouring layers as pairs of slots."""

    parts: tuple[Part, ...]
    slots: tuple[Slot, ...]
    layers: tuple[tuple[int, ...], ...]
    lines: tuple[tuple[int, int], ...]

    @cached_property
    def before(self) -> list[list[int]]:
        """For each slot, the slots of the layer before from which its lines come."""
        return self._partners((right, left) for left, right in self.lines)

    @cached_property
    def after(self) -> list[list[int]]:
        """For each slot, the slots of the next layer to which its lines go."""
        return self._partners(self.lines)

    def _partners(self, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
        partners: list[list[int]] = [[] for _ in self.slots]
        for slot, partner in pairs:
            partners[slot].append(partner)
        return partners

    def part(self, slot: int) -> Part:
        """The part that stands in a slot, or whose value passes through it."""
        return self.parts[self.slots[slot].part]

    def kind(self, slot: int) -> str:
        """A key of ROOM."""
        return "pass" if self.slots[slot].passes else self.part(slot).kind

    def gap(self, upper: int, lower: int) -> int:
        """Units between the middles of two neighbours."""
        return ROOM[self.kind(upper)] + ROOM[self.kind(lower)]

    def extent(self, layer: Sequence[int]) -> int:
        """Units between the first and the last slot of a layer, as close as they may stand."""
        return sum(self.gap(a, b) for a, b in itertools.pairwise(layer))

    def weight(self, left: int, right: int) -> int:
        """Cost of a unit of height between the ends of a line."""
        return STRAIGHT[self.slots[left].passes + self.slots[right].passes]

    def line_cost(self, left: int, right: int, drop: int) -> int:
        """Cost of a line whose ends are `drop` units of height apart."""
        return BEND * (drop != 0) + self.weight(left, right) * abs(drop)

    def bending(self, heights: Sequence[int]) -> int:
        """Cost of all lines."""
        return sum(self.line_cost(a, b, heights[a] - heights[b]) for a, b in self.lines)


@dataclass(frozen=True)
class Layout:
    """The order and the heights of all slots."""

    grid: Grid
    order: tuple[tuple[int, ...], ...]
    heights: tuple[int, ...]
    """Height of each slot, in units from the top."""
    n_units: int

    @property
    def n_crossings(self) -> int:
        return crossings(self.grid, [list(layer) for layer in self.order])


def place(parts: Sequence[Part]) -> Layout:
    """Place the parts; an output with the port "y" has no slot if a state leaves with y."""
    grid = _grid(tuple(parts))
    order = _ordered(grid)
    heights = _heights(grid, order)
    return Layout(grid, tuple(map(tuple, order)), tuple(heights), max(heights))


# --- layers ---


def _placed(parts: Sequence[Part]) -> list[int]:
    """Indices of the parts that have a slot: all but a y that is the new value of a state."""
    states = {p.wires[0].source for p in parts if p.kind == "output" and p.port != "y"}
    return [i for i, p in enumerate(parts) if p.port != "y" or p.wires[0].source not in states]


def _levels(parts: tuple[Part, ...]) -> dict[int, int]:
    """The layer of each part: behind all that it reads, then where its lines are shortest."""
    here = _placed(parts)
    level: dict[int, int] = {}
    readers: dict[int, list[int]] = {i: [] for i in here}
    for i in here:
        sources = {wire.source for wire in parts[i].wires}
        level[i] = 1 + max((level[s] for s in sources), default=-1)
        if parts[i].kind == "leaf":
            level[i] = 1  # the first layer is for inputs
        for source in sources:
            readers[source].append(i)
    last = 1 + max(level[i] for i in here if parts[i].kind != "output")
    level |= {i: last for i in here if parts[i].kind == "output"}

    def length(i: int, at: int) -> int:
        """Total length of the lines that begin or end at part i, if its layer is `at`."""
        levels = {**level, i: at}
        touched = [i, *{wire.source for wire in parts[i].wires}]
        return sum(
            max((levels[r] for r in readers[s]), default=levels[s]) - levels[s] for s in touched
        )

    movable = [i for i in reversed(here) if parts[i].kind not in ("input", "output") and readers[i]]
    moved = len(parts) <= LARGE
    while moved:
        moved = False
        for i in movable:
            allowed = range(level[i], min(level[r] for r in readers[i]))
            best = min(allowed, key=lambda at: (length(i, at), at))
            moved |= best != level[i]
            level[i] = best
    return level


def _grid(parts: tuple[Part, ...]) -> Grid:
    """Put the parts into layers, and make slots where their values pass."""
    level = _levels(parts)
    slots: list[Slot] = []
    layers: list[list[int]] = [[] for _ in range(1 + max(level.values()))]
    at: dict[tuple[int, int], int] = {}
    last = dict(level)
    for i in level:
        for wire in parts[i].wires:
            last[wire.source] = max(last[wire.source], level[i] - 1)
    for i in level:
        for layer in range(level[i], last[i] + 1):
            at[i, layer] = len(slots)
            layers[layer].append(len(slots))
            slots.append(Slot(i, layer, passes=layer > level[i]))
    lines = [(at[i, k], at[i, k + 1]) for i in level for k in range(level[i], last[i])]
    lines += [
        (at[s, level[i] - 1], at[i, level[i]])
        for i in level
        for s in dict.fromkeys(wire.source for wire in parts[i].wires)
    ]
    return Grid(parts, tuple(slots), tuple(map(tuple, layers)), tuple(lines))


# --- the order within a layer ---


def _ordered(grid: Grid) -> Order:
    """The order with the fewest crossings among those that sweeps and swaps lead to."""
    n_states = sum(p.kind == "input" and p.port.startswith("state") for p in grid.parts)

    def rank(slot: int) -> int:
        """c stands above h, values of the layer below under them, y above all."""
        part = grid.part(slot)
        kind, _, number = part.port.partition(" ")
        if kind == "state":
            return n_states - int(number)
        if kind == "vertical":
            return n_states + 1 + int(number) if part.kind == "input" else -1 - int(number)
        return 10_000 if kind == "x" else -10_000

    inputs = sorted((s for s in grid.layers[0] if grid.kind(s) == "input"), key=rank)
    first = [*inputs, *(s for s in grid.layers[0] if s not in inputs)]
    last = sorted(grid.layers[-1], key=rank)
    if len(grid.parts) > LARGE:
        rough = [first, *([*layer] for layer in grid.layers[1:-1]), last]
        _sweep(grid, rough, forward=True)
        return rough
    rng = Random(0)
    best: tuple[tuple[int, int], Order] | None = None
    for start in range(STARTS):
        order = [first, *([*layer] for layer in grid.layers[1:-1]), last]
        for layer in order[1:-1]:
            if start == 1:
                layer.reverse()
            elif start > 1:
                rng.shuffle(layer)
        for sweep in range(SWEEPS):
            _sweep(grid, order, forward=sweep % 2 == 0)
            _swap(grid, order)
            score = (crossings(grid, order), _spread(grid, order))
            if best is None or score < best[0]:
                best = (score, [list(layer) for layer in order])
    assert best is not None
    return best[1]


def _ranks(order: Order) -> dict[int, int]:
    """The place of each slot in its layer, from the top."""
    return {slot: rank for layer in order for rank, slot in enumerate(layer)}


def _sweep(grid: Grid, order: Order, *, forward: bool) -> None:
    """Sort every layer but the first and the last by the mean rank of its neighbours."""
    inner = range(1, len(order) - 1)
    lines = grid.before if forward else grid.after
    for k in inner if forward else reversed(inner):
        rank = _ranks([order[k - 1] if forward else order[k + 1]])
        mean = {s: sum(rank[t] for t in lines[s]) / len(lines[s]) for s in order[k] if lines[s]}
        free = iter(sorted(mean, key=mean.__getitem__))
        order[k] = [next(free) if slot in mean else slot for slot in order[k]]


def _swap(grid: Grid, order: Order) -> None:
    """Exchange neighbours while that removes crossings."""
    for k in range(1, len(order) - 1):
        rank = _ranks([order[k - 1], order[k + 1]])

        def n_crossed(upper: int, lower: int, rank: dict[int, int] = rank) -> int:
            return sum(
                rank[a] > rank[b]
                for lines in (grid.before, grid.after)
                for a in lines[upper]
                for b in lines[lower]
            )

        swapped = True
        while swapped:
            swapped = False
            for j in range(len(order[k]) - 1):
                upper, lower = order[k][j], order[k][j + 1]
                if n_crossed(lower, upper) < n_crossed(upper, lower):
                    order[k][j], order[k][j + 1] = lower, upper
                    swapped = True


def crossings(grid: Grid, order: Order) -> int:
    """The number of pairs of lines that cross; lines that share a slot do not."""
    rank = _ranks(order)
    total = 0
    for layer in order[:-1]:
        ends = sorted((rank[a], rank[b]) for a in layer for b in grid.after[a])
        total += sum(a[0] < b[0] and a[1] > b[1] for a, b in itertools.combinations(ends, 2))
    return total


def _spread(grid: Grid, order: Order) -> int:
    """The distance of all lines from straight, in ranks."""
    rank = _ranks(order)
    return sum(abs(rank[a] - rank[b]) for a, b in grid.lines)


# --- heights ---


def _heights(grid: Grid, order: Order) -> list[int]:
    """The heights of all slots at which the lines are straightest."""
    least = max(3 * len(_port_heights(grid, 0)), 2 + max(map(grid.extent, order)))
    if len(grid.parts) > LARGE:
        return _spread_out(grid, order, least, _fixed(grid, order, least))
    tried = [_heights_in(grid, order, least + more) for more in SPARE]
    return min(tried, key=lambda heights: (grid.bending(heights), max(heights)))


def _heights_in(grid: Grid, order: Order, n_units: int) -> list[int]:
    """The best heights from 0 to `n_units`, optimal for one layer at a time."""
    fixed = _fixed(grid, order, n_units)
    best: tuple[int, list[int]] | None = None
    for passes in (("before", "after"), ("after", "before")):
        heights = _spread_out(grid, order, n_units, fixed)
        for side in (*passes, *(["both"] * 8)):
            before = list(heights)
            for layer in order if side != "after" else reversed(order):
                _set_layer(grid, layer, heights, fixed, n_units, side)
            total = grid.bending(heights)
            if side == "both" and (best is None or total < best[0]):
                best = (total, list(heights))
            if side == "both" and heights == before:
                break  # all further passes would leave them too
    assert best is not None
    return best[1]


def _fixed(grid: Grid, order: Order, n_units: int) -> dict[int, int]:
    """The heights of the slots of inputs and outputs."""
    ports = _port_heights(grid, n_units)
    fixed: dict[int, int] = {}
    for slot in (*order[0], *order[-1]):
        part = grid.part(slot)
        key = (part.kind, part.port) if not part.port.startswith("state") else ("", part.port)
        if not grid.slots[slot].passes and key in ports:
            fixed[slot] = ports[key]
    return fixed


def _port_heights(grid: Grid, n_units: int) -> dict[tuple[str, str], int]:
    """Heights of inputs and outputs by kind and port; a state enters and leaves at one height.

    x is at the bottom, h above it or, if it is the only state, at the top.
    """
    states = [p.port for p in grid.parts if p.kind == "input" and p.port.startswith("state")]
    below = [p.port for p in grid.parts if p.kind == "input" and p.port.startswith("vertical")]
    outputs = [grid.parts[i] for i in _placed(grid.parts) if grid.parts[i].kind == "output"]
    above = [p.port for p in outputs if not p.port.startswith("state")]
    heights = {("input", "x"): n_units}
    heights |= {("input", port): n_units - 3 * (len(below) - k) for k, port in enumerate(below)}
    heights |= {("output", port): 3 * k for k, port in enumerate(reversed(above))}
    heights |= {("", port): 3 * (len(above) + k) for k, port in enumerate(reversed(states))}
    if len(states) > 1:
        heights["", states[0]] = n_units - 3 * (1 + len(below))
    return heights


def _spread_out(grid: Grid, order: Order, n_units: int, fixed: dict[int, int]) -> list[int]:
    """Heights to begin with: each layer in the middle, its slots as close as they may stand."""
    heights = [0] * len(grid.slots)
    for layer in order:
        at = (n_units - grid.extent(layer)) // 2
        for k, slot in enumerate(layer):
            at += grid.gap(layer[k - 1], slot) if k else 0
            heights[slot] = fixed.get(slot, at)
    return heights


def _line_costs(grid: Grid, slot: int, ends: Iterable[tuple[int, int]], n_units: int) -> list[int]:
    """Cost of all lines of a slot at each of its heights; `ends` are other slots with theirs."""
    total = [0] * (n_units + 1)
    for end, to in ends:
        weight = grid.weight(slot, end)
        total = [cost + weight * abs(at - to) + BEND for at, cost in enumerate(total)]
        total[to] -= BEND  # a straight line
    return total


def _set_layer(
    grid: Grid,
    layer: Sequence[int],
    heights: list[int],
    fixed: dict[int, int],
    n_units: int,
    side: str,
) -> None:
    """Set the best heights of a layer whose order and neighbours stay: dynamic programming."""
    infinite = float("inf")
    best: list[float] = [0.0] * (n_units + 1)
    choices: list[list[int]] = []
    for j, slot in enumerate(layer):
        first, last = not grid.before[slot], not grid.after[slot]
        ends = [*grid.before[slot]] if side != "after" or last else []
        ends += grid.after[slot] if side != "before" or first else []
        gap = grid.gap(layer[j - 1], slot) if j else 0
        lowest, choice = infinite, -1
        reached, chosen = [infinite] * (n_units + 1), [-1] * (n_units + 1)
        costs = _line_costs(grid, slot, [(end, heights[end]) for end in ends], n_units)
        for at in range(n_units + 1):
            if at - gap >= 0 and best[at - gap] < lowest:
                lowest, choice = best[at - gap], at - gap
            if slot in fixed and fixed[slot] != at:
                continue
            reached[at] = lowest + costs[at]
            chosen[at] = choice
        best = reached
        choices.append(chosen)
    at = min(range(n_units + 1), key=lambda h: best[h])
    assert best[at] < infinite, "the layer has room"
    for slot, chosen in zip(reversed(layer), reversed(choices), strict=True):
        heights[slot] = at
        at = chosen[at]
