"""The help of a command whose flags are the fields of a configuration: a page, or one group.

`--help` shows the flags that most users need, `--help GROUP` those of one group of fields, and
`--help all` every flag. Completion in the shell reads the same flags.
"""

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from nas.command_line.fields import (
    annotated_fields_of,
    fields_of,
    groups_of,
    is_group,
    sentences_of,
)
from nas.errors import UserError, unknown

KINDS = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}
METAVARS = {int: "N", float: "X", bool: "true|false"}
GENERAL, ALL = "general", "all"
"""Names of what `--help` shows beside groups: the flags that are in no group, and every flag."""
MANY = 6
"""Groups of one parent that are listed by the parent's name and theirs in braces."""
WIDEST = 100


@dataclass(frozen=True)
class Command:
    """A command whose flags are the fields of a configuration, as its help shows it."""

    name: str
    """Such as search, for `nas search` and `python -m nas.search`."""
    default: Any
    """The configuration without any flag, a dataclass."""
    usage: str
    description: str
    common: tuple[str, ...] = ()
    """The fields that `--help` shows; all if there are none."""
    example: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Short names of fields, such as tasks for tasks.use."""
    skip: tuple[str, ...] = ()
    """Fields that are no flags."""
    reads_files: bool = False
    """Whether it has the flags --config and --print-config."""

    @property
    def owner(self) -> type:
        """The class of the configuration."""
        owner: type = type(self.default)
        return owner

    @property
    def flags(self) -> list[str]:
        """The names of all fields that are flags."""
        return [
            name
            for name in fields_of(self.owner)
            if not is_group(self.owner, name) and name.partition(".")[0] not in self.skip
        ]

    @property
    def groups(self) -> list[str]:
        """The names of all groups of flags."""
        return [name for name in groups_of(self.owner) if name.partition(".")[0] not in self.skip]


def program(name: str) -> str:
    """A command as it was typed: `nas search`, or `python -m nas.search`."""
    typed = Path(sys.argv[0])
    in_one = typed.stem == "nas" or (typed.stem == "__main__" and typed.parent.name == "nas")
    return f"nas {name}" if in_one else f"python -m nas.{name}"


def hyphened(name: str) -> str:
    """The flag of a field, such as --time-budget."""
    return f"--{name.replace('_', '-')}"


# --- what is asked for ---


def asked_topic(arguments: Sequence[str]) -> str | None:
    """What --help is asked about: a topic, empty for the page; None if it is not asked for."""
    for place, argument in enumerate(arguments):
        flag, equals, topic = argument.partition("=")
        if flag in ("-h", "--help"):
            after = arguments[place + 1] if place + 1 < len(arguments) else ""
            return topic if equals else "" if after.startswith("-") else after
    return None


def help_if_asked(command: Callable[[], Command], arguments: Sequence[str]) -> None:
    """Print the help that the arguments ask for, and end.

    Raises:
        UserError: for a topic that is no group and no field.
        SystemExit: after the help.
    """
    if (topic := asked_topic(arguments)) is not None:
        print(help_of(command(), topic), end="")
        raise SystemExit(0)


def help_of(command: Command, topic: str = "") -> str:
    """The help of a command about a topic: a group, a field, `GENERAL`, `ALL`; else the page.

    Raises:
        UserError: for a topic that is none of these, with the nearest.
    """
    if not topic:
        return page(command)
    name = found(command, topic)
    if name == ALL:
        return parser_of(command).format_help()
    if name in command.flags:
        shown = [name]
    else:
        shown = [flag for flag in command.flags if flag.rpartition(".")[0] == _prefix(name)]
    return _about(command, name, shown)


def _prefix(name: str) -> str:
    return "" if name == GENERAL else name


def found(command: Command, topic: str) -> str:
    """The group or field that a topic names, perhaps by its last name alone.

    Raises:
        UserError: if there is none.
    """
    name = topic.lstrip("-").replace("-", "_")
    topics = [ALL, GENERAL, *command.groups]
    if name in topics or name in command.flags:
        return name
    last = [known for known in command.groups if known.rpartition(".")[2] == name]
    last = last or [known for known in command.flags if known.rpartition(".")[2] == name]
    if len(last) == 1:
        return last[0]
    raise UserError(unknown("group of flags", topic, topics))


# --- pages ---


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Writes descriptions and examples as they are, and cuts no flag behind a hyphen."""

    def __init__(self, prog: str, max_help_position: int = 30) -> None:
        super().__init__(prog, max_help_position=max_help_position)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def page(command: Command) -> str:
    """The page of `--help`: what the command does, the flags of most use, and where others are."""
    if not command.common:
        return parser_of(command).format_help()
    made = _parser(command, epilog=_further(command))
    _add(made, command, command.common, short=True)
    _add_others(made, command)
    return made.format_help()


def parser_of(command: Command) -> argparse.ArgumentParser:
    """A parser of every flag, in groups. It is for help and completion, and parses nothing."""
    made = _parser(command)
    for name in (GENERAL, *command.groups):
        prefix = _prefix(name)
        flags = [flag for flag in command.flags if flag.rpartition(".")[0] == prefix]
        if flags:
            group = made.add_argument_group(name, sentences_of(command.owner).get(name))
            _add(group, command, flags)
    _add_others(made, command)
    return made


