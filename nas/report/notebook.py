"""Results as HTML inside a notebook: tables of a few rows, and pictures of cells.

All of it is self-contained: styles stand with their elements, pictures are data.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from nas.cell.cell import Cell

if TYPE_CHECKING:
    import pandas


def heading(text: str) -> str:
    """A line above what follows."""
    return f"<p><b>{escape(text)}</b></p>"


def table(frame: "pandas.DataFrame", note: str = "") -> str:
    """A table whose numbers have four digits and whose gaps are empty."""
    text: str = frame.to_html(index=False, float_format=lambda x: f"{x:.4g}", na_rep="", border=0)
    return text + (f"<p>{escape(note)}</p>" if note else "")


def cells(shown: Iterable[tuple[str, Cell]]) -> str:
    """Pictures of cells side by side, each with its title and, folded, its equations."""
    figures = "".join(
        '<figure style="margin:8px;max-width:460px">'
        f"<figcaption>{escape(title)}</figcaption>{picture(cell.svg(), title)}"
        f"<details><summary>equations</summary><pre>{escape(str(cell))}</pre></details></figure>"
        for title, cell in shown
    )
    return f'<div style="display:flex;flex-wrap:wrap">{figures}</div>'


def picture(svg: str, title: str) -> str:
    """A picture as an image, in which no script runs and whose names meet no other picture's."""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<img alt="{escape(title)}" style="max-width:100%;background:white" '
        f'src="data:image/svg+xml;base64,{data}">'
    )


def images(pngs: Sequence[tuple[str, bytes]]) -> str:
    """Pictures of matplotlib below one another."""
    return "".join(
        f'<img alt="{escape(title)}" style="max-width:100%" '
        f'src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        for title, data in pngs
    )


def listed(sentences: Iterable[str]) -> str:
    """A list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in sentences) + "</ul>"
