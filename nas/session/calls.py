"""Calls from Python: arguments by name become the flags of the command, so that both mean the same.

A package such as `nas.search` is called like a function, and stays the package of the command.
"""

import dataclasses
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

from nas.cell.cell import Cell
from nas.command_line import fields_of
from nas.command_line.reading import unknown_field
from nas.errors import UserError

Names = str | Sequence[str]
"""One name, or several."""
Group = Mapping[str, object]
"""Fields of a group by their names; groups inside are mappings again."""


class RunFields(TypedDict, total=False):
    """Fields of `nas.study.config.RunConfig`, which explains each."""

    seed: int
    tasks: Names | Group
    settings: Group
    time_budget: str
    workers: int | str
    evaluation_time_limit: str
    evaluation_memory_limit_gb: float


class StudyFields(RunFields, total=False):
    """Fields of `nas.study.config.StudyConfig`, which explains each."""

    study: str
    studies: str | Path
    storage: str
    storage_wait: str
    tracking_uri: str
    devices: Names
    cluster: Group


def as_flags(
    owner: type, named: Mapping[str, object], aliases: Mapping[str, str], prefix: str = ""
) -> Iterator[str]:
    """Yield `--field=value` for each argument of a call; a group is a mapping or a dataclass.

    A value is text, a path, a number, a truth value, None, a cell, or a list of these.

    Raises:
        UserError: for a value of another kind, or a name that no field can have.
    """
    for name, value in named.items():
        path = f"{prefix}{name}"
        if dataclasses.is_dataclass(value) and not isinstance(value, type | Cell):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            if path not in fields_of(owner):
                raise unknown_field(owner, path)
            yield from as_flags(owner, value, {}, f"{path}.")
        elif path in fields_of(owner) or path in aliases:
            yield f"--{path}={_text(path, value)}"
        else:
            raise unknown_field(owner, path)


def _text(name: str, value: object) -> str:
    plain = _plain(name, value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _plain(name: str, value: object) -> Any:
    """A value as YAML has it."""
    if isinstance(value, Cell | Path):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "tolist"):  # NumPy's and torch's numbers and arrays
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(name, item) for item in value]
    raise UserError(
        f"{name} must be text, a number, true or false, a list of these, or a dict for a group of "
        f"fields, got {type(value).__name__}."
    )


@contextmanager
def explained(command: str) -> Iterator[None]:
    """Let messages name arguments where they name flags of `command`, such as "nas.search"."""
    try:
        yield
    except UserError as error:
        error.args = (_in_python(str(error), command),)
        raise error.with_traceback(None) from None


def _in_python(message: str, command: str) -> str:
    message = message.replace("--help all lists", f"python -m {command} --help all lists")

    def argument(match: re.Match[str]) -> str:
        if "python -m" in match.string[: match.start()]:  # a command, which has flags
            return match[0]
        first, *rest = match[1].replace("-", "_").split(".")
        value = "".join(f'{{"{name}": ' for name in rest) + "…" + "}" * len(rest) if rest else ""
        return f"{first}={value}"

    return re.sub(r"--([a-z][\w-]*(?:\.\w+)*)", argument, message)


def make_callable(package: str, target: str) -> None:
    """Let a package be called as the function at the import path `target`, "module:function".

    The function is imported at the first call or look at its signature.
    """

    def function() -> Callable[..., object]:
        found: Callable[..., object] = pkgutil.resolve_name(target)
        return found

    class CallablePackage(ModuleType):
        """A package that is also a function."""

        def __call__(self, *given: object, **named: object) -> object:
            return function()(*given, **named)

        @property
        def __signature__(self) -> inspect.Signature:
            return inspect.signature(function())

    sys.modules[package].__class__ = CallablePackage
