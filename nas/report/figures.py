"""How a report draws: one style, each figure drawn once and written as SVG and as PNG.

The text of the SVG stays text, and the same numbers give the same bytes. matplotlib is imported
only here, when a figure is drawn.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.report.document import Figure
from nas.report.files import vector_files

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

    png = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        draw(canvas)
        _lay_out(canvas)
        files = vector_files(canvas, name)
        canvas.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return Figure(name, caption, png.getvalue(), _inline(files["svg"].decode(), name), files)


def _lay_out(canvas: "Canvas") -> None:
    """Lay out what is drawn, once for all files: each of them would do it anew, a third of their
    time."""
    engine = canvas.get_layout_engine()
    assert engine is not None
    engine.execute(canvas)
    canvas.set_layout_engine("none")


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


PLACES = ((5, 4), (5, -10), (-5, 4), (-5, -10), (0, 9), (0, -15), (14, 12), (-14, 12))
"""Offsets in points at which a label is tried, in this order."""


def labels(panel: "Axes", texts: Sequence[tuple[str, float, float]]) -> list[str]:
    """Write a text beside each point (text, x, y) so that no two overlap; the first come first.

    Call it when all else is drawn and the limits of the panel are final. A text that has no room is
    left out. Returns those that are written.
    """
    canvas = panel.figure.get_figure(root=True)
    assert canvas is not None
    canvas.draw_without_rendering()  # it lays the panels out, of which the places of texts depend
    taken: list[Any] = []
    written = []
    for text, x, y in texts:
        for dx, dy in PLACES:
            side = "left" if dx > 0 else "right" if dx < 0 else "center"
            style: dict[str, Any] = {"textcoords": "offset points", "fontsize": "small", "ha": side}
            style["bbox"] = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5}
            made = panel.annotate(text, (x, y), xytext=(dx, dy), **style)
            made.set_in_layout(False)
            box = made.get_window_extent()
            is_inside = panel.bbox.x0 <= box.x0 and box.x1 <= panel.bbox.x1
            if is_inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                written.append(text)
                break
            made.remove()
    return written


NEXT_LINE = 11
"""Points between two lines of a small text."""


def level_lines(panel: "Axes", levels: Mapping[str, float], *, named: bool = True) -> None:
    """A dashed line for each level, its name at the right; levels that are close share a line of
    text. Call it when the limits of the panel are final."""
    for value in levels.values():
        panel.axhline(value, color=GREY, linestyle="--", linewidth=0.9)
    style = {"xycoords": ("axes fraction", "data"), "va": "center"}
    for names, value in _close(panel, levels) if named else ():
        text = ", ".join(names)
        label(panel, text, (1, value), (3, 0), color=GREY, fontsize="small", **style)


def _close(panel: "Axes", levels: Mapping[str, float]) -> list[tuple[list[str], float]]:
    """The names that would overlap if each had a line of its own, with the place of their line."""
    to_panel = panel.transData + panel.transAxes.inverted()
    height = panel.bbox.height * 72 / panel.figure.dpi
    groups: list[tuple[list[str], float]] = []
    above = -math.inf
    for name, value in sorted(levels.items(), key=lambda level: level[1]):
        at = float(to_panel.transform((0, value))[1]) * height
        if groups and at - above < NEXT_LINE:
            groups[-1][0].append(name)
        else:
            groups.append(([name], value))
            above = at
    return groups
