"""A cell as a picture: what is drawn, as data, which `nas/cell/picture/write.py` writes.

The picture is in the tradition of Olah 2015, "Understanding LSTM Networks": states run from left to
right, x comes from below, y leaves at the top; learned layers are boxes, other operations circles,
and lines that flow together are values that are read together. Dashed lines are peepholes; minus
and "÷" stand at what is subtracted or divided by.
"""

from collections.abc import Iterator

from nas.cell.graph import Graph
from nas.cell.picture.diagram import parts_of
from nas.cell.picture.grid import Grid
from nas.cell.picture.layout import Layout, place
from nas.cell.picture.places import RADIUS, Places
from nas.cell.picture.shapes import (
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

FRAME, LAYER, POINT = "#edf5ea", "#fff2a8", "#f9c6c6"
EDGES = {FRAME: "#9dbf94", LAYER: "#c9a400", POINT: "#cf6f6f"}
INPUT_INK, STATE_INKS = "#2b6cb0", ("#1f7a4d", "#7b3fa0", "#b3541e", "#00798c", "#8a6d00")
X_FILL, Y_FILL = "#cfe3f7", "#e6d5f2"


def picture(cell: Graph) -> Picture:
    """Draw a cell."""
    return _Drawing(cell, place(parts_of(cell))).picture()


class _Drawing:
    def __init__(self, cell: Graph, layout: Layout) -> None:
        self.cell, self.layout, self.grid = cell, layout, layout.grid
        self.places = Places(cell, layout)
        self.inks = self._inks(self.grid)
        self.slot_of = {s.part: i for i, s in enumerate(self.grid.slots) if not s.passes}

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

    def picture(self) -> Picture:
        left, top, right, bottom = self.places.frame
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
            start = self.places.leaves(here)
            side = self.places.right[self.grid.slots[here].layer]
            for there in self.grid.after[here]:
                for wire, end in self.places.arrives(i, there):
                    channel = self.places.left[self.grid.slots[there].layer]
                    pieces = joined(start, (side, start[1]), (channel, end[1]), end)
                    dashed = wire is not None and wire.elementwise
                    yield Line(start, pieces, ink, dashed=dashed)
                    if self.grid.kind(there) in ("layer", "point"):
                        yield Arrow(end, "right", ink)
                    if wire and wire.mark:
                        below = all(end[1] >= port[1] for _, port in self.places.ports(there))
                        yield Text(
                            (end[0] - 4, end[1] + (10 if below else -10)), wire.mark, size=14
                        )

    def _part(self, slot: int) -> Iterator[Drawn]:
        part, kind = self.places.part_at(slot), self.grid.kind(slot)
        if kind not in ("layer", "leaf", "point"):
            return
        at, size = (self.places.x(slot), self.places.y(slot)), self.places.size(slot)
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
        left, _, _, bottom = self.places.frame
        slots = [s for s in self.layout.order[0] if self.grid.kind(s) == "input"]
        below = [s for s in slots if not self.places.part_at(s).port.startswith("state")]
        below.sort(key=self.places.y)
        for slot in slots:
            part, end = self.places.part_at(slot), (self.places.x(slot), self.places.y(slot))
            ink = self.inks[self.grid.slots[slot].part]
            if slot not in below:
                yield Line((left - 14, end[1]), ((end,),), ink)
                yield Text(
                    (left - 18, end[1]), part.label, "t−1", anchor="end", italic=True, ink=ink
                )
                continue
            x = end[0] - 14 - sum(self.places.gaps_below()[below.index(slot) :])
            turn = ((x, end[1] + 12), (x, end[1]), (x + 14, end[1]))
            start = (x, bottom + 26)
            pieces: tuple[tuple[Point, ...], ...] = (((x, end[1] + 16),), turn, (end,))
            yield Line(start, pieces, ink)
            yield Arrow((x, bottom), "up", ink)
            yield from bubble((x, bottom + 42), part.label, X_FILL)

    def _outputs(self) -> Iterator[Drawn]:
        _, top, right, _ = self.places.frame
        for slot in self.layout.order[-1]:
            part, start = self.places.part_at(slot), (self.places.x(slot), self.places.y(slot))
            number = part.port.removeprefix("state ")
            if number == part.port:
                continue
            ink = STATE_INKS[int(number) % len(STATE_INKS)]
            yield Line(start, (((right + 10, start[1]),),), self._ink_of(slot))
            yield Arrow((right + 16, start[1]), "right", self._ink_of(slot))
            yield Text(
                (right + 22, start[1]), part.label, "t", anchor="start", italic=True, ink=ink
            )
        x = self.places.x(self.layout.order[-1][0])
        for label, slot in self.places.ups():
            x += bubble_width(label) / 2 + 4
            start = (self.places.x(slot), self.places.y(slot))
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
        return self.inks[self.places.part_at(slot).wires[0].source]
