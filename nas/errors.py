"""The errors that a user can cause. Each names the thing, the rule, the value and the way out.

Commands print the sentence and exit with code 2; libraries see an ordinary exception.
"""

import difflib
import re
from collections.abc import Iterable


class UserError(ValueError):
    """Something that the user gave is wrong; the message says what and what to do."""


class CellError(UserError):
    """A cell, or its text, breaks a rule of the cell language."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that `name` is no `kind`, with the nearest known name first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    return f'no {kind} "{name}".{guess} Known: {", ".join(names)}.'


class SearchError(RuntimeError):
    """The search cannot go on; what is finished is kept. Commands exit with code 1."""


HIDDEN = "//…@"
"""Stands where a URI had credentials."""


def hidden(text: str) -> str:
    """The text without credentials of the URIs in it."""
    text = re.sub(r"(?<!sqlite:)(?<!/)//[^\s'\"]*@", HIDDEN, text)
    return re.sub(r"(?i)\b(\w*(?:password|passwd|pwd|token|secret))=[^&\s]*", r"\1=…", text)
