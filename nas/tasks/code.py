"""The identity of a user's function: its source, with what it uses of its own module."""

import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

PLAIN = (int, float, str, bytes, bool, type(None), tuple, frozenset)
"""Kinds of globals whose values are part of a function's identity."""


def source_of(function: object) -> str:
    """Return a text that changes with the code of a function.

    It has the source of the function, of the functions and classes of the same module that it names
    and of those that they name, and the values of the module's numbers and texts among these.
    Not covered: other modules that it imports, of which only the names are in it, and what is
    looked up at run time.
    """
    return "\n".join(_parts(function, set()))


def _parts(thing: Any, seen: set[int]) -> Iterator[str]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, functools.partial):
        yield f"partial {thing.args!r} {sorted(thing.keywords.items())!r}"
        yield from _parts(thing.func, seen)
    elif isinstance(thing, FunctionType):
        yield f"{_source(thing)} {thing.__defaults__!r} {thing.__kwdefaults__!r}"
        yield from _named(thing, seen)
    elif isinstance(thing, type):
        yield _source(thing)
        for member in vars(thing).values():
            if isinstance(member, FunctionType):
                yield from _named(member, seen)
    elif hasattr(thing, "__module__") and hasattr(thing, "__qualname__"):  # written in C
        yield f"{thing.__module__}:{thing.__qualname__}"
    else:  # an object that can be called
        yield repr(sorted(vars(thing).items())) if hasattr(thing, "__dict__") else ""
        yield from _parts(type(thing), seen)


def _named(function: FunctionType, seen: set[int]) -> Iterator[str]:
    """What a function names in its own module, and that it names of others."""
    for name in sorted(_names(function.__code__)):
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        if isinstance(value, PLAIN):
            yield f"{name} = {value!r}"
        elif getattr(value, "__module__", None) == function.__module__ and callable(value):
            yield from _parts(value, seen)
        else:
            yield f"{name}: {getattr(value, '__module__', '')}:{getattr(value, '__name__', '')}"


def _names(code: CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return {*code.co_names, *(name for one in inner for name in _names(one))}


def _source(thing: Any) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # made without a file
        return f"{thing.__module__}:{thing.__qualname__}"
