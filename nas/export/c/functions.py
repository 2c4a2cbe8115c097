"""The functions that the C calls, each with those that it calls itself; functions.c has the text.

A heading `== name : needs ==` begins each. A file has only those that its cell needs. Names end in
_of where a C compiler knows a function of the plain name.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HEADING = re.compile(r"/\* == (?P<name>\w+)(?: :(?P<needs>[\w ]+))? ==(?P<rest>\n \* | \*/\n)")


@dataclass(frozen=True)
class Function:
    """A function in C."""

    text: str
    needs: tuple[str, ...]


@functools.cache
def functions() -> Mapping[str, Function]:
    """All functions by name, those that others need before them."""
    text = Path(__file__).with_name("functions.c").read_text(encoding="utf-8")
    found = list(HEADING.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    made = {}
    for match, end in zip(found, ends, strict=True):
        comment = "/* " if "*/" not in match["rest"] else ""
        body = comment + text[match.end() : end].strip()
        made[match["name"]] = Function(body, tuple((match["needs"] or "").split()))
    return made


def needed(names: Iterable[str]) -> list[str]:
    """The texts of the functions, and of all that they need, in an order that C takes."""
    known, wanted, waiting = functions(), set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting.extend(known[name].needs)
    return [function.text for name, function in known.items() if name in wanted]
