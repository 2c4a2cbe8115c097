"""The errors that a user can cause. Each names the thing, the rule, the value and the way out.

Commands print the sentence and exit with code 2; libraries see an ordinary exception.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class UserError(ValueError):
    """A wrong input of the user; the message names it and the remedy."""


class CellError(UserError):
    """A cell, or its text, breaks a rule of the cell language."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that `name` is no `kind`, with the nearest known name first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    return f'no {kind} "{name}".{guess} Known: {", ".join(names)}.'


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as "1 cell" or "1,200 cells"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def joined(names: Sequence[str]) -> str:
    """The names as in "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


NUMBER = r"-?(?:inf|\d+(?:\.\d+)?(?:e-?\d+)?)"
RANGE = re.compile(
    rf"positive|at least (?P<least>{NUMBER})|in ([\[(])({NUMBER}), ({NUMBER})([\])])"
)


def check_fields(owner: "DataclassInstance", group: str = "") -> None:
    """Raise UserError for the first field of a dataclass whose value its type does not allow.

    A type may give the range of a number as the message says it, `Annotated[int, "at least 1"]`:
    "at least" a bound, "positive", or an interval such as "in (0, 1]"; NaN lies in none. A tuple of
    such numbers is checked one by one, None is allowed. A number whose type names no upper end is
    finite, and a whole one at most `HIGHEST`. `Literal` gives the allowed texts. With the group
    "protocol." a message is such as "protocol.audit must be in [0, 1], got 2.0." A class that
    declares a field again, with another default, keeps the range of its base.

    Raises:
        TypeError: whatever the values are, for a type whose range cannot be read or stands where it
            would not be checked: the fault is the class's.
    """
    for declarer in reversed(type(owner).__mro__):
        if dataclasses.is_dataclass(declarer):
            for name, hint in _restricted(declarer).items():
                _check_value(group + name, hint, getattr(owner, name))


@cache
def _restricted(owner: type) -> dict[str, Any]:
    """The types of a class's fields that restrict their values; reading types anew is slow."""
    hints = get_type_hints(owner, include_extras=True)
    for name, hint in hints.items():
        _check_readable(f"{owner.__qualname__}.{name}", hint)
    return hints


HIGHEST = 10**9
"""No count of steps, sequences or parameters is larger: it would never end, or fit into memory."""


def _member(hint: Any) -> Any:
    """The type of a tuple's members if all are of one type, else the type itself."""
    is_list = get_origin(hint) is tuple and get_args(hint)[1:] == (...,)
    return get_args(hint)[0] if is_list else hint


def _check_readable(name: str, hint: Any) -> None:
    member = _member(hint)
    if get_origin(member) is not Annotated:
        if "Annotated[" in repr(member):
            raise TypeError(f"{name}: a range within {member} would not be checked.")
    elif member.__origin__ in (int, float) and not RANGE.fullmatch(str(member.__metadata__[0])):
        raise TypeError(
            f'{name}: no range "{member.__metadata__[0]}"; write "positive", "at least 1", or an '
            'interval such as "in (0, 1]".'
        )


def _check_value(name: str, hint: Any, value: Any) -> None:
    if isinstance(value, tuple):
        for number in value:
            _check_value(name, _member(hint), number)
    elif get_origin(hint) is Literal and value not in get_args(hint):
        known = ", ".join(choice or '""' for choice in get_args(hint))
        raise UserError(f'{name} must be one of {known}, got "{value}".')
    elif get_origin(hint) is Annotated:
        range_ = RANGE.fullmatch(str(hint.__metadata__[0]))  # none is a remark on a text
        if range_ and value is not None and not _lies_in(range_, value):
            raise UserError(f"{name} must be {range_[0]}, got {value}.")
        if not range_ or not range_[0].startswith("in "):
            _check_size(name, value)
    else:
        _check_size(name, value)


def _check_size(name: str, value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must be a finite number, got {value}.")
    if isinstance(value, int) and abs(value) > HIGHEST:
        raise UserError(f"{name} must be at most {HIGHEST:,}, got {value:,}.")


def _lies_in(range_: re.Match[str], number: float) -> bool:
    if range_[0] == "positive":
        return number > 0
    if range_["least"]:
        return number >= float(range_["least"])
    _, left, low, high, right = range_.groups()
    above = number > float(low) or (left == "[" and number == float(low))
    return above and (number < float(high) or (right == "]" and number == float(high)))


class SearchError(RuntimeError):
    """The search cannot go on; finished work is kept. Commands exit with code 1."""


HIDDEN = "//…@"
"""The mark in place of a URI's credentials."""


DATABASE = r"\b(postgresql|mysql|mariadb|mssql|oracle)(\+\w+)?:$"
"""Schemes with which a name without a password is no secret; with http it may be a token."""


def hidden(text: str) -> str:
    """The text without credentials of the URIs in it."""
    text = re.sub(r"(?<!sqlite:)(?<!/)//[^\s'\"]*@", _hidden_user, text)
    return re.sub(r"(?i)\b(\w*(?:password|passwd|pwd|token|secret))=[^&\s]*", r"\1=…", text)


def _hidden_user(match: re.Match[str]) -> str:
    is_name = re.fullmatch(r"//[\w.~%-]+@", match[0])
    return match[0] if is_name and re.search(DATABASE, match.string[: match.start()]) else HIDDEN


def refuse_credentials(name: str, url: str) -> None:
    """Refuse a URL with a password in it, since lists of processes show all arguments.

    Raises:
        UserError: with the right way to give the password.
    """
    if hidden(url) == url:
        return
    way = "the configuration file of its driver"
    if url.startswith("postgresql"):
        way = "the environment variable PGPASSWORD or the file ~/.pgpass"
    elif url.startswith("http"):
        way = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, environment variables"
    raise UserError(
        f"{name} {hidden(url)} has credentials in it, which lists of processes show: leave them "
        f"out, and give them in {way}."
    )
