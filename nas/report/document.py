"""A report as data: sections of parts, which `html` and `markdown` write in the same order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of plain sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of plain text."""

    caption: str
    """What a row is, and how many there are."""
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()
    """Rows that stand out, such as baselines."""


@dataclass(frozen=True)
class Code:
    """Text that is shown as it is."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A drawing of numbers."""

    name: str
    """Of its file, without the suffix."""
    caption: str
    svg: str
    png: bytes


@dataclass(frozen=True)
class Card:
    """A cell: how it stands, its picture and its equations."""

    title: str
    lines: tuple[str, ...]
    equations: str
    name: str = ""
    """Of the picture's file, without the suffix."""
    svg: str = ""
    """Its picture, if there is one."""
    is_open: bool = True


Part = Text | Items | Table | Code | Figure | Card


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: tuple[Part, ...]

    @property
    def anchor(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    lead: str
    """One sentence, below the title."""
    sections: tuple[Section, ...]

    def figures(self) -> list[Figure]:
        """All figures, in order."""
        parts = [part for section in self.sections for part in section.parts]
        return [part for part in parts if isinstance(part, Figure)]

    def cards(self) -> list[Card]:
        """All cells, in order."""
        parts = [part for section in self.sections for part in section.parts]
        return [part for part in parts if isinstance(part, Card)]
