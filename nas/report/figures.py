"""How a report draws: one style, each figure drawn once and written as SVG and as PNG.

The text of the SVG stays text, and the same numbers give the same bytes. matplotlib is imported
only here, when a figure is drawn.
"""

import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nas.report.document import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, GREY, BLUE, ORANGE, GREEN = "#222222", "#8a8a8a", "#2b6cb0", "#c2571a", "#2f7d4f"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#ececec",
    "axes.axisbelow": True,
    "text.parse_math": False,
}
DPI = 130


def figure(
    name: str, caption: str, size: tuple[float, float], draw: Callable[["Canvas"], None]
) -> Figure:
    """Let `draw` fill a figure of this size in inches, and write it."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=size, layout="constrained")
        draw(canvas)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.savefig(svg, format="svg", metadata=nothing)
        canvas.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return Figure(name, caption, png.getvalue(), _inline(svg.getvalue().decode(), name))


def _inline(text: str, name: str) -> str:
    """An SVG file as an element of a page: HTML needs no prologue and no namespaces, and the ids
    must differ from those of other figures."""
    text = text[text.index("<svg") :]
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def label(
    panel: "Axes", text: str, at: tuple[float, float], offset: tuple[int, int], **style: Any
) -> None:
    """Write a text beside a point, `offset` in points."""
    panel.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def level_lines(panel: "Axes", levels: Mapping[str, float], *, named: bool = True) -> None:
    """A dashed line for each level, its name at the right."""
    style = {"xycoords": ("axes fraction", "data"), "va": "center"}
    for name, value in levels.items():
        panel.axhline(value, color=GREY, linestyle="--", linewidth=0.9)
        if named:
            label(panel, name, (1, value), (3, 0), color=GREY, fontsize="small", **style)
