"""Space files: YAML that names a kind of space and its fields."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from nas.errors import UserError, unknown
from nas.resources import find
from nas.spaces.base import Space

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
