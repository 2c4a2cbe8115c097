"""Where everything stands in the picture of a cell: slots of a layout as pixels."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise

from nas.cell.graph import Graph
from nas.cell.picture.diagram import Part, Wire
from nas.cell.picture.layout import Layout
from nas.cell.picture.shapes import Point, bubble_width, text_width

UNIT = 12.0
"""Pixels of a unit of height."""
RADIUS = 13.0
BOX = 34.0
TOP = 92.0
"""Pixels above the first slot."""
MARGIN = 44.0
"""Pixels between the frame and the first slot."""


class Places:
    """Of the slots of one layout, of what stands in them, and of the frame around them."""

    def __init__(self, cell: Graph, layout: Layout) -> None:
        self.cell, self.layout, self.grid = cell, layout, layout.grid
        self.left, self.right = self._columns()

    def _columns(self) -> tuple[list[float], list[float]]:
        """The left and the right side of each layer."""
        left, right = list[float](), list[float]()
        at = self.frame_left + MARGIN + sum(self.gaps_below())
        for k, layer in enumerate(self.layout.order):
            if k:
                steps = [
                    self._step(a, b) for a in self.layout.order[k - 1] for b in self.grid.after[a]
                ]
                at += 34 + 4.5 * min(12, max(steps, default=0)) + 6 * min(4, _busy(steps))
            left.append(at)
            at += max(self.size(s)[0] for s in layer)
            right.append(at)
        return left, right

    def _step(self, a: int, b: int) -> int:
        return abs(self.layout.heights[a] - self.layout.heights[b])

    def size(self, slot: int) -> Point:
        """Width and height of what stands in a slot."""
        part, kind = self.part_at(slot), self.grid.kind(slot)
        if kind in ("layer", "leaf"):
            width = max(text_width(part.label), text_width(part.name, 11))
            return max(BOX + 6, width + 14), BOX
        if kind == "point":
            return max(2 * RADIUS, text_width(part.label) + 14), 2 * RADIUS
        return 0.0, 0.0

    def y(self, slot: int) -> float:
        """The height of a slot's middle."""
        return TOP + UNIT * self.layout.heights[slot]

    def x(self, slot: int) -> float:
        """The middle of a slot."""
        layer = self.grid.slots[slot].layer
        return (self.left[layer] + self.right[layer]) / 2

    @cached_property
    def frame_left(self) -> float:
        """Where the frame begins: right of the labels of the states."""
        labels = [text_width(state.name) for state in self.cell.states]
        return 30 + max(labels) + 0.72 * text_width("t−1")

    @cached_property
    def frame(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the box that is the cell."""
        ups = sum(bubble_width(label) + 4 for label, _ in self.ups())
        bottom = TOP + UNIT * self.layout.n_units + 30
        return self.frame_left, TOP - 26, self.right[-1] + 14 + ups, bottom

    def gaps_below(self) -> list[float]:
        """Between neighbours of what comes from below: verticals, then x."""
        widths = [bubble_width(name) for name in (*self.cell.verticals, "x")]
        return [(a + b) / 2 + 4 for a, b in pairwise(widths)]

    def leaves(self, slot: int) -> Point:
        """Where lines from a slot begin."""
        return self.x(slot) + self.size(slot)[0] / 2, self.y(slot)

    def arrives(self, source: int, slot: int) -> Iterator[tuple[Wire | None, Point]]:
        """The wires by which a slot reads a part, and where each ends."""
        if self.grid.slots[slot].passes:
            yield None, (self.right[self.grid.slots[slot].layer], self.y(slot))
        else:
            yield from (one for one in self.ports(slot) if one[0].source == source)

    def _height_before(self, source: int, slot: int) -> int:
        """At which height a value is in the layer before a slot."""
        before = next(s for s in self.grid.before[slot] if self.grid.slots[s].part == source)
        return self.layout.heights[before]

    def ports(self, slot: int) -> Iterator[tuple[Wire, Point]]:
        """Where lines end at a part: a straight one in the middle, the others above and below."""
        wires = sorted(
            self.part_at(slot).wires,
            key=lambda wire: (self._height_before(wire.source, slot), wire.elementwise),
        )
        width, height = self.size(slot)
        x, y, here = self.x(slot), self.y(slot), self.layout.heights[slot]
        kind = self.grid.kind(slot)
        heights = [self._height_before(wire.source, slot) for wire in wires]
        if kind in ("merge", "output") or len(wires) == 1:
            offsets = [0.0] * len(wires)
        else:
            step = min(9.0, (height - 8) / (len(wires) - 1))
            middle = (len(wires) - 1) / 2
            if here in heights and heights.count(here) == 1 and len(wires) == 2:
                middle = heights.index(here)
            offsets = [step * (j - middle) for j in range(len(wires))]
        for wire, offset in zip(wires, offsets, strict=True):
            inset = 0.0
            if kind == "point":
                radius = height / 2
                inset = radius - math.sqrt(max(0.0, radius**2 - offset**2))
            yield wire, (x - width / 2 + inset, y + offset)

    def part_at(self, slot: int) -> Part:
        """What stands in a slot, or passes through it."""
        return self.grid.parts[self.grid.slots[slot].part]

    def ups(self) -> list[tuple[str, int]]:
        """What leaves at the top: labels, and the slots of the last layer where it comes from."""
        outputs = [
            (part, slot)
            for slot in self.layout.order[-1]
            if not (part := self.part_at(slot)).port.startswith("state")
        ]
        found = [(part.label, slot) for part, slot in outputs]
        y = self.grid.parts[-1]
        if all(part is not y for part, _ in outputs):
            source = y.wires[0].source
            found.append(
                (
                    y.label,
                    next(
                        slot
                        for slot in self.layout.order[-1]
                        if self.part_at(slot).wires[0].source == source
                    ),
                )
            )
        return sorted(found, key=lambda one: self.y(one[1]))


def _busy(steps: Sequence[int]) -> int:
    return sum(step > 2 for step in steps)
