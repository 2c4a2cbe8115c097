"""A document as one HTML file that needs nothing else: no script, no link, no font, no server."""

import base64
import re
from collections.abc import Iterator
from html import escape

from nas.report.document import Card, Code, Document, Figure, Items, Part, Section, Table, Text

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #222;
  background: #fff; max-width: 1240px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; margin-top: 2.6rem; padding-top: .6rem; border-top: 1px solid #ddd; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: 1rem 0; font-size: .9rem; }
a { color: #2b6cb0; text-decoration: none; }
p, ul { max-width: 80ch; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e6e6e6; text-align: left;
  vertical-align: top; }
th { border-bottom: 2px solid #999; }
.number { text-align: right; white-space: nowrap; }
th.number { white-space: normal; }
.marked { background: #f2f6fb; }
pre { background: #f7f7f5; border: 1px solid #e4e4e0; border-radius: 4px; padding: .7rem .9rem;
  overflow-x: auto; font-size: .84rem; line-height: 1.4; }
figure { margin: 1.2rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .88rem; max-width: 90ch; }
details { border: 1px solid #ddd; border-radius: 5px; padding: .5rem .9rem; margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
details img { max-width: 100%; height: auto; display: block; margin: .6rem 0; }
.cell { padding: .15rem .3rem; }
.cell details { border: 0; padding: 0; margin: 0; }
.cell summary { list-style: none; }
.cell summary::-webkit-details-marker { display: none; }
.cell img { height: 44px; max-width: 110px; object-fit: contain; margin: 0; }
.flag { white-space: nowrap; }
details p { margin: .3rem 0; color: #555; font-size: .9rem; }
@media print { details { break-inside: avoid; } nav { display: none; } }
"""


FLAG = re.compile(r"--\w[\w.-]*\b")


def _prose(text: str) -> str:
    """Sentences, whose flags are not broken behind a hyphen."""
    return FLAG.sub(r'<span class="flag">\g<0></span>', escape(text))


def html(document: Document) -> str:
    """The text of the file; all text of the document is escaped."""
    links = (f'<a href="#{s.anchor}">{escape(s.title)}</a>' for s in document.sections)
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(document.title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(document.title)}</h1><p>{escape(document.lead)}</p>",
        f"<nav>{' '.join(links)}</nav>",
        *(line for section in document.sections for line in _section(section)),
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f'<section><h2 id="{section.anchor}">{escape(section.title)}</h2>'
    for part in section.parts:
        yield _part(part)
    yield "</section>"


def _part(part: Part) -> str:
    match part:
        case Text():
            return f"<p>{_prose(part.text)}</p>"
        case Items():
            return f"<ul>{''.join(f'<li>{_prose(item)}</li>' for item in part.items)}</ul>"
        case Code():
            text = f"<pre>{escape(part.text)}</pre>"
            title = f"<summary>{escape(part.title)}</summary>"
            return f"<details>{title}{text}</details>" if part.title else text
        case Table():
            return _table(part)
        case Figure():
            caption = f"<figcaption>{escape(part.caption)}</figcaption>"
            return f"<figure>{part.svg}{caption}</figure>"
        case Card():
            return _card(part)


def _table(table: Table) -> str:
    kinds = [' class="number"' if numeric else "" for numeric in table.is_numeric]
    names = [escape(name).replace("_", "_<wbr>") for name in table.head]  # long ones may break
    head = "".join(f"<th{k}>{name}</th>" for k, name in zip(kinds, names, strict=True))
    rows = []
    for place, row in enumerate(table.rows):
        cells = "".join(f"<td{k}>{escape(text)}</td>" for k, text in zip(kinds, row, strict=True))
        kind = ' class="marked"' if place in table.marked else ""
        rows.append(f"<tr{kind}>{_thumbnail(table, place)}{cells}</tr>")
    body, pictures = "\n".join(rows), "<th></th>" if table.cells else ""
    return (
        f'<div class="table"><table><caption>{escape(table.caption)}</caption>'
        f"<thead><tr>{pictures}{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
        f"{f'<p>{escape(table.note)}</p>' if table.note else ''}"
    )


def _thumbnail(table: Table, place: int) -> str:
    """The cell of a row in a column of its own: its picture opens its equations."""
    if not table.cells:
        return ""
    cell = table.cells[place]
    if cell is None:
        return "<td></td>"
    image = _image(cell.svg, "its equations")
    equations = f"<pre>{escape(cell.equations)}</pre>"
    return f'<td class="cell"><details><summary>{image}</summary>{equations}</details></td>'


def _image(svg: str, what: str) -> str:
    """A picture as an image, so that it can run no script and its names meet no other's."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(what)}" src="data:image/svg+xml;base64,{data}">'


def _card(card: Card) -> str:
    image = _image(card.svg, card.title)
    lines = "".join(f"<p>{escape(line)}</p>" for line in card.lines)
    return (
        f"<details{' open' if card.is_open else ''}><summary>{escape(card.title)}</summary>{lines}"
        f"{image if card.svg else ''}<pre>{escape(card.equations)}</pre></details>"
    )
