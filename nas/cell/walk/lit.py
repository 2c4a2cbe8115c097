"""The picture of a cell, of which a step lights its part: one drawing, shown once for each step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nas.cell.graph import Graph
from nas.cell.picture.diagram import parts_of
from nas.cell.picture.drawing import picture, text_width
from nas.cell.picture.write import FONTS, Arrow, Drawn, Line, Picture, Point, Shape, Text
from nas.cell.picture.write import element as svg_of
from nas.cell.walk.steps import Step

DIM = 0.13
"""Opacity of what belongs to other steps."""
AROUND = 26.0
TITLE = 24.0
"""Pixels at the top of a picture that its title takes."""
LEAST = (330.0, 150.0)
"""Width and height of the smallest detail that is shown."""

Box = tuple[float, float, float, float]
"""Left, top, width and height."""


@dataclass(frozen=True)
class Lit:
    """A picture whose elements know the steps that light them."""

    picture: Picture
    steps_of_part: Mapping[int, frozenset[int]]
    """Places of steps, by the parts of the diagram that they compute or let out: a box is lit by
    several where values inside of it have names."""

    @cached_property
    def groups(self) -> dict[frozenset[int], int]:
        """Numbers of the sets of steps by which an element is lit."""
        found = dict.fromkeys(self.lit_by(one) for one in self.picture.drawn if one.of)
        return {steps: number for number, steps in enumerate(found)}

    def lit_by(self, one: Drawn) -> frozenset[int]:
        """The steps that light an element; none lights what is always there."""
        return frozenset().union(*(self.steps_of_part[part] for part in one.of))

    def drawing(self, name: str) -> str:
        """The drawing, to be shown by its name; it has no size of its own."""
        body, now = [], None
        for one in self.picture.drawn[:-1]:  # the page has the title
            group = self.groups[self.lit_by(one)] if one.of else None
            if group != now:
                body.append("</g>" if now is not None else "")
                body.append(
                    f'<g style="opacity:var(--g{group},{DIM})">' if group is not None else ""
                )
                now = group
            body.append(svg_of(one))
        body.append("</g>" if now is not None else "")
        return (
            '<svg width="0" height="0" style="position:absolute" aria-hidden="true">'
            f'<defs><g id="{name}" font-family="{FONTS}">{"".join(body)}</g></defs></svg>'
        )

    def shown(self, step: int | None) -> str:
        """What lights a step, or all of them, as CSS for whoever shows the drawing."""
        return ";".join(
            f"--g{number}:1"
            for steps, number in self.groups.items()
            if step is None or step in steps
        )

    @property
    def whole(self) -> Box:
        return 0.0, TITLE, self.picture.width, self.picture.height - TITLE

    def detail(self, step: int) -> Box:
        """The part of the picture that a step lights, with some room around it."""
        lit = [one for one in self.picture.drawn if step in self.lit_by(one)]
        points = [point for one in lit for point in _corners(one)]
        if not points:
            return self.whole
        xs, ys = [x for x, _ in points], [y for _, y in points]
        left, width = _span(min(xs), max(xs), LEAST[0], self.picture.width)
        top, height = _span(min(ys), max(ys), LEAST[1], self.picture.height)
        return left, top, width, height


def lit(cell: Graph, steps: Sequence[Step]) -> Lit:
    """The picture of a cell, with the steps that light its parts."""
    step_of = {i: place for place, step in enumerate(steps) for i in (*step.nodes, step.root)}
    parts = {}
    for place, part in enumerate(parts_of(cell)):
        if part.kind not in ("input", "merge"):
            computed = [i for i in part.nodes if cell.nodes[i].args] or part.nodes[:1]
            parts[place] = frozenset(step_of[i] for i in computed)
    return Lit(picture(cell), parts)


def _span(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """The beginning and the length of a stretch with room around it, inside of the picture."""
    length = min(max(high - low + 2 * AROUND, least), most)
    start = min(max((low + high - length) / 2, 0.0), most - length)
    return start, length


def _corners(one: Drawn) -> list[Point]:
    match one:
        case Line():
            return [one.start, *(point for piece in one.pieces for point in piece)]
        case Shape():
            (x, y), (w, h) = one.middle, one.size
            return [(x - w / 2, y - h / 2), (x + w / 2, y + h / 2)]
        case Arrow():
            return [one.tip]
        case Text():
            half = text_width(one.text, one.size) / 2
            return [(one.at[0] - half, one.at[1]), (one.at[0] + half, one.at[1])]
