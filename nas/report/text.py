"""A document as Markdown, and its parts as lines for the terminal."""

import re
from collections.abc import Iterator, Sequence

from nas.report.document import Card, Code, Document, Figure, Items, Part, Table, Text

WIDEST = 10_000
"""Columns of the terminal's tables: a terminal wraps longer lines itself, and a file keeps them."""


def markdown(document: Document, figures: str = "") -> str:
    """The text of a file. Its pictures lie in the folder `figures` beside it."""
    lines = [f"# {_escaped(document.title)}", ""] if document.title else []
    lines += [_escaped(document.lead), ""] if document.lead else []
    for section in document.sections:
        lines += [f"## {_escaped(section.title)}", ""] if section.title else []
        for part in section.parts:
            lines += [*_markdown(part, f"{figures}/" if figures else ""), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(part: Part, folder: str) -> Iterator[str]:
    match part:
        case Text():
            yield _escaped(part.text)
        case Items():
            yield from (f"- {_escaped(item)}" for item in part.items)
        case Code():
            yield _fenced(part.text, part.language)
        case Table():
            yield from (_escaped(part.caption), "") if part.caption else ()
            yield _row([_escaped(name) for name in part.head])
            yield _row(["---:" if numeric else "---" for numeric in part.is_numeric])
            yield from (_row([_escaped(text) for text in row]) for row in part.rows)
            yield from ("", _escaped(part.note)) if part.note else ()
        case Figure():
            yield f"![{part.name}]({folder}{part.name}.png)"
            yield from ("", _escaped(part.caption)) if part.caption else ()
        case Card():
            yield from (f"### {_escaped(part.title)}", "")
            yield from (f"- {_escaped(line)}" for line in part.lines)
            yield ""
            yield from (f"![{part.name}]({folder}{part.name}.svg)", "") if part.svg else ()
            yield _fenced(part.equations, "python")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _fenced(text: str, language: str) -> str:
    """Put the text into a fence that is longer than any in it."""
    ticks = "`" * (max((len(run) for run in re.findall(r"`{3,}", text)), default=2) + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def _escaped(text: str) -> str:
    """The text on one line, without any meaning to Markdown or HTML."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Underscores inside of words mean nothing to GitHub's and MLflow's Markdown, and brackets make
    # a link only where one of these characters follows.
    return re.sub(r"([\\`*|]|\](?=[(\[:]))", r"\\\1", line)


def lines(*parts: Part) -> list[str]:
    """The parts as plain lines for the terminal; pictures are left out."""
    written: list[str] = []
    for part in parts:
        match part:
            case Text() | Code():
                written += part.text.splitlines()
            case Items():
                written += part.items
            case Table():
                written += [part.caption] if part.caption else []
                written += _aligned(part)
                written += [part.note] if part.note else []
            case Card():
                written += [part.title, *part.lines, *part.equations.splitlines()]
    return written


def _aligned(table: Table) -> list[str]:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text as Plain

    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, numeric in zip(table.head, table.is_numeric, strict=True):
        grid.add_column(Plain(name), justify="right" if numeric else "left", no_wrap=True)
    for row in table.rows:
        grid.add_row(*map(Plain, row))
    console = Console(width=WIDEST, color_system=None)
    with console.capture() as capture:
        console.print(grid)
    return [line.rstrip() for line in capture.get().splitlines()]
