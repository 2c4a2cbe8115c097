"""A cell as a picture: what is drawn, as data, which `nas/cell/draw_write.py` writes.

The picture is in the tradition of Olah 2015, "Understanding LSTM Networks": states run from left to
right, x comes from below, y leaves at the top; learned layers are boxes, other operations circles,
and lines that flow together are values that are read together. Dashed lines are peepholes; minus
and "÷" stand at what is subtracted or divided by.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise

from nas.cell.diagram import Part, Wire, parts_of
from nas.cell.draw_shapes import (
    INK,
    Arrow,
    Drawn,
    Line,
    Picture,
    Point,
    Shape,
    Text,
    bubble,
    bubble_width,
    joined,
    text_width,
)
from nas.cell.graph import Cell
from nas.cell.layout import Layout, place
from nas.cell.layout_grid import Grid

UNIT = 12.0
"""Pixels of a unit of height."""
RADIUS = 13.0
BOX = 34.0
TOP = 92.0
"""Pixels above the first slot."""
MARGIN = 44.0
"""Pixels between the frame and the first slot."""
FRAME, LAYER, POINT = "#edf5ea", "#fff2a8", "#f9c6c6"
EDGES = {FRAME: "#9dbf94", LAYER: "#c9a400", POINT: "#cf6f6f"}
INPUT_INK, STATE_INKS = "#2b6cb0", ("#1f7a4d", "#7b3fa0", "#b3541e", "#00798c", "#8a6d00")
X_FILL, Y_FILL = "#cfe3f7", "#e6d5f2"


def picture(cell: Cell) -> Picture:
    """Draw a cell."""
    return _Drawing(cell, place(parts_of(cell))).picture()


class _Drawing:
    def __init__(self, cell: Cell, layout: Layout) -> None:
        self.cell, self.layout, self.grid = cell, layout, layout.grid
        self.inks = self._inks(self.grid)
        self.slot_of = {s.part: i for i, s in enumerate(self.grid.slots) if not s.passes}
        self.left, self.right = self._columns()

    @staticmethod
    def _inks(grid: Grid) -> list[str]:
        """Inputs have colours, all else is grey."""
        inks = [INK] * len(grid.parts)
        for i, part in enumerate(grid.parts):
            if part.kind == "input":
                kind, _, number = part.port.partition(" ")
                state = STATE_INKS[int(number or 0) % len(STATE_INKS)]
                inks[i] = state if kind == "state" else INPUT_INK
        return inks

    # places

    def _columns(self) -> tuple[list[float], list[float]]:
        """The left and the right side of each layer."""
        left, right, at = (
            list[float](),
            list[float](),
            self.frame_left + MARGIN + sum(self._gaps_below()),
        )
        for k, layer in enumerate(self.layout.order):
            if k:
                steps = [
                    self._step(a, b) for a in self.layout.order[k - 1] for b in self.grid.after[a]
                ]
                at += 34 + 4.5 * min(12, max(steps, default=0)) + 6 * min(4, _busy(steps))
            left.append(at)
            at += max(self._size(s)[0] for s in layer)
            right.append(at)
        return left, right

    def _step(self, a: int, b: int) -> int:
        return abs(self.layout.heights[a] - self.layout.heights[b])

    def _size(self, slot: int) -> Point:
        """Width and height of what stands in a slot."""
        part, kind = self._part_at(slot), self.grid.kind(slot)
        if kind in ("layer", "leaf"):
            width = max(text_width(part.label), text_width(part.name, 11))
            return max(BOX + 6, width + 14), BOX
        if kind == "point":
            return max(2 * RADIUS, text_width(part.label) + 14), 2 * RADIUS
        return 0.0, 0.0

    def _y(self, slot: int) -> float:
        return TOP + UNIT * self.layout.heights[slot]

    def _x(self, slot: int) -> float:
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
        ups = sum(bubble_width(label) + 4 for label, _ in self._ups())
        bottom = TOP + UNIT * self.layout.n_units + 30
        return self.frame_left, TOP - 26, self.right[-1] + 14 + ups, bottom

    def _gaps_below(self) -> list[float]:
        """Between neighbours of what comes from below: verticals, then x."""
        widths = [bubble_width(name) for name in (*self.cell.verticals, "x")]
        return [(a + b) / 2 + 4 for a, b in pairwise(widths)]

    # what is drawn

    def picture(self) -> Picture:
        left, top, right, bottom = self.frame
        middle = ((left + right) / 2, (top + bottom) / 2)
        frame = Shape(middle, (right - left, bottom - top), 18, FRAME, EDGES[FRAME], 1.5)
        drawn: list[Drawn] = [frame]
        for slot, s in enumerate(self.grid.slots):
            drawn += self._lines(slot) if not s.passes else ()
        drawn += self._inputs()
        drawn += self._outputs()
        for slot in self.slot_of.values():
            drawn += self._part(slot)
        title = Text((left, 20), self.cell.name, size=16, anchor="start", bold=True)
        label = max(text_width(state.name) for state in self.cell.states)
        width = max(right + 45 + label, left + text_width(self.cell.name, 17) + 20)
        return Picture(self.cell.name, self._about(), width, bottom + 74, (*drawn, title))

    def _about(self) -> str:
        states = ", ".join(state.name for state in self.cell.states)
        return f"A recurrent cell with the states {states}.\n\n{self.cell}".strip()

    def _lines(self, slot: int) -> Iterator[Drawn]:
        """The lines of a part's value, from its slot to all that read it."""
        i = self.grid.slots[slot].part
        ink = self.inks[i]
        wanted, at = [slot], slot
        while following := [s for s in self.grid.after[at] if self.grid.slots[s].part == i]:
            [at] = following
            wanted.append(at)
        for here in wanted:
            start = self._leaves(here)
            side = self.right[self.grid.slots[here].layer]
            for there in self.grid.after[here]:
                for wire, end in self._arrives(i, there):
                    channel = self.left[self.grid.slots[there].layer]
                    pieces = joined(start, (side, start[1]), (channel, end[1]), end)
                    dashed = wire is not None and wire.elementwise
                    yield Line(start, pieces, ink, dashed=dashed)
                    if self.grid.kind(there) in ("layer", "point"):
                        yield Arrow(end, "right", ink)
                    if wire and wire.mark:
                        below = all(end[1] >= port[1] for _, port in self._ports(there))
                        yield Text(
                            (end[0] - 4, end[1] + (10 if below else -10)), wire.mark, size=14
                        )

    def _leaves(self, slot: int) -> Point:
        """Where lines from a slot begin."""
        return self._x(slot) + self._size(slot)[0] / 2, self._y(slot)

    def _arrives(self, source: int, slot: int) -> Iterator[tuple[Wire | None, Point]]:
        """The wires by which a slot reads a part, and where each ends."""
        if self.grid.slots[slot].passes:
            yield None, (self.right[self.grid.slots[slot].layer], self._y(slot))
        else:
            yield from (one for one in self._ports(slot) if one[0].source == source)

    def _height_before(self, source: int, slot: int) -> int:
        """At which height a value is in the layer before a slot."""
        before = next(s for s in self.grid.before[slot] if self.grid.slots[s].part == source)
        return self.layout.heights[before]

    def _ports(self, slot: int) -> Iterator[tuple[Wire, Point]]:
        """Where lines end at a part: a straight one in the middle, the others above and below."""
        wires = sorted(
            self._part_at(slot).wires,
            key=lambda wire: (self._height_before(wire.source, slot), wire.elementwise),
        )
        width, height = self._size(slot)
        x, y, here = self._x(slot), self._y(slot), self.layout.heights[slot]
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

    def _part(self, slot: int) -> Iterator[Drawn]:
        part, kind = self._part_at(slot), self.grid.kind(slot)
        if kind not in ("layer", "leaf", "point"):
            return
        at, size = (self._x(slot), self._y(slot)), self._size(slot)
        fill = POINT if kind == "point" else LAYER
        yield Shape(at, size, 5 if kind != "point" else RADIUS, fill, EDGES[fill])
        named = bool(part.name) and kind != "point"
        size_of_label = 13 if len(part.label) > 1 else 16
        yield Text((at[0], at[1] - 5 if named else at[1]), part.label, size=size_of_label)
        if named:
            yield Text((at[0], at[1] + 9), part.name, size=11, italic=True, ink="#555555")
        if part.note:
            yield Text((at[0], at[1] + size[1] / 2 + 7), part.note, size=9.5, ink="#555555")

    def _inputs(self) -> Iterator[Drawn]:
        """States from the left; x, and what comes from the layer below, from below."""
        left, _, _, bottom = self.frame
        slots = [s for s in self.layout.order[0] if self.grid.kind(s) == "input"]
        below = [s for s in slots if not self._part_at(s).port.startswith("state")]
        below.sort(key=self._y)
        for slot in slots:
            part, end = self._part_at(slot), (self._x(slot), self._y(slot))
            ink = self.inks[self.grid.slots[slot].part]
            if slot not in below:
                yield Line((left - 14, end[1]), ((end,),), ink)
                yield Text(
                    (left - 18, end[1]), part.label, "t−1", anchor="end", italic=True, ink=ink
                )
                continue
            x = end[0] - 14 - sum(self._gaps_below()[below.index(slot) :])
            turn = ((x, end[1] + 12), (x, end[1]), (x + 14, end[1]))
            start = (x, bottom + 26)
            pieces: tuple[tuple[Point, ...], ...] = (((x, end[1] + 16),), turn, (end,))
            yield Line(start, pieces, ink)
            yield Arrow((x, bottom), "up", ink)
            yield from bubble((x, bottom + 42), part.label, X_FILL)

    def _part_at(self, slot: int) -> Part:
        return self.grid.parts[self.grid.slots[slot].part]

    def _ups(self) -> list[tuple[str, int]]:
        """What leaves at the top: labels, and the slots of the last layer where it comes from."""
        outputs = [
            (part, slot)
            for slot in self.layout.order[-1]
            if not (part := self._part_at(slot)).port.startswith("state")
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
                        if self._part_at(slot).wires[0].source == source
                    ),
                )
            )
        return sorted(found, key=lambda one: self._y(one[1]))

    def _outputs(self) -> Iterator[Drawn]:
        _, top, right, _ = self.frame
        for slot in self.layout.order[-1]:
            part, start = self._part_at(slot), (self._x(slot), self._y(slot))
            number = part.port.removeprefix("state ")
            if number == part.port:
                continue
            ink = STATE_INKS[int(number) % len(STATE_INKS)]
            yield Line(start, (((right + 10, start[1]),),), self._ink_of(slot))
            yield Arrow((right + 16, start[1]), "right", self._ink_of(slot))
            yield Text(
                (right + 22, start[1]), part.label, "t", anchor="start", italic=True, ink=ink
            )
        x = self._x(self.layout.order[-1][0])
        for label, slot in self._ups():
            x += bubble_width(label) / 2 + 4
            start = (self._x(slot), self._y(slot))
            turn = ((x, start[1]), (x, start[1]), (x, start[1] - 14))
            begun = (x - 14, start[1])
            pieces: tuple[tuple[Point, ...], ...] = ((begun,), turn, ((x, top - 2),))
            if start[1] - 14 > top:
                yield Line((x, start[1] - 18), (((x, top + 4),),), FRAME, 6)
            yield Line(start, pieces, self._ink_of(slot))
            yield Arrow((x, top - 8), "up", self._ink_of(slot))
            yield from bubble((x, top - 23), label, Y_FILL)
            x += bubble_width(label) / 2

    def _ink_of(self, slot: int) -> str:
        return self.inks[self._part_at(slot).wires[0].source]


def _busy(steps: Sequence[int]) -> int:
    return sum(step > 2 for step in steps)
