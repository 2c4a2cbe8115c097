"""The one model of all written results: a document of sections, each with parts.

Every command that writes results (report, compare, curves, replay, bench) makes these parts.
`html.html`, `text.markdown` and `text.lines` (the terminal) write them; `files` writes CSV, JSON,
PNG and the files themselves. Nothing here knows of studies.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NUMBER = re.compile(
    r"([-+±]?[\d,.]+(e[-+]?\d+)?( ?[%×]| m?s| h|h\d+|:\d+|-[\d.]+)?( \[[^]]*\])?)?|-"
)
"""Text that a table aligns as a number: with a unit, a range or an interval, too."""


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of plain sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Thumbnail:
    """A cell in a row of a table: its picture, which opens its equations."""

    svg: str
    equations: str


@dataclass(frozen=True)
class Table:
    """Rows of plain text."""

    caption: str
    """Explains what a row is, and how many there are."""
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()
    """Rows that stand out, such as baselines."""
    note: str = ""
    """A remark below the rows."""
    cells: Sequence["Thumbnail | None"] = ()
    """A cell for each row, which a page shows small; empty for none."""

    @property
    def is_numeric(self) -> list[bool]:
        """Whether each column holds numbers alone, which are aligned at the right."""
        return [
            all(NUMBER.fullmatch(row[column]) for row in self.rows)
            for column in range(len(self.head))
        ]


@dataclass(frozen=True)
class Code:
    """Text with its line breaks, such as equations."""

    text: str
    language: str = ""
    title: str = ""
    """What a page shows until it is opened; empty for text that is always shown."""


@dataclass(frozen=True)
class Figure:
    """A drawing of numbers."""

    name: str
    """The name of its file, without the suffix."""
    caption: str
    png: bytes = b""
    svg: str = ""
    """An element for HTML."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The drawing as vector files by suffix: svg and pdf, for papers; mid of music to listen to."""


@dataclass(frozen=True)
class Card:
    """A cell: how it stands, its picture and its equations."""

    title: str
    lines: Sequence[str]
    equations: str
    name: str = ""
    """The name of the picture's file, without the suffix."""
    svg: str = ""
    """Its picture, if there is one."""
    is_open: bool = True


Part = Text | Items | Table | Code | Figure | Card


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    """Empty for no heading."""
    parts: Sequence[Part]

    @property
    def anchor(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    """Empty for no heading."""
    lead: str
    """One sentence below the title, or nothing."""
    sections: Sequence[Section]

    @property
    def parts(self) -> list[Part]:
        """The parts of all sections, in order."""
        return [part for section in self.sections for part in section.parts]
