"""A picture as SVG, with no library, and as PNG by matplotlib: two writers of the same data."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape

from nas.cell.picture.shapes import PAPER, Arrow, Drawn, Line, Picture, Point, Shape, Text
from nas.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDES: dict[str, Literal["left", "center", "right"]] = {
    "start": "left",
    "middle": "center",
    "end": "right",
}
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
        f"<title>{_clean(picture.title)}</title>",
        f"<desc>{_clean(picture.about)}</desc>",
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        *(_element(one) for one in picture.drawn),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _clean(text: str) -> str:
    return escape(text)


def _n(value: float) -> str:
    """A number of pixels, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def _element(one: Drawn) -> str:
    match one:
        case Line():
            dash = ' stroke-dasharray="5 4"' if one.dashed else ""
            return (
                f'<path d="{_path(one)}" fill="none" stroke="{one.ink}" '
                f'stroke-width="{_n(one.width)}"{dash}/>'
            )
        case Shape():
            (x, y), (w, h) = one.middle, one.size
            return (
                f'<rect x="{_n(x - w / 2)}" y="{_n(y - h / 2)}" width="{_n(w)}" '
                f'height="{_n(h)}" rx="{_n(one.radius)}" fill="{one.fill}" '
                f'stroke="{one.ink}" stroke-width="{_n(one.width)}"/>'
            )
        case Arrow():
            corners = " ".join(f"{_n(x)},{_n(y)}" for x, y in head(one))
            return f'<polygon points="{corners}" fill="{one.ink}"/>'
        case Text():
            return _text(one)


def _path(line: Line) -> str:
    steps = [f"M{_n(line.start[0])} {_n(line.start[1])}"]
    for piece in line.pieces:
        points = " ".join(f"{_n(x)} {_n(y)}" for x, y in piece)
        steps.append(f"{'L' if len(piece) == 1 else 'C'}{points}")
    return "".join(steps)


def _text(one: Text) -> str:
    style = ' font-style="italic"' if one.italic else ""
    style += ' font-weight="bold"' if one.bold else ""
    sub = f'<tspan dy="4" font-size="{_n(0.72 * one.size)}">{escape(one.sub)}</tspan>'
    # dy, as dominant-baseline is not known to all that show SVG.
    return (
        f'<text x="{_n(one.at[0])}" y="{_n(one.at[1] + 0.35 * one.size)}" '
        f'font-size="{_n(one.size)}" text-anchor="{one.anchor}" fill="{one.ink}"{style}>'
        f"{escape(one.text)}{sub if one.sub else ''}</text>"
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
    for order, one in enumerate(picture.drawn):
        for artist in _artists(one):
            artist.set_zorder(order)
            _add(axes, artist)
    try:
        figure.savefig(path, format="png", dpi=72 * scale)
    except OSError as error:
        raise UserError(f"picture {path} cannot be written: {error.strerror}.") from None


def _add(axes: "Axes", artist: Any) -> None:
    from matplotlib.text import Text as Words

    (axes.add_artist if isinstance(artist, Words) else axes.add_patch)(artist)


def _artists(one: Drawn) -> Iterator[Any]:
    """The picture has 72 pixels an inch, so that points are pixels."""
    from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path as Curve
    from matplotlib.text import Text as Words

    match one:
        case Line():
            points, codes = [one.start], [Curve.MOVETO]
            for piece in one.pieces:
                points += piece
                codes += [Curve.LINETO] if len(piece) == 1 else [Curve.CURVE4] * 3
            style = (0, (3, 2)) if one.dashed else "solid"
            yield PathPatch(
                Curve(points, codes),
                fill=False,
                edgecolor=one.ink,
                linewidth=one.width,
                linestyle=style,
                capstyle="butt",
            )
        case Shape():
            (x, y), (w, h) = one.middle, one.size
            radius = min(one.radius, w / 2, h / 2)
            style = f"round,pad=0,rounding_size={radius}"
            yield FancyBboxPatch(
                (x - w / 2, y - h / 2),
                w,
                h,
                boxstyle=style,
                facecolor=one.fill,
                edgecolor=one.ink,
                linewidth=one.width,
            )
        case Arrow():
            yield Polygon(head(one), closed=True, facecolor=one.ink, edgecolor="none")
        case Text():
            yield Words(
                *one.at,
                _mathtext(one),
                fontsize=one.size,
                color=one.ink,
                horizontalalignment=SIDES[one.anchor],
                verticalalignment="center_baseline",
                style="italic" if one.italic else "normal",
                weight="bold" if one.bold else "normal",
                parse_math=bool(one.sub),
            )


def _mathtext(one: Text) -> str:
    if not one.sub:
        return one.text
    name = one.text.replace("_", r"\_")
    return rf"$\mathit{{{name}}}_{{{one.sub.replace('−', '-')}}}$"
