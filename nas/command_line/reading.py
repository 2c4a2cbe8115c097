"""From a command line and a YAML file to the dataclass of a command's configuration.

Every field is a flag, by its dotted name; a group of fields is a dataclass inside. jsonargparse
reads the values; an error is one sentence that names the field.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin

import jsonargparse
import yaml

from nas.command_line.fields import fields_of, is_group
from nas.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@cache
def _reader_of(
    owner: type, skip: tuple[str, ...], reads_files: bool
) -> jsonargparse.ArgumentParser:
    """What reads the values of a configuration's fields; `nas/command_line/help.py` shows them."""
    # A group's class follows from its field's name, so that its fields are flags like all others.
    groups: list[type | Callable[[type], bool]] = [
        t for t in fields_of(owner).values() if isinstance(t, type) and is_dataclass(t)
    ]
    jsonargparse.set_parsing_settings(subclasses_disabled=groups)
    parser = jsonargparse.ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    parser.add_class_arguments(owner, skip=set(skip))
    if reads_files:
        parser.add_argument("--config", action="config")
    return parser


Config = TypeVar("Config", bound="DataclassInstance")


def read_config(owner: type[Config], given: Sequence[str]) -> Config:
    """The configuration of a command, from the flags that `flags` yields and the file in them.

    Raises:
        UserError: for a value that does not fit its field.
        SystemExit: after --print-config.
    """
    return _read(_reader_of(owner, (), reads_files=True), owner(), given)


def parse_flags(default: Config, arguments: Sequence[str], skip: Sequence[str] = ()) -> Config:
    """The default configuration with the changes that flags make; skipped fields have no flag.

    Raises:
        UserError: for an unknown flag, or a value that does not fit its field.
    """
    reader = _reader_of(type(default), tuple(skip), reads_files=False)
    return _read(reader, default, list(flags(type(default), arguments)))


def _read(parser: jsonargparse.ArgumentParser, default: Config, given: Sequence[str]) -> Config:
    # Only to be printed are fields needed that are not given: jsonargparse looks at each of
    # hundreds, for 0.2 s.
    is_printed = any(flag.startswith("--print_config") for flag in given)
    try:
        namespace = parser.parse_args(list(given), defaults=is_printed)
        namespace.pop("config", None)
        return _changed(default, namespace.as_dict())
    except (jsonargparse.ArgumentError, OSError, ValueError, OverflowError) as error:
        raise UserError(readable(str(error))) from None


def _changed(default: Config, values: Mapping[str, Any]) -> Config:
    """The dataclass with other values; those of a group are laid over the group."""
    laid = dict(values)
    for name, value in values.items():
        if is_dataclass(group := getattr(default, name)):
            laid[name] = _changed(cast("DataclassInstance", group), value)
    return dataclasses.replace(default, **laid)


# --- what is wrong with a field ---


