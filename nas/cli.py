"""From the command line to a checked configuration, before anything slow is imported."""

import difflib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jsonargparse

from nas.config import SearchConfig
from nas.errors import SearchError, UserError
from nas.resources import find, names

USAGE = "python -m nas.search [CONFIG] [--FIELD VALUE ...]"
DESCRIPTION = """Search for recurrent cells, or go on with a search: the same command resumes.

CONFIG is an experiment that comes with nas ({experiments}) or the path of a YAML file; without it,
quickstart. Every field of the configuration is a flag; --print_config shows all of them as YAML.
"""
LISTS = {"--tasks": "--tasks.use", "--include": "--include"}
"""Flags that take several values, --tasks xml text or --tasks xml,text, and the fields they set."""

EXIT_FAILED = 1
EXIT_WRONG_USAGE = 2


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
    parser = _parser()
    if path is not None:
        rest = ["--config", str(path), *rest]
    try:
        namespace = parser.parse_args(_with_lists(rest))
        namespace.pop("config", None)
        config = SearchConfig(**parser.instantiate(namespace).as_dict())
    except (jsonargparse.ArgumentError, OSError) as error:
        raise UserError(_readable(str(error), parser, str(path or source))) from None
    if not config.study:
        config = _named(config, source, path)
    config.check()
    return config


def _named(config: SearchConfig, source: str, path: Path | None) -> SearchConfig:
    from dataclasses import replace

    assert path is not None
    name = path.parent.name if path.name == "config.yaml" else path.stem
    return replace(config, study=re.sub(r"[^\w.-]+", "_", name) or source)


def _parser() -> jsonargparse.ArgumentParser:
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
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


def _with_lists(arguments: Sequence[str]) -> list[str]:
    """Flags as jsonargparse reads them: names of fields, several values as JSON."""
    result: list[str] = []
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag.startswith("--"):
            flag = "--" + flag[2:].replace("-", "_")  # --time-budget is the field time_budget
        if flag not in LISTS:
            result.append(flag + equals + value)
            continue
        values = [value] if equals else []
        while not equals and rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        if not values:
            raise UserError(f"{flag} needs at least one value, got none.")
        if values[0].startswith("["):
            result.append(f"{LISTS[flag]}={' '.join(values)}")
        else:
            split = [part for one in values for part in one.split(",") if part]
            result.append(f"{LISTS[flag]}={json.dumps(split)}")
    return result


UNKNOWN = re.compile(r"unrecognized arguments: --([\w.-]+)|Option '([\w.-]+)' is not accepted")


def _readable(message: str, parser: jsonargparse.ArgumentParser, source: str) -> str:
    """jsonargparse's message as one sentence, with the nearest field where one is unknown."""
    text = " ".join(line.strip(" -") for line in message.splitlines() if line.strip(" -"))
    text = re.sub(r"Problem with given class_path '[\w.]+': ", "", text)
    if found := UNKNOWN.search(text):
        key = (found[1] or found[2]).replace("-", "_")
        if group := re.search(r'Parser key "([\w.]+)"', text):
            key = f"{group[1]}.{key}"
        known = [a.dest for a in parser._actions if not a.dest.endswith("help")]
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        near = near or [name for name in known if name.endswith(f".{key}")][:1]
        guess = f' Did you mean "{near[0]}"?' if near else ""
        return f'no field "{key}" in the configuration.{guess} --help lists all fields.'
    if "Unexpected config" in text or "Problems parsing config" in text:
        reason = text.partition(": ")[2].replace('in "<unicode string>", ', "at ")
        return f"{source} is not a YAML file of fields: {reason}."
    expected = r"Expected an? (?:<class ')?(?:typing\.)?(.*?)(?:'>)?\. Got value: (.*)"
    text = re.sub(expected, r"must be of type \1, got \2", text).replace("argument --", "")
    fields = re.findall(r'Parser key "([\w.]+)": ?', text)
    rule = re.sub(r'Parser key "[\w.]+": ?', "", text).rstrip(".")
    if len(fields) == 2 and "." not in fields[1]:
        fields = [".".join(fields)]
    return f"{fields[-1]} {rule}." if fields else f"{rule}."
