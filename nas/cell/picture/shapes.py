"""What a picture consists of, as data: lines, boxes, heads of arrows, text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
"""Pixels from the left and from the top."""
INK, PAPER = "#333333", "#ffffff"


@dataclass(frozen=True)
class Line:
    """A line of straight and curved pieces: points after the first come one by one, or as the two
    handles and the end of a cubic curve."""

    start: Point
    pieces: tuple[tuple[Point, ...], ...]
    ink: str = INK
    width: float = 1.8
    dashed: bool = False


@dataclass(frozen=True)
class Shape:
    """A filled box with round corners; an ellipse where they are as large as can be."""

    middle: Point
    size: Point
    radius: float
    fill: str
    ink: str
    width: float = 1.2


@dataclass(frozen=True)
class Arrow:
    """The filled head of an arrow."""

    tip: Point
    towards: Literal["right", "up"]
    ink: str


@dataclass(frozen=True)
class Text:
    """A line of text, centred at a height."""

    at: Point
    text: str
    sub: str = ""
    size: float = 13.0
    anchor: Literal["start", "middle", "end"] = "middle"
    italic: bool = False
    bold: bool = False
    ink: str = "#111111"


Drawn = Line | Shape | Arrow | Text


@dataclass(frozen=True)
class Picture:
    """What is drawn, in this order, in pixels from the upper left corner."""

    title: str
    about: str
    width: float
    height: float
    drawn: tuple[Drawn, ...]


def text_width(text: str, size: float = 13.0) -> float:
    """About how many pixels a text is wide."""
    return sum(0.34 if c in " il.,()|·" else 0.62 for c in text) * size


def joined(start: Point, out: Point, into: Point, end: Point) -> tuple[tuple[Point, ...], ...]:
    """Straight out of a layer, a curve through the space between, straight on to the end."""
    middle = (out[0] + into[0]) / 2
    if abs(out[1] - into[1]) < 0.5:
        return ((end,),)
    return ((out,), ((middle, out[1]), (middle, into[1]), into), (end,))


def bubble_width(label: str) -> float:
    """Pixels."""
    return max(30.0, text_width(label) + 18)


def bubble(at: Point, label: str, fill: str) -> Iterator[Drawn]:
    """What comes from below or leaves at the top: a round label with the time as its index."""
    yield Shape(at, (bubble_width(label), 30.0), 15.0, fill, "#8899aa")
    yield Text(at, label, "t", italic=True)
