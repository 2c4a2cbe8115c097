"""Space files: YAML that names a kind of space and its fields."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from nas.cell import Cell
from nas.errors import CellError, UserError, unknown
from nas.resources import find
from nas.spaces.base import Space
from nas.zoo.lookup import cell as look_up

AnySpace = TypeVar("AnySpace", bound=Space)


def read_space(source: str, kinds: Mapping[str, type[AnySpace]]) -> AnySpace:
    """Read a space of one of `kinds` from a name that comes with `nas` or from a YAML file's path.

    Raises:
        UserError: if there is none, or its file breaks a rule.
    """
    path = find("search_spaces", source)
    try:
        fields = _fields(path)
        if "kind" not in fields:
            raise UserError(f'the field "kind" is missing; it must be one of {", ".join(kinds)}.')
        kind = str(fields.pop("kind"))
        if kind not in kinds:
            raise UserError(unknown("kind of space", kind, kinds))
        return kinds[kind].read(path.stem, fields)
    except UserError as error:
        raise UserError(f"space file {path}: {error}") from None


def _fields(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        given = yaml.safe_load(text)
    except UnicodeDecodeError:
        raise UserError("not UTF-8 text.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        reason = " ".join(str(error).split())
        raise UserError(f"not YAML, {reason}.") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError('a space is written as lines "field: [choice, …]".')
    names = [key.value for key, _ in root.value]
    for name in names:
        if names.count(name) > 1:
            times = names.count(name)
            raise UserError(f'the field "{name}" must be written once, got it {times} times.')
    return {str(name): value for name, value in given.items()}


def cell_of(field: str, given: object) -> Cell:
    """The cell that a field of a file names.

    Raises:
        UserError: naming the field, if there is none.
    """
    try:
        return look_up(text_of(field, given))
    except CellError as error:
        raise UserError(f"{field}: {error}") from None


def text_of(field: str, given: object) -> str:
    """The text that a field of a file gives.

    Raises:
        UserError: if it is something else.
    """
    if not isinstance(given, str):
        raise UserError(f"{field} must be text, got {given!r}.")
    return given
