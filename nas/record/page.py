"""How a cell's page in MLflow begins: its picture, and its equations beside it.

MLflow's notes take tables and images in HTML, but no width of an image, no inline SVG and no data
URI. So the picture is an artifact of the run, and already as small as it is shown.
"""

import re
from html import escape

from nas.cell.cell import Cell, renamed

RUN_ID = "RUN-ID"
"""Stands in a note for the run's own id."""
SMALL = "small.svg"
"""The artifact with the picture that a note begins with."""
WIDEST, HIGHEST = 300, 112
"""Pixels of that picture at most: MLflow shows 120 pixels of a note until it is opened."""
LONGEST_EQUATIONS = 4000
LONGEST_DOC = 1000
"""Characters of a cell's text in its note: MLflow cuts a note at 8000, silently."""


def small(svg: str) -> str:
    """The picture of a cell, so small that a note begins with it and the equations beside it."""
    size = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert size is not None, "cells are drawn with their size"
    width, height = int(size[1]), int(size[2])
    scale = min(1.0, WIDEST / width, HIGHEST / height)
    fitted = f'width="{width * scale:.0f}" height="{height * scale:.0f}"'
    return svg.replace(size[0], fitted, 1)


def beginning(cell: Cell) -> str:
    """The picture of a cell beside its equations, in HTML; its docstring is left out."""
    text = str(renamed(cell, cell.name, "")).rstrip()
    if len(text) > LONGEST_EQUATIONS:
        text = text[:LONGEST_EQUATIONS].rsplit("\n", 1)[0] + "\n    # … the rest is in cell.cell"
    image = f'<img src="get-artifact?path={SMALL}&amp;run_uuid={RUN_ID}">'
    equations = f"<pre><code>{escape(text, quote=False)}</code></pre>"
    return f"<table><tr><td>{image}</td><td>{equations}</td></tr></table>"


def end(cell: Cell) -> str:
    """What a cell's docstring says, as one paragraph of Markdown; empty if it has none."""
    words = " ".join(cell.doc.split())
    cut = words if len(words) <= LONGEST_DOC else f"{words[:LONGEST_DOC]} …"
    return re.sub(r"([\\`*_|<\[\]])", r"\\\1", cut)
