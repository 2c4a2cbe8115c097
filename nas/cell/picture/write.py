"""A picture as data, and two writers of it: SVG without any library, and PNG by matplotlib."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape

from nas.errors import UserError

if TYPE_CHECKING:
    from matplotlib.artist import Artist

Point = tuple[float, float]
"""Pixels from the left and from the top."""
Parts = frozenset[int]
"""The parts of the diagram that something belongs to; what belongs to none is always there."""
INK, PAPER = "#333333", "#ffffff"


@dataclass(frozen=True)
class Line:
    """A line of straight and curved pieces.

    A piece of one point is a straight line to it; one of three is a cubic curve, given by its two
    handles and its end.
    """

    start: Point
    pieces: tuple[tuple[Point, ...], ...]
    ink: str = INK
    width: float = 1.8
    dashed: bool = False
    of: Parts = frozenset()


@dataclass(frozen=True)
class Shape:
    """A filled box with round corners; an ellipse where they are as large as can be."""

    middle: Point
    size: Point
    radius: float
    fill: str
    ink: str
    width: float = 1.2
    of: Parts = frozenset()


@dataclass(frozen=True)
class Arrow:
    """The filled head of an arrow."""

    tip: Point
    towards: Literal["right", "up"]
    ink: str
    of: Parts = frozenset()


@dataclass(frozen=True)
class Text:
    """A line of text, centred at a height."""

    at: Point
    text: str
    sub: str = ""
    size: float = 13.0
    anchor: Literal["start", "middle", "end"] = "middle"
    italic: bool = False
    bold: bool = False
    ink: str = "#111111"
    of: Parts = frozenset()


Drawn = Line | Shape | Arrow | Text


@dataclass(frozen=True)
class Picture:
    """A whole picture, in pixels from the upper left corner; elements are drawn in their order."""

    title: str
    about: str
    width: float
    height: float
    drawn: tuple[Drawn, ...]


SIDES: dict[str, Literal["left", "center", "right"]] = {
    "start": "left",
    "middle": "center",
    "end": "right",
}
"""The anchors of text, as matplotlib calls them."""
HEAD = 8.0
"""Pixels of the head of an arrow."""
FONTS = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def head(arrow: Arrow) -> tuple[Point, Point, Point]:
    """The corners of the head of an arrow."""
    x, y = arrow.tip
    if arrow.towards == "right":
        return (x, y), (x - HEAD, y - HEAD / 2), (x - HEAD, y + HEAD / 2)
    return (x, y), (x - HEAD / 2, y + HEAD), (x + HEAD / 2, y + HEAD)


# --- SVG ---


def svg(picture: Picture) -> str:
    """The picture as a self-contained SVG file, with its title and its equations as description."""
    width, height = math.ceil(picture.width), math.ceil(picture.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="{FONTS}">',
        f"<title>{escape(picture.title)}</title>",
        f"<desc>{escape(picture.about)}</desc>",
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        *map(element, picture.drawn),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _n(value: float) -> str:
    """A number of pixels, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def element(drawn: Drawn) -> str:
    """One element of the drawing of an SVG file."""
    match drawn:
        case Line():
            dash = ' stroke-dasharray="5 4"' if drawn.dashed else ""
            return (
                f'<path d="{_path(drawn)}" fill="none" stroke="{drawn.ink}" '
                f'stroke-width="{_n(drawn.width)}"{dash}/>'
            )
        case Shape():
            (x, y), (w, h) = drawn.middle, drawn.size
            return (
                f'<rect x="{_n(x - w / 2)}" y="{_n(y - h / 2)}" width="{_n(w)}" '
                f'height="{_n(h)}" rx="{_n(drawn.radius)}" fill="{drawn.fill}" '
                f'stroke="{drawn.ink}" stroke-width="{_n(drawn.width)}"/>'
            )
        case Arrow():
            corners = " ".join(f"{_n(x)},{_n(y)}" for x, y in head(drawn))
            return f'<polygon points="{corners}" fill="{drawn.ink}"/>'
        case Text():
            return _text(drawn)


def _path(line: Line) -> str:
    steps = [f"M{_n(line.start[0])} {_n(line.start[1])}"]
    for piece in line.pieces:
        points = " ".join(f"{_n(x)} {_n(y)}" for x, y in piece)
        steps.append(f"{'L' if len(piece) == 1 else 'C'}{points}")
    return "".join(steps)


def _text(text: Text) -> str:
    style = ' font-style="italic"' if text.italic else ""
    style += ' font-weight="bold"' if text.bold else ""
    sub = f'<tspan dy="4" font-size="{_n(0.72 * text.size)}">{escape(text.sub)}</tspan>'
    # dy, as dominant-baseline is not known to all that show SVG.
    return (
        f'<text x="{_n(text.at[0])}" y="{_n(text.at[1] + 0.35 * text.size)}" '
        f'font-size="{_n(text.size)}" text-anchor="{text.anchor}" fill="{text.ink}"{style}>'
        f"{escape(text.text)}{sub if text.sub else ''}</text>"
    )


# --- PNG ---


def write_png(picture: Picture, path: Path, scale: float = 2.0) -> None:
    """Write the picture as PNG, `scale` pixels for each of its own.

    Raises:
        UserError: if matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "a PNG needs matplotlib, which is not installed: pip install matplotlib, or write SVG."
        ) from None
    figure = Figure(figsize=(picture.width / 72, picture.height / 72), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, picture.width), ylim=(picture.height, 0))
    axes.axis("off")
    for order, element in enumerate(picture.drawn):
        artist = _artist(element)
        artist.set_zorder(order)
        axes.add_artist(artist)
    try:
        figure.savefig(path, format="png", dpi=72 * scale)
    except OSError as error:
        raise UserError(f"picture {path} cannot be written: {error.strerror}.") from None


def _artist(element: Drawn) -> "Artist":
    """The element for matplotlib; the picture has 72 pixels an inch, so that points are pixels."""
    from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path as Curve

    match element:
        case Line():
            points, codes = [element.start], [Curve.MOVETO]
            for piece in element.pieces:
                points += piece
                codes += [Curve.LINETO] if len(piece) == 1 else [Curve.CURVE4] * 3
            style = (0, (3, 2)) if element.dashed else "solid"
            return PathPatch(
                Curve(points, codes),
                fill=False,
                edgecolor=element.ink,
                linewidth=element.width,
                linestyle=style,
                capstyle="butt",
            )
        case Shape():
            (x, y), (w, h) = element.middle, element.size
            radius = min(element.radius, w / 2, h / 2)
            style = f"round,pad=0,rounding_size={radius}"
            return FancyBboxPatch(
                (x - w / 2, y - h / 2),
                w,
                h,
                boxstyle=style,
                facecolor=element.fill,
                edgecolor=element.ink,
                linewidth=element.width,
            )
        case Arrow():
            return Polygon(head(element), closed=True, facecolor=element.ink, edgecolor="none")
        case Text():
            return _words(element)


def _words(text: Text) -> "Artist":
    from matplotlib.text import Text as Words

    shown = text.text
    if text.sub:
        name, sub = text.text.replace("_", r"\_"), text.sub.replace("−", "-")
        shown = rf"$\mathit{{{name}}}_{{{sub}}}$"
    return Words(
        *text.at,
        shown,
        fontsize=text.size,
        color=text.ink,
        horizontalalignment=SIDES[text.anchor],
        verticalalignment="center_baseline",
        style="italic" if text.italic else "normal",
        weight="bold" if text.bold else "normal",
        parse_math=bool(text.sub),
    )
