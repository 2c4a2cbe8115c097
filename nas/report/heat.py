"""Values of units over the steps of a sequence as a heat map under its symbols, in inline SVG."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ROWS = 96
"""Rows of a heat map; more units are averaged with their neighbours in the order of their means."""
LEFT, TOP, GAP, BAND = 34.0, 22.0, 8.0, 46.0
"""Pixels left of the first step, of the symbols, below the map, and of the curve of the mean."""
NARROWEST, WIDEST, USUAL = 2.5, 64.0, 960.0
"""Pixels of a step at least and at most, and of all of them where they could be narrower."""
SHOWN = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def shown(symbols: Sequence[str]) -> list[str]:
    """Symbols as one can see them."""
    return [SHOWN.get(symbol, symbol) for symbol in symbols]


def step_width(symbols: Sequence[str], n_steps: int) -> float:
    """Pixels of a step: as wide as its symbol, or as fits where there are no symbols."""
    if not symbols:
        return max(NARROWEST, min(14.0, USUAL / n_steps))
    return min(WIDEST, 6.0 + 7.5 * max(map(len, symbols)))


def heat_map(values: Array, symbols: Sequence[str], label: str, most: float | None = None) -> str:
    """The values, (steps, units), as an SVG: a row a unit, the largest mean on top; below, the mean
    over units with the band from the 10th to the 90th percentile.

    They are shares, from 0 to 1, or signed numbers from -`most` to `most`.
    """
    ordered = values[:, np.argsort(-values.mean(0), kind="stable")].T
    rows = _fewer(ordered, ROWS)
    wide = step_width(symbols, len(values))
    width, height = wide * len(values), max(60.0, min(150.0, 6.0 * len(rows)))
    low, high = (0.0, 1.0) if most is None else (-most, most)
    bottom = TOP + height + GAP
    parts = [
        f'<svg viewBox="0 0 {LEFT + width + 4:.0f} {bottom + BAND + 4:.0f}" '
        f'style="width:{LEFT + width + 4:.0f}px" role="img" aria-label="{escape(label)}">',
        *_symbols(symbols, len(values), wide),
        f'<image x="{LEFT:.0f}" y="{TOP:.0f}" width="{width:.1f}" height="{height:.0f}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" href="{_png(rows, most)}"/>',
        *_curve(values, (wide, bottom), (low, high)),
        "</svg>",
    ]
    return "".join(parts)


def series(columns: Array, names: Sequence[str], n: int = 4) -> str:
    """The first columns of a series, (steps, columns), each on a scale of its own, as an SVG."""
    wide, kept = step_width((), len(columns)), min(n, columns.shape[1])
    width, row = wide * len(columns), 44.0
    lines = []
    for k in range(kept):
        column, top = columns[:, k], 4 + k * row
        spread = float(np.ptp(column)) or 1.0
        heights = top + row - 8 - (column - column.min()) / spread * (row - 12)
        points = _points(heights, wide)
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="#333" stroke-width="1.2"/>'
            f'<text x="{LEFT + 4}" y="{top + 8:.0f}" font-size="10" fill="#555">'
            f"{escape(names[k])}: {column.min():.4g} to {column.max():.4g}</text>"
        )
    size = f"{LEFT + width + 4:.0f}"
    return (
        f'<svg viewBox="0 0 {size} {kept * row + 6:.0f}" style="width:{size}px" role="img" '
        f'aria-label="The series">{"".join(lines)}</svg>'
    )


def _fewer(rows: Array, most: int) -> Array:
    if len(rows) <= most:
        return rows
    return np.stack([part.mean(0) for part in np.array_split(rows, most)])


def _png(rows: Array, most: float | None) -> str:
    """A row a line and a step a column, as the address of a PNG in itself."""
    import matplotlib
    from matplotlib.image import imsave

    colours = matplotlib.colormaps["Blues" if most is None else "RdBu_r"]
    scaled = rows if most is None else np.clip(0.5 + rows / (2 * most), 0, 1)
    file = io.BytesIO()
    imsave(file, colours(scaled, bytes=True), format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _symbols(symbols: Sequence[str], n_steps: int, wide: float) -> list[str]:
    """The symbols above their steps, or the numbers of some steps."""
    places = range(n_steps) if symbols else range(0, n_steps, max(1, round(60 / wide)))
    names = symbols or [str(t) for t in range(n_steps)]
    return [
        f'<text x="{LEFT + (t + 0.5) * wide:.1f}" y="{TOP - 7:.0f}" font-size="12" '
        f'text-anchor="middle" font-family="monospace">{escape(names[t][:9])}</text>'
        for t in places
    ]


def _curve(values: Array, at: tuple[float, float], ends: tuple[float, float]) -> list[str]:
    """The mean over units and the band around it, below a height."""
    (wide, top), (low, high) = at, ends

    def heights(numbers: Array) -> Array:
        place: Array = top + BAND * (1 - (np.clip(numbers, low, high) - low) / (high - low))
        return place

    upper, lower = (heights(np.quantile(values, share, axis=1)) for share in (0.9, 0.1))
    band = f"{_points(upper, wide)} {_points(lower[::-1], wide, backwards=True)}"
    right = LEFT + wide * len(values)
    scale = [
        f'<line x1="{LEFT}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 4}" y="{y + 3:.1f}" font-size="9" text-anchor="end" fill="#777">'
        f"{number:.2g}</text>"
        for number, y in ((high, top), (low, top + BAND))
    ]
    return [
        *scale,
        f'<polygon points="{band}" fill="#2b6cb0" opacity=".2"/>',
        f'<polyline points="{_points(heights(values.mean(1)), wide)}" fill="none" '
        'stroke="#2b6cb0" stroke-width="1.6"/>',
    ]


def _points(heights: Array, wide: float, *, backwards: bool = False) -> str:
    steps = range(len(heights))
    places = reversed(steps) if backwards else steps
    return " ".join(
        f"{LEFT + (t + 0.5) * wide:.1f},{y:.1f}" for t, y in zip(places, heights, strict=True)
    )
