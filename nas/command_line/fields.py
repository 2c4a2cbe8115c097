"""The fields of a configuration by their dotted names: types, defaults, and what they mean."""

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, get_type_hints


@cache
def fields_of(owner: type) -> Mapping[str, object]:
    """The type of every field, groups of fields included."""
    return {name: kind for name, kind, _ in _fields_in(owner, "")}


@cache
def annotated_fields_of(owner: type) -> Mapping[str, Any]:
    """The same with the ranges of numbers, such as `Annotated[int, "at least 1"]`."""
    return {name: annotated for name, _, annotated in _fields_in(owner, "")}


def _fields_in(owner: type, prefix: str) -> Iterator[tuple[str, object, Any]]:
    hints = get_type_hints(owner)
    annotated = get_type_hints(owner, include_extras=True)
    for field in dataclasses.fields(owner):
        kind = hints[field.name]
        yield prefix + field.name, kind, annotated[field.name]
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from _fields_in(kind, f"{prefix}{field.name}.")


def is_group(owner: type, name: str) -> bool:
    """Whether a field is a group of fields."""
    return is_dataclass(fields_of(owner)[name])


def groups_of(owner: type) -> list[str]:
    """The names of all groups of fields, those within groups included."""
    return [name for name in fields_of(owner) if is_group(owner, name)]


@cache
def sentences_of(owner: type) -> Mapping[str, str]:
    """The sentence under each field. It takes long: the source of each class is read."""
    return dict(_sentences_in(owner, ""))


def _sentences_in(owner: type, prefix: str) -> Iterator[tuple[str, str]]:
    for base in reversed(owner.__mro__):
        if is_dataclass(base):
            for name, sentence in _sentences_of(base.__module__, base.__name__):
                yield prefix + name, sentence
    for name, kind in get_type_hints(owner).items():
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _sentences_in(kind, f"{prefix}{name}.")


@cache
def _sentences_of(module: str, owner: str) -> Sequence[tuple[str, str]]:
    source = inspect.getsource(sys.modules[module])
    block = re.search(rf"^class {owner}\b.*?(?=^[\w@#\"]|\Z)", source, re.MULTILINE | re.DOTALL)
    assert block is not None
    (parsed,) = ast.parse(block[0]).body  # not the whole file, which takes longer
    assert isinstance(parsed, ast.ClassDef)
    return [
        (str(field.target.id), inspect.cleandoc(str(under.value.value)))
        for field, under in pairwise(parsed.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(under, ast.Expr)
        and isinstance(under.value, ast.Constant)
    ]