def unknown_field(owner: type, name: str) -> UserError:
    """An error that offers the field with the same last name, else the most similar field."""
    group, _, last = name.rpartition(".")
    fields = list(fields_of(owner))
    beside = [known for known in fields if known.rpartition(".")[0] == group]
    near = [known for known in fields if known.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(name, beside, n=1, cutoff=0.7)
    near = near or difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    return UserError(f'no field "{name}" in the configuration.{guess} --help all lists all fields.')


def _group_without_fields(owner: type, name: str, value: object) -> UserError:
    first = next(known for known in fields_of(owner) if known.startswith(f"{name}."))
    return UserError(f'{name} is a group of fields, such as {first}, got "{value}".')


# --- the YAML file ---


def check_file(owner: type, path: Path) -> None:
    """Raise UserError unless the file is YAML whose keys are fields, each written once."""
    try:
        text = path.read_text(encoding="utf-8")
        _check_depth(f"configuration {path}", text)
        root = yaml.compose(text, Loader=yaml_loader(text))
    except UnicodeDecodeError:
        raise UserError(f"configuration {path} is not UTF-8 text.") from None
    except OSError as error:
        raise UserError(f"configuration {path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"configuration {path} is not YAML: {yaml_reason(error)}.") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f'configuration {path} must be lines "field: value", such as "seed: 1".')
    try:
        _check_keys(owner, root, "")
    except UserError as error:
        raise UserError(f"configuration {path}: {error}") from None


DEEPEST = 100
"""The most levels of nesting that libyaml is given: each needs some of the stack, and where that
ends the process dies."""


def yaml_loader(text: str) -> type[Any]:
    """The loader of PyYAML for a text: libyaml's, several times as fast as Python's own.

    Python's where libyaml is not installed, or refuses the text, since Python's messages say what
    is wrong there; and for aliases and more than `DEEPEST` levels, of which Python's raises a
    RecursionError if they are too many.
    """
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        for event in yaml.parse(text, Loader=fast):  # no recursion
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
                return yaml.SafeLoader
    except (yaml.YAMLError, ValueError):
        return yaml.SafeLoader
    return fast


MOST_BRACKETS = 1000


def _check_depth(what: str, text: str) -> None:
    """Refuse what could be nested so deep that the YAML parser in C runs out of stack and dies."""
    if (n_brackets := text.count("[") + text.count("{")) > MOST_BRACKETS:
        raise UserError(f"{what} must have at most {MOST_BRACKETS:,} brackets, got {n_brackets:,}.")


def yaml_reason(error: Exception) -> str:
    """Why a text is no YAML, with the line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _check_keys(owner: type, node: yaml.MappingNode, prefix: str) -> None:
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name not in fields_of(owner):
            raise unknown_field(owner, name)
        if name in seen:
            raise UserError(f"{name} must be written once, got it twice.")
        seen.add(name)
        if is_group(owner, name):
            if not isinstance(value, yaml.MappingNode):
                raise _group_without_fields(owner, name, value.value)
            _check_keys(owner, value, f"{name}.")


# --- the command line ---


NO_ALIASES: Mapping[str, str] = {}


def flags(
    owner: type, arguments: Sequence[str], aliases: Mapping[str, str] = NO_ALIASES
) -> Iterator[str]:
    """Arguments in the form --field=value, with a list as YAML, as jsonargparse reads them."""
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if not flag.startswith("--"):
            raise UserError(f'"{flag}" must be a flag, --FIELD VALUE: --help all lists all fields.')
        name = flag.lstrip("-").replace("-", "_")  # --time-budget is the field time_budget
        if name == "print_config":
            yield f"--print_config{equals}{value}"
            continue
        values = [value] if equals else []
        while not equals and rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        name = aliases.get(name, name)
        if not values and fields_of(owner).get(name.removeprefix("no_")) is bool:
            name, values = name.removeprefix("no_"), [str(not name.startswith("no_")).lower()]
        yield _field_flag(owner, flag, name, values)


def _field_flag(owner: type, flag: str, name: str, values: Sequence[str]) -> str:
    if name not in fields_of(owner) and name != "config":
        raise unknown_field(owner, name)
    is_list = name != "config" and get_origin(fields_of(owner)[name]) is tuple
    if not values:
        raise UserError(f"{flag} needs {'at least one' if is_list else 'a'} value, got none.")
    _check_depth(flag, " ".join(values))
    if is_list:
        return f"--{name}={_listed(owner, name, values)}"
    if len(values) > 1:
        raise UserError(
            f"{flag} takes one value, got {len(values)}: {' '.join(values)}; what has no flag, "
            "such as the name of a cell, comes before all flags."
        )
    if name == "config":
        check_file(owner, Path(values[0]))
    elif is_group(owner, name):
        raise _group_without_fields(owner, name, values[0])
    return f"--{name}={values[0]}"


def _listed(owner: type, name: str, values: Sequence[str]) -> str:
    """Values, which may have commas between them, as a YAML list; a YAML list stays."""
    if values[0].startswith("["):
        return " ".join(values)
    parts = [part for value in values for part in value.split(",") if part]
    if get_args(fields_of(owner)[name])[0] is str:
        return json.dumps(parts)
    return f"[{', '.join(parts)}]"


def split_config(arguments: Sequence[str]) -> tuple[list[str], str]:
    """The other arguments, and the value of --config; empty if it is not given."""
    rest, source = [], ""
    given = iter(arguments)
    for argument in given:
        name, equals, value = argument.partition("=")
        if name != "--config":
            rest.append(argument)
            continue
        source = value if equals else next(given, "")
        if not source or source.startswith("--"):
            raise UserError("--config needs a value, got none.")
    return rest, source


KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "tuple": "a list in brackets",
}
UNION = re.compile(r"Does not validate against any of the Union.*NoneType.*Given value: ?(.*)")
EXPECTED = re.compile(r"Expected an? (?:<class ')?(?:typing\.)?(.*?)(?:'>)?\. Got value: ?(.*)")


def readable(message: str) -> str:
    """jsonargparse's message as one sentence."""
    text = " ".join(line.strip(" -") for line in message.splitlines() if line.strip(" -"))
    text = UNION.sub(r'must be a number or null, got "\1"', EXPECTED.sub(_expected, text))
    text = text.replace("argument --", "")
    fields = re.findall(r'Parser key "([\w.]+)": ?', text)
    rule = re.sub(r'Parser key "[\w.]+": ?', "", text).rstrip(".")
    if len(fields) == 2 and "." not in fields[1]:
        fields = [".".join(fields)]
    return f"{fields[-1]} {rule}." if fields else f"{rule}."


def _expected(match: re.Match[str]) -> str:
    kind = KINDS.get(match[1]) or re.sub(r"Literal\[(.*)\]", r"one of \1", match[1])
    return f'must be {kind}, got "{match[2]}"'
