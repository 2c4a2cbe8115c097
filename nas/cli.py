"""From the command line to a checked configuration, before anything slow is imported."""

import dataclasses
import difflib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import jsonargparse
import yaml

from nas.config import SearchConfig
from nas.errors import SearchError, UserError
from nas.resources import find, names
from nas.tasks.base import Task

USAGE = "python -m nas.search [CONFIG] [--FIELD VALUE ...]"
DESCRIPTION = """Search for recurrent cells, or go on with a search: the same command resumes.

CONFIG is an experiment that comes with nas ({experiments}) or the path of a YAML file; without it,
quickstart. Every field of the configuration is a flag; --print_config shows all of them as YAML.
python -m nas.status STUDY says what a search is doing, while it runs and afterwards.
"""
ALIASES = {"tasks": "tasks.use", "protocol": "protocol.kind"}
"""--tasks xml text is short for --tasks.use xml text, --protocol flat for --protocol.kind flat."""

EXIT_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_INTERRUPTED = 130


def guarded(command: str, main: Callable[[], int]) -> int:
    """Run a command; what the user did wrong is one sentence and exit code 2, no traceback."""
    try:
        return main()
    except UserError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return EXIT_WRONG_USAGE
    except SearchError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:  # before there was anything to keep, or for a second time
        print(f"{command}: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def parse(arguments: Sequence[str]) -> SearchConfig:
    """The configuration that the arguments mean, checked.

    Raises:
        UserError: in one sentence, for anything wrong with the arguments or the file.
        SystemExit: after --help and --print_config.
    """
    rest = list(arguments)
    source = rest.pop(0) if rest and not rest[0].startswith("-") else "quickstart"
    wants_help = any(flag in rest for flag in ("-h", "--help"))
    path = None if wants_help else find("experiments", source)
    flags = list(_flags(rest))
    if path is not None:
        _check_file(path)
        flags.insert(0, f"--config={path}")
    parser = _parser()
    try:
        namespace = parser.parse_args(flags)
        namespace.pop("config", None)
        config = SearchConfig(**parser.instantiate(namespace).as_dict())
    except (jsonargparse.ArgumentError, OSError) as error:
        raise UserError(_readable(str(error))) from None
    if not config.study:
        config = dataclasses.replace(config, study=_study_name(path, source))
    config.check()
    return config


def _study_name(path: Path | None, source: str) -> str:
    assert path is not None, "--help does not come here"
    name = path.resolve().parent.name if path.name == "config.yaml" else path.stem
    return re.sub(r"[^\w.-]+", "_", name) or source


@cache  # reading the docstrings takes a third of a second
def _parser() -> jsonargparse.ArgumentParser:
    # A task's class follows from the field's name, so that its fields are flags like all others.
    jsonargparse.set_parsing_settings(
        docstring_parse_attribute_docstrings=True, subclasses_disabled=[Task]
    )
    parser = jsonargparse.ArgumentParser(
        prog="python -m nas.search",
        usage=USAGE,
        description=DESCRIPTION.format(experiments=", ".join(names("experiments"))),
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="what CONFIG says, as a flag")
    parser.add_class_arguments(SearchConfig)
    return parser


# --- the fields of the configuration, by their dotted names ---


@cache
def _fields() -> Mapping[str, object]:
    """The type of every field, groups of fields included."""
    return dict(_types_in(SearchConfig, ""))


def _types_in(owner: type, prefix: str) -> Iterator[tuple[str, object]]:
    hints = get_type_hints(owner)
    for field in dataclasses.fields(owner):
        kind = hints[field.name]
        yield prefix + field.name, kind
        if dataclasses.is_dataclass(kind):
            assert isinstance(kind, type)
            yield from _types_in(kind, f"{prefix}{field.name}.")


def _is_group(name: str) -> bool:
    return dataclasses.is_dataclass(_fields()[name])


def _is_list(name: str) -> bool:
    return get_origin(_fields()[name]) is tuple


def _unknown_field(name: str) -> UserError:
    """Say so, with the field that has this last name, else the nearest one of its group."""
    group, _, last = name.rpartition(".")
    beside = [known for known in _fields() if known.rpartition(".")[0] == group]
    near = [known for known in _fields() if known.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(name, beside, n=1, cutoff=0.7)
    near = near or difflib.get_close_matches(name, _fields(), n=1, cutoff=0.6)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    return UserError(f'no field "{name}" in the configuration.{guess} --help lists all fields.')


def _needs_fields(name: str, value: object) -> UserError:
    first = next(known for known in _fields() if known.startswith(f"{name}."))
    return UserError(f'{name} is a group of fields, such as {first}, got "{value}".')


# --- the YAML file ---


def _check_file(path: Path) -> None:
    """Raise UserError unless the file is YAML whose keys are fields, each written once."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        raise UserError(f"configuration {path} is not UTF-8 text.") from None
    except OSError as error:
        raise UserError(f"configuration {path} cannot be read: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"configuration {path} is not YAML: {_reason(error)}.") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f'configuration {path} must be lines "field: value", such as "seed: 1".')
    try:
        _check_keys(root, "")
    except UserError as error:
        raise UserError(f"configuration {path}: {error}") from None


def _reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _check_keys(node: yaml.MappingNode, prefix: str) -> None:
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name not in _fields():
            raise _unknown_field(name)
        if name in seen:
            raise UserError(f"{name} must be written once, got it twice.")
        seen.add(name)
        if _is_group(name):
            if not isinstance(value, yaml.MappingNode):
                raise _needs_fields(name, value.value)
            _check_keys(value, f"{name}.")


# --- the command line ---


def _flags(arguments: Sequence[str]) -> Iterator[str]:
    """Arguments as jsonargparse reads them: one --field=value each, a list as YAML."""
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if not flag.startswith("--") and flag != "-h":
            raise UserError(f'"{flag}" must be a flag, --FIELD VALUE: --help lists all fields.')
        name = flag.lstrip("-").replace("-", "_")  # --time-budget is the field time_budget
        if name in ("h", "help", "print_config"):
            yield f"--{name.replace('h', 'help', name == 'h')}{equals}{value}"
            continue
        values = [value] if equals else []
        while not equals and rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        yield _field_flag(flag, ALIASES.get(name, name), values)


def _field_flag(flag: str, name: str, values: Sequence[str]) -> str:
    if name not in _fields() and name != "config":
        raise _unknown_field(name)
    several = name != "config" and _is_list(name)
    if not values:
        raise UserError(f"{flag} needs {'at least one' if several else 'a'} value, got none.")
    if several:
        return f"--{name}={_listed(name, values)}"
    if len(values) > 1:
        raise UserError(f"{flag} takes one value, got {len(values)}: {' '.join(values)}.")
    if name == "config":
        _check_file(Path(values[0]))
    elif _is_group(name):
        raise _needs_fields(name, values[0])
    return f"--{name}={values[0]}"


def _listed(name: str, values: Sequence[str]) -> str:
    """Several values, or one with commas, as a YAML list; what is one already stays."""
    if values[0].startswith("["):
        return " ".join(values)
    parts = [part for one in values for part in one.split(",") if part]
    if get_args(_fields()[name])[0] is str:
        return json.dumps(parts)
    return f"[{', '.join(parts)}]"


KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "tuple": "a list in brackets",
}
UNION = re.compile(r"Does not validate against any of the Union.*NoneType.*Given value: ?(.*)")
EXPECTED = re.compile(r"Expected an? (?:<class ')?(?:typing\.)?(.*?)(?:'>)?\. Got value: ?(.*)")


def _readable(message: str) -> str:
    """jsonargparse's message as one sentence."""
    text = " ".join(line.strip(" -") for line in message.splitlines() if line.strip(" -"))
    text = UNION.sub(r'must be a number or null, got "\1"', EXPECTED.sub(_expected, text))
    text = text.replace("argument --", "")
    fields = re.findall(r'Parser key "([\w.]+)": ?', text)
    rule = re.sub(r'Parser key "[\w.]+": ?', "", text).rstrip(".")
    if len(fields) == 2 and "." not in fields[1]:
        fields = [".".join(fields)]
    return f"{fields[-1]} {rule}." if fields else f"{rule}."


def _expected(found: re.Match[str]) -> str:
    kind = KINDS.get(found[1]) or re.sub(r"Literal\[(.*)\]", r"one of \1", found[1])
    return f'must be {kind}, got "{found[2]}"'
