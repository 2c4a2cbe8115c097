"""Space files: YAML that names a kind of space and its fields."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from nas.cell import Cell
from nas.command_line import yaml_loader
from nas.errors import CellError, UserError, unknown
from nas.resources import find
from nas.spaces.base import Space
from nas.zoo.lookup import cell as look_up

AnySpace = TypeVar("AnySpace", bound=Space)
T = TypeVar("T")


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
        loader = yaml_loader(text)
        root, given = yaml.compose(text, Loader=loader), yaml.load(text, loader)
    except UnicodeDecodeError:
        raise UserError("not UTF-8 text.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that does not exist
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


# --- the fields of a file: each reader raises UserError with the field, the rule and the value ---


def check_names(fields: Iterable[str], known: Collection[str]) -> None:
    """Refuse fields that the kind of space does not have."""
    for field in fields:
        if field not in known:
            raise UserError(unknown("field", field, known))


def listed(given: object) -> list[object]:
    """A list, or a single value as a list of one."""
    return given if isinstance(given, list) else [given]


def once(field: str, choices: Sequence[T]) -> tuple[T, ...]:
    """Choices without repetition."""
    for choice in choices:
        if choices.count(choice) > 1:
            raise UserError(f"{field} must name each choice once, got {choice} twice.")
    return tuple(choices)


def cell_of(field: str, given: object) -> Cell:
    """The cell that a field names."""
    try:
        return look_up(text_of(field, given))
    except CellError as error:
        raise UserError(f"{field}: {error}") from None


def text_of(field: str, given: object) -> str:
    if not isinstance(given, str):
        raise UserError(f"{field} must be text, got {given!r}.")
    return given


def flag_of(field: str, given: object) -> bool:
    if not isinstance(given, bool):
        raise UserError(f"{field} must be true or false, got {given!r}.")
    return given


def generations_of(given: int) -> int:
    """The field `max_generation`, a whole number."""
    if given < 2:
        raise UserError(f"max_generation must be at least 2, got {given}.")
    return given