def _about(command: Command, name: str, flags: Sequence[str]) -> str:
    """The flags of one group, or one flag, and the groups inside."""
    prefix = _prefix(name)
    inside = [group for group in command.groups if group.rpartition(".")[0] == prefix]
    epilog = filled(f"Groups inside, for --help GROUP: {listed(inside)}") if inside else ""
    made = argparse.ArgumentParser(
        program(command.name), add_help=False, epilog=epilog, formatter_class=Formatter
    )
    sentence = sentences_of(command.owner).get(name) if name not in command.flags else None
    _add(made.add_argument_group(name, sentence), command, flags)
    made.usage = argparse.SUPPRESS
    return made.format_help()


def _parser(command: Command, epilog: str = "") -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=program(command.name),
        usage=f"{program(command.name)} {command.usage}",
        description=filled(command.description),
        epilog=epilog,
        add_help=False,
        allow_abbrev=False,
        formatter_class=Formatter,
    )


def filled(text: str) -> str:
    """The paragraphs of a text, each as wide as the terminal."""
    width = min(shutil.get_terminal_size().columns - 2, WIDEST)
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(
        textwrap.fill(" ".join(part.split()), width, break_on_hyphens=False) for part in paragraphs
    )


def _further(command: Command) -> str:
    """Where the other flags are, and an example."""
    flags = "--help all says more of these flags, and shows all others."
    if command.groups:
        groups = listed([GENERAL, *command.groups])
        flags = f"--help GROUP shows all flags of one group: {groups}. --help all shows every flag."
    return f"{filled(flags)}\n\nexample:\n  {program(command.name)} {command.example}"


def listed(groups: Sequence[str]) -> str:
    """Names of groups in one line; many of one parent share its name, as in tasks.{xml, text}."""
    parents = [name.rpartition(".")[0] for name in groups]
    parts = []
    for name, parent in zip(groups, parents, strict=True):
        if not parent or parents.count(parent) < MANY:
            parts.append(name)
        elif groups[parents.index(parent)] == name:
            pairs = zip(groups, parents, strict=True)
            inside = [other.rpartition(".")[2] for other, of in pairs if of == parent]
            parts.append(f"{parent}.{{{', '.join(inside)}}}")
    return ", ".join(parts)


def offer(parser: argparse.ArgumentParser, known: Mapping[str, Iterable[str]]) -> None:
    """Let the shell complete the values of fields, each by its name, which may be others too."""
    for action in parser._actions:
        if action.dest in known:
            action.choices = list(known[action.dest])


# --- flags ---


def _add(
    to: "argparse._ActionsContainer", command: Command, names: Iterable[str], *, short: bool = False
) -> None:
    """Add fields as flags; with `short` by their short names, and what they are at their first."""
    aliases = {full: alias for alias, full in command.aliases.items()}
    kinds, sentences = annotated_fields_of(command.owner), sentences_of(command.owner)
    for name in names:
        alias = [aliases[name]] if name in aliases else []
        shown = alias if short and alias else [name, *alias]
        default = attrgetter(name)(command.default)
        about = _default(default) if short else describe(kinds[name], default)
        sentence = " ".join(sentences.get(name, "").split())
        if short:
            sentence = re.split(r"[.;] |[.;:]$", sentence)[0]
        to.add_argument(
            *map(hyphened, shown),
            dest=name,
            help=(f"{sentence} ({about})" if about else sentence).strip().replace("%", "%%"),
            **_form(kinds[name], shown[0]),
        )


def _add_others(to: argparse.ArgumentParser, command: Command) -> None:
    """Add the flags that are no fields."""
    if command.reads_files:
        to.add_argument("--config", metavar="FILE", help="a YAML file of fields")
        to.add_argument("--print-config", action="store_true", help="print all fields as YAML")
    to.add_argument(
        "--no-color", action="store_true", help="without colours, as with NO_COLOR=1 in the shell"
    )
    topics = [GENERAL, *command.groups, ALL] if command.groups else [ALL]
    to.add_argument(
        "-h", "--help", metavar="GROUP", nargs="?", choices=topics, help="this, or a group's flags"
    )


def _form(kind: Any, name: str) -> dict[str, Any]:
    """How a value is written: its placeholder or its choices, and whether there may be several."""
    several = get_origin(_bare(kind)) is tuple
    member = _bare(get_args(_bare(kind))[0] if several else kind)
    many: dict[str, Any] = {"nargs": "+"} if several else {"nargs": "?"} if member is bool else {}
    if get_origin(member) is Literal:
        return many | {"choices": [choice for choice in get_args(member) if choice != ""]}
    last = name.rpartition(".")[2].rpartition("_")[2].upper()
    return many | {"metavar": METAVARS.get(member, last.rstrip("S") if several else last)}


def _bare(kind: Any) -> Any:
    """A type without the range of its numbers."""
    return kind.__origin__ if get_origin(kind) is Annotated else kind


def describe(kind: Any, default: object) -> str:
    """The type of a field and its default, such as "whole number, at least 1; default 100"."""
    shown = _default(default)
    return "; ".join([*_described(kind), *([shown] if shown else [])])


def _described(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Annotated:
        yield f"{'; '.join(_described(kind.__origin__))}, {kind.__metadata__[0]}"
    elif get_origin(kind) is tuple:
        members = get_args(kind)
        yield f"list: {'; '.join(_described(members[0]))}"
    elif get_origin(kind) in (Union, UnionType):
        yield " or ".join(part for member in get_args(kind) for part in _described(member))
    elif get_origin(kind) is Literal:
        yield "one of these"
    else:
        yield "null" if kind is type(None) else KINDS.get(kind, getattr(kind, "__name__", ""))


def _default(value: object) -> str:
    if value in ("", (), None):
        return ""
    if isinstance(value, tuple):
        return f"default {' '.join(map(str, value))}"
    return f"default {str(value).lower() if isinstance(value, bool) else value}"
