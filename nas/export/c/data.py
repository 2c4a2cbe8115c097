"""The constants of a file in C: named arrays, how many bytes they take, how they are written."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LINE = 100
CType = Literal["float", "double", "int8_t", "int16_t", "int32_t"]
BYTES: dict[CType, int] = {"float": 4, "double": 8, "int8_t": 1, "int16_t": 2, "int32_t": 4}


def literal(value: float, kind: CType = "float") -> str:
    """A number in C; a float has the fewest digits that tell it from its neighbours."""
    if kind not in ("float", "double"):
        return str(int(value))
    number = np.float32(value) if kind == "float" else np.float64(value)
    text = str(number)
    return f"{text}f" if kind == "float" else text


@dataclass
class Data:
    """The arrays of a file, in their order."""

    lines: list[str] = field(default_factory=list)
    n_bytes: int = 0
    names: set[str] = field(default_factory=set)

    def add(
        self, name: str, kind: CType, values: NDArray[Any], comment: str, shape: str = ""
    ) -> str:
        """Write an array, and return its name; `shape` is how its size is written."""
        self.names.add(name)
        self.n_bytes += BYTES[kind] * values.size
        about = textwrap.wrap(comment, LINE - 6)
        self.lines.append("/* " + "\n * ".join(about) + " */")
        self.lines.append(f"static const {kind} {name}[{shape or values.size}] = {{")
        rows = values if values.ndim > 1 else values[np.newaxis]
        for row in rows:
            self.lines += wrapped(literal(value, kind) for value in row.tolist())
        self.lines += ["};", ""]
        return name


def wrapped(items: Iterable[str]) -> list[str]:
    """Numbers with commas, on as few lines as they take."""
    lines, line = [], ""
    for item in items:
        if len(line) + len(item) + 6 > LINE:
            lines.append(f"    {line.rstrip()}")
            line = ""
        line += f"{item}, "
    return [*lines, f"    {line.rstrip()}"]
