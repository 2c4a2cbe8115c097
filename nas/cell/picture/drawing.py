"""A cell as a picture: lines, boxes and text at their pixels, as data for `write.py`.

The picture is in the tradition of Olah 2015, "Understanding LSTM Networks": states run from left to
right, x comes from below, y leaves at the top; learned layers are boxes, other operations circles,
and lines that flow together are values that are read together. Dashed lines are peepholes; minus
and "÷" stand at what is subtracted or divided by.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

from nas.cell.graph import Graph
from nas.cell.picture.diagram import Wire, parts_of
from nas.cell.picture.layout import Layout, place
from nas.cell.picture.write import INK, Arrow, Drawn, Line, Parts, Picture, Point, Shape, Text

FRAME, LAYER, POINT = "#edf5ea", "#fff2a8", "#f9c6c6"
EDGES = {FRAME: "#9dbf94", LAYER: "#c9a400", POINT: "#cf6f6f"}
INPUT_INK, STATE_INKS = "#2b6cb0", ("#1f7a4d", "#7b3fa0", "#b3541e", "#00798c", "#8a6d00")
X_FILL, Y_FILL = "#cfe3f7", "#e6d5f2"

UNIT = 12.0
"""Pixels of a unit of height."""
RADIUS = 13.0
BOX = 34.0
TOP = 92.0
"""Pixels above the first slot."""
MARGIN = 44.0
"""Pixels between the frame and the first slot."""


def picture(cell: Graph) -> Picture:
    """Draw a cell."""
    return _Drawing(cell, place(parts_of(cell))).picture()


def text_width(text: str, size: float = 13.0) -> float:
    """About how many pixels a text is wide."""
    return sum(0.34 if c in " il.,()|·" else 0.62 for c in text) * size


def _bubble_width(label: str) -> float:
    return max(30.0, text_width(label) + 18)


def _bubble(at: Point, label: str, fill: str) -> Iterator[Drawn]:
    """A round label with the time as its index: what comes from below or leaves at the top."""
    yield Shape(at, (_bubble_width(label), 30.0), 15.0, fill, "#8899aa")
    yield Text(at, label, "t", italic=True)


def _belonging(parts: Parts, drawn: Iterable[Drawn]) -> Iterator[Drawn]:
    return (replace(one, of=parts) for one in drawn)


def _joined(start: Point, out: Point, into: Point, end: Point) -> tuple[tuple[Point, ...], ...]:
    """Pieces of a line: straight out of a layer, a curve to the next one, straight to the end."""
    middle = (out[0] + into[0]) / 2
    if abs(out[1] - into[1]) < 0.5:
        return ((end,),)
    return ((out,), ((middle, out[1]), (middle, into[1]), into), (end,))


class _Drawing:
    """The slots of one layout as pixels, and what is drawn there."""

    def __init__(self, cell: Graph, layout: Layout) -> None:
        self.cell, self.layout, self.grid = cell, layout, layout.grid
        self.left, self.right = self._columns()
        self.behind: dict[int, Parts] = {}
        """The parts that read, at a slot or behind it, the value that comes to it."""

    def picture(self) -> Picture:
        left, top, right, bottom = self.frame
        middle = ((left + right) / 2, (top + bottom) / 2)
        frame = Shape(middle, (right - left, bottom - top), 18, FRAME, EDGES[FRAME], 1.5)
        drawn: list[Drawn] = [frame]
        slots = [slot for slot, s in enumerate(self.grid.slots) if not s.passes]
        for slot in slots:
            drawn += self._lines(slot)
        drawn += self._inputs()
        drawn += self._outputs()
        for slot in slots:
            drawn += _belonging(frozenset({self.grid.slots[slot].part}), self._part(slot))
        title = Text((left, 20), self.cell.name, size=16, anchor="start", bold=True)
        label = max(text_width(state.name) for state in self.cell.states)
        width = max(right + 45 + label, left + text_width(self.cell.name, 17) + 20)
        states = ", ".join(state.name for state in self.cell.states)
        about = f"A recurrent cell with the states {states}.\n\n{self.cell}".strip()
        return Picture(self.cell.name, about, width, bottom + 74, (*drawn, title))

    # --- where things stand ---

    def _columns(self) -> tuple[list[float], list[float]]:
        """The left and the right side of each layer; steep lines need more room between layers."""
        left, right = list[float](), list[float]()
        at = self.frame_left + MARGIN + sum(self._gaps_below())
        heights = self.layout.heights
        for k, layer in enumerate(self.layout.order):
            if k:
                before = self.layout.order[k - 1]
                steps = [abs(heights[a] - heights[b]) for a in before for b in self.grid.after[a]]
                steep = sum(step > 2 for step in steps)
                at += 34 + 4.5 * min(12, max(steps, default=0)) + 6 * min(4, steep)
            left.append(at)
            at += max(self._size(s)[0] for s in layer)
            right.append(at)
        return left, right

    def _size(self, slot: int) -> Point:
        """Width and height of what stands in a slot."""
        part, kind = self.grid.part(slot), self.grid.kind(slot)
        if kind in ("layer", "leaf"):
            width = max(text_width(part.label), text_width(part.name, 11))
            return max(BOX + 6, width + 14), BOX
        if kind == "point":
            return max(2 * RADIUS, text_width(part.label) + 14), 2 * RADIUS
        return 0.0, 0.0

    def _at(self, slot: int) -> Point:
        """The middle of a slot."""
        layer = self.grid.slots[slot].layer
        x = (self.left[layer] + self.right[layer]) / 2
        return x, TOP + UNIT * self.layout.heights[slot]

    @cached_property
    def frame_left(self) -> float:
        """The left side of the frame, right of the labels of the states."""
        labels = [text_width(state.name) for state in self.cell.states]
        return 30 + max(labels) + 0.72 * text_width("t−1")

    @cached_property
    def frame(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the box that is the cell."""
        ups = sum(_bubble_width(label) + 4 for label, _ in self._ups())
        bottom = TOP + UNIT * self.layout.n_units + 30
        return self.frame_left, TOP - 26, self.right[-1] + 14 + ups, bottom

    def _gaps_below(self) -> list[float]:
        """Pixels between neighbours of what comes from below: verticals, then x."""
        widths = [_bubble_width(name) for name in (*self.cell.verticals, "x")]
        return [(a + b) / 2 + 4 for a, b in pairwise(widths)]

    def _ups(self) -> list[tuple[str, int]]:
        """Labels of what leaves at the top, each with the slot of the last layer it comes from."""
        last = self.layout.order[-1]
        ups = [
            (self.grid.part(slot).label, slot)
            for slot in last
            if not self.grid.part(slot).port.startswith("state")
        ]
        y = self.grid.parts[-1]
        if all(self.grid.part(slot) is not y for slot in last):
            source = y.wires[0].source
            ups.append((y.label, next(s for s in last if self._source(s) == source)))
        return sorted(ups, key=lambda up: self._at(up[1])[1])

    def _source(self, slot: int) -> int:
        """The part whose value an output is."""
        return self.grid.part(slot).wires[0].source

    def _ports(self, slot: int) -> list[tuple[Wire, Point]]:
        """Ends of the lines into a part: a straight one in the middle, others above and below."""
        height_before = {
            self.grid.slots[s].part: self.layout.heights[s] for s in self.grid.before[slot]
        }
        wires = sorted(
            self.grid.part(slot).wires,
            key=lambda wire: (height_before[wire.source], wire.elementwise),
        )
        (width, height), (x, y) = self._size(slot), self._at(slot)
        kind, here = self.grid.kind(slot), self.layout.heights[slot]
        heights = [height_before[wire.source] for wire in wires]
        if kind in ("merge", "output") or len(wires) == 1:
            offsets = [0.0] * len(wires)
        else:
            step = min(9.0, (height - 8) / (len(wires) - 1))
            middle = (len(wires) - 1) / 2
            if heights.count(here) == 1 and len(wires) == 2:
                middle = heights.index(here)
            offsets = [step * (j - middle) for j in range(len(wires))]
        ports = []
        for wire, offset in zip(wires, offsets, strict=True):
            radius = height / 2
            inset = radius - math.sqrt(max(0.0, radius**2 - offset**2)) if kind == "point" else 0.0
            ports.append((wire, (x - width / 2 + inset, y + offset)))
        return ports

    def _ink(self, part: int) -> str:
        """The colour of a part's value: inputs have colours, all else is grey."""
        kind, _, number = self.grid.parts[part].port.partition(" ")
        if self.grid.parts[part].kind != "input":
            return INK
        return STATE_INKS[int(number) % len(STATE_INKS)] if kind == "state" else INPUT_INK

    def _readers(self, slot: int) -> Parts:
        """The parts that read a slot's value behind it; a merge stands for those that read it."""
        return frozenset().union(*map(self._behind, self.grid.after[slot]))

    def _behind(self, there: int) -> Parts:
        """The parts that read a value that comes to a slot, there or behind it."""
        if there not in self.behind:
            passes = self.grid.slots[there].passes or self.grid.kind(there) == "merge"
            part = frozenset({self.grid.slots[there].part})
            self.behind[there] = self._readers(there) if passes else part
        return self.behind[there]

    # --- what is drawn ---

    def _lines(self, slot: int) -> Iterator[Drawn]:
        """The lines of a part's value, from its slot to all that read it."""
        part = self.grid.slots[slot].part
        ink, here = self._ink(part), [slot]
        while here:
            [start_slot], here = here, []
            layer = self.grid.slots[start_slot].layer
            (x, y), width = self._at(start_slot), self._size(start_slot)[0]
            start = (x + width / 2, y)
            for there in self.grid.after[start_slot]:
                channel = self.left[self.grid.slots[there].layer]
                if self.grid.slots[there].part == part:
                    here = [there]
                    end = (self.right[self.grid.slots[there].layer], self._at(there)[1])
                    pieces = _joined(start, (self.right[layer], y), (channel, end[1]), end)
                    yield Line(start, pieces, ink, of=self._behind(there))
                    continue
                ports = self._ports(there)
                for wire, end in (port for port in ports if port[0].source == part):
                    of = self._behind(there)
                    pieces = _joined(start, (self.right[layer], y), (channel, end[1]), end)
                    yield Line(start, pieces, ink, dashed=wire.elementwise, of=of)
                    if self.grid.kind(there) in ("layer", "point"):
                        yield Arrow(end, "right", ink, of)
                    if wire.mark:
                        below = all(end[1] >= port[1] for _, port in ports)
                        at = (end[0] - 4, end[1] + (10 if below else -10))
                        yield Text(at, wire.mark, size=14, of=of)

    def _part(self, slot: int) -> Iterator[Drawn]:
        part, kind = self.grid.part(slot), self.grid.kind(slot)
        if kind not in ("layer", "leaf", "point"):
            return
        (x, y), size = self._at(slot), self._size(slot)
        fill = POINT if kind == "point" else LAYER
        yield Shape((x, y), size, 5 if kind != "point" else RADIUS, fill, EDGES[fill])
        named = bool(part.name) and kind != "point"
        size_of_label = 13 if len(part.label) > 1 else 16
        yield Text((x, y - 5 if named else y), part.label, size=size_of_label)
        if named:
            yield Text((x, y + 9), part.name, size=11, italic=True, ink="#555555")
        if part.note:
            yield Text((x, y + size[1] / 2 + 7), part.note, size=9.5, ink="#555555")

    def _inputs(self) -> Iterator[Drawn]:
        """States from the left; x, and what comes from the layer below, from below."""
        slots = [s for s in self.layout.order[0] if self.grid.kind(s) == "input"]
        below = [s for s in slots if not self.grid.part(s).port.startswith("state")]
        below.sort(key=lambda s: self._at(s)[1])
        for slot in slots:
            gaps = self._gaps_below()[below.index(slot) :] if slot in below else None
            yield from _belonging(self._readers(slot), self._input(slot, gaps))

    def _input(self, slot: int, gaps: list[float] | None) -> Iterator[Drawn]:
        """One of them, with the gaps to its right if it comes from below."""
        left, _, _, bottom = self.frame
        label, end = self.grid.part(slot).label, self._at(slot)
        ink = self._ink(self.grid.slots[slot].part)
        if gaps is None:
            yield Line((left - 14, end[1]), ((end,),), ink)
            at = (left - 18, end[1])
            yield Text(at, label, "t−1", anchor="end", italic=True, ink=ink)
            return
        x = end[0] - 14 - sum(gaps)
        turn = ((x, end[1] + 12), (x, end[1]), (x + 14, end[1]))
        yield Line((x, bottom + 26), (((x, end[1] + 16),), turn, (end,)), ink)
        yield Arrow((x, bottom), "up", ink)
        yield from _bubble((x, bottom + 42), label, X_FILL)

    def _outputs(self) -> Iterator[Drawn]:
        """States to the right; y, and what the layer above gets, at the top."""
        for slot in self.layout.order[-1]:
            if self.grid.part(slot).port.startswith("state"):
                of = frozenset({self.grid.slots[slot].part})
                yield from _belonging(of, self._new_state(slot))
        x = self._at(self.layout.order[-1][0])[0]
        for label, slot in self._ups():
            x += _bubble_width(label) / 2 + 4
            of = frozenset({self.grid.slots[slot].part})
            yield from _belonging(of, self._up(label, slot, x))
            x += _bubble_width(label) / 2

    def _new_state(self, slot: int) -> Iterator[Drawn]:
        """The new value of a state."""
        part, (x, y), right = self.grid.part(slot), self._at(slot), self.frame[2]
        ink, number = self._ink(self._source(slot)), int(part.port.removeprefix("state "))
        yield Line((x, y), (((right + 10, y),),), ink)
        yield Arrow((right + 16, y), "right", ink)
        own = STATE_INKS[number % len(STATE_INKS)]
        yield Text((right + 22, y), part.label, "t", anchor="start", italic=True, ink=own)

    def _up(self, label: str, slot: int, x: float) -> Iterator[Drawn]:
        """What leaves at the top, at a place from the left."""
        top, start, ink = self.frame[1], self._at(slot), self._ink(self._source(slot))
        y = start[1]
        turn = ((x, y), (x, y), (x, y - 14))
        if y - 14 > top:
            yield Line((x, y - 18), (((x, top + 4),),), FRAME, 6)
        yield Line(start, (((x - 14, y),), turn, ((x, top - 2),)), ink)
        yield Arrow((x, top - 8), "up", ink)
        yield from _bubble((x, top - 23), label, Y_FILL)
