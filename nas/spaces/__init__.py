"""The spaces that can be searched: `load_space("gates").propose(trial)` for any trial of Optuna.

A new space is a YAML file, named by its path; a new kind of space is a file and a line in SPACES.
"""

from pathlib import Path

import yaml

from nas.errors import UserError, unknown
from nas.resources import find
from nas.spaces.base import Params, Scalar, Space
from nas.spaces.gates import Gates
from nas.spaces.graph import Graph

__all__ = ["SPACES", "Gates", "Graph", "Params", "Scalar", "Space", "load_space"]

SPACES: dict[str, type[Space]] = {
    "gates": Gates,
    "graph": Graph,
}


def load_space(source: str) -> Space:
    """Read a space from a name that comes with `nas` or from the path of a YAML file.

    Raises:
        UserError: if there is none, or its file breaks a rule.
    """
    path = find("search_spaces", source)
    try:
        fields = _fields(path)
        if "kind" not in fields:
            raise UserError(f'the field "kind" is missing; it must be one of {", ".join(SPACES)}.')
        kind = str(fields.pop("kind"))
        if kind not in SPACES:
            raise UserError(unknown("kind of space", kind, SPACES))
        return SPACES[kind].read(path.stem, fields)
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
