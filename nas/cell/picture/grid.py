"""The parts of a picture in layers from left to right, as in Sugiyama et al. 1981.

A part stands right of all that it reads. A value that is read further right passes through the
layers between, in a slot of its own, and lines join slots of neighbouring layers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from nas.cell.picture.diagram import Part

ROOM = {"input": 1, "output": 1, "merge": 1, "pass": 1, "leaf": 2, "layer": 2, "point": 2}
"""Units of height on each side of the middle of a slot."""
STRAIGHT = (1, 2, 8)
"""How much a line wants to be straight, if none, one or both of its ends only pass."""
BEND = 3
"""What it costs that a line is not straight, beside how far it is from that."""


@dataclass(frozen=True)
class Slot:
    """A place in a layer: that of a part, or where its value passes."""

    part: int
    layer: int
    passes: bool = False


@dataclass(frozen=True)
class Grid:
    """Slots, and the lines between neighbouring layers as pairs of slots."""

    parts: tuple[Part, ...]
    slots: tuple[Slot, ...]
    layers: tuple[tuple[int, ...], ...]
    lines: tuple[tuple[int, int], ...]

    @cached_property
    def before(self) -> list[list[int]]:
        """Slots of the layer before from which lines come."""
        found: list[list[int]] = [[] for _ in self.slots]
        for left, right in self.lines:
            found[right].append(left)
        return found

    @cached_property
    def after(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.slots]
        for left, right in self.lines:
            found[left].append(right)
        return found

    def kind(self, slot: int) -> str:
        return "pass" if self.slots[slot].passes else self.parts[self.slots[slot].part].kind

    def gap(self, upper: int, lower: int) -> int:
        """Units between the middles of two neighbours."""
        return ROOM[self.kind(upper)] + ROOM[self.kind(lower)]

    def line_cost(self, left: int, right: int, drop: int) -> int:
        """What it costs that a line is so far from straight."""
        weight = STRAIGHT[self.slots[left].passes + self.slots[right].passes]
        return BEND * (drop != 0) + weight * abs(drop)


def placed(parts: Sequence[Part]) -> list[int]:
    """Indices of the parts that have a slot: all but a y that is the new value of a state."""
    states = {p.wires[0].source for p in parts if p.kind == "output" and p.port != "y"}
    return [i for i, p in enumerate(parts) if p.port != "y" or p.wires[0].source not in states]


def _levels(parts: tuple[Part, ...]) -> dict[int, int]:
    """The layer of each part: behind all that it reads, then where its lines are shortest."""
    here = placed(parts)
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
    for i in here:
        if parts[i].kind == "output":
            level[i] = last

    def length(i: int) -> int:
        """Of the lines that begin at a part or end there."""
        touched = [i, *{wire.source for wire in parts[i].wires}]
        return sum(
            max((level[r] for r in readers[s]), default=level[s]) - level[s] for s in touched
        )

    moved = True
    while moved:
        moved = False
        for i in reversed(here):
            if parts[i].kind in ("input", "output") or not readers[i]:
                continue
            old = level[i]
            lengths: dict[int, int] = {}
            for new in range(old, min(level[r] for r in readers[i])):
                level[i] = new
                lengths[new] = length(i)
            level[i] = min(lengths, key=lambda new: (lengths[new], new))
            moved |= level[i] != old
    return level


def grid_of(parts: tuple[Part, ...]) -> Grid:
    """Put the parts into layers, and slots where their values pass."""
    level = _levels(parts)
    slots: list[Slot] = []
    layers: list[list[int]] = [[] for _ in range(1 + max(level.values()))]
    at: dict[tuple[int, int], int] = {}
    last = {i: level[i] for i in level}
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
