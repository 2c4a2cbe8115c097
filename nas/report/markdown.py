"""A report as Markdown, with its pictures as files beside it."""

import re
from collections.abc import Iterator

from nas.report.document import Card, Code, Document, Figure, Items, Part, Table, Text

FIGURES = "figures"
"""The folder of the pictures, beside the file."""


def markdown(document: Document) -> str:
    """The file's text; all that comes from a study is escaped."""
    lines = [f"# {_plain(document.title)}", "", _plain(document.lead), ""]
    for section in document.sections:
        lines += [f"## {_plain(section.title)}", ""]
        for part in section.parts:
            lines += [*_part(part), ""]
    return "\n".join(lines).rstrip() + "\n"


def _part(part: Part) -> Iterator[str]:
    match part:
        case Text():
            yield _plain(part.text)
        case Items():
            yield from (f"- {_plain(item)}" for item in part.items)
        case Code():
            yield _fenced(part.text)
        case Table():
            yield _plain(part.caption)
            yield ""
            yield _row(part.head)
            yield _row(["---"] * len(part.head))
            yield from map(_row, part.rows)
        case Figure():
            yield f"![{part.name}]({FIGURES}/{part.name}.png)"
            yield ""
            yield _plain(part.caption)
        case Card():
            yield f"### {_plain(part.title)}"
            yield ""
            for line in part.lines:
                yield f"- {_plain(line)}"
            yield ""
            if part.svg:
                yield f"![{part.name}]({FIGURES}/{part.name}.svg)"
                yield ""
            yield _fenced(part.equations, "python")


def _row(cells: "tuple[str, ...] | list[str]") -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _fenced(text: str, language: str = "") -> str:
    """In a fence that is longer than any in the text."""
    ticks = max((len(run) for run in re.findall(r"`{3,}", text)), default=2) + 1
    return f"{'`' * ticks}{language}\n{text.rstrip()}\n{'`' * ticks}"


def _plain(text: str) -> str:
    """On one line, without meaning to Markdown or HTML."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Underscores inside of words mean nothing to GitHub's and MLflow's Markdown.
    return re.sub(r"([\\`*|\[\]])", r"\\\1", line)
