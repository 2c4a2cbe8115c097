"""The pages of help: short ones, one group of flags, and all of them."""

import contextlib
import io
import pkgutil
import re
import sys
from collections.abc import Callable

import pytest

from nas.command_line import Command, program
from nas.command_line.help import help_of, listed
from nas.samplers.registry import NAMES
from nas.study.config import SearchConfig
from nas.study.parse import parse
from nas.tasks import TASKS

COMMANDS = {
    "search": "nas.search.search:main",
    "compare": "nas.compare.command:main",
    "curves": "nas.curves.command:main",
    "replay": "nas.replay.command:main",
    "bench": "nas.bench.command:main",
}
GROUPS = {
    "search": "evolution",
    "compare": "settings",
    "curves": "tasks.text",
    "replay": "evolution",
}


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def said(command: str, *arguments: str) -> tuple[int, str, str]:
    """What a command prints, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    main: Callable[[list[str]], int] = pkgutil.resolve_name(COMMANDS[command])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_is_short_and_shows_an_example_that_is_understood(command: str) -> None:
    code, page, _ = said(command, "--help")
    assert code == 0
    lines = page.splitlines()
    assert 20 < len(lines) <= 60
    example = lines[lines.index("example:") + 1].split()
    assert example[:3] == ["python", "-m", f"nas.{command}"]
    flags = {word for word in example if word.startswith("--")}
    assert flags
    _, everything, _ = said(command, "--help", "all")
    assert flags <= set(re.findall(r"--[\w.-]+", everything))
    assert len(everything) > len(page)


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_written_with_hyphens(command: str) -> None:
    for topic in ([], ["all"]):
        _, page, _ = said(command, "--help", *topic)
        assert re.findall(r"--[\w.-]*_[\w.-]*", page) == []


@pytest.mark.parametrize(("command", "group"), GROUPS.items())
def test_a_group_shows_its_flags_alone(command: str, group: str) -> None:
    code, text, _ = said(command, "--help", group)
    assert code == 0
    found = re.findall(r"^  (?:--)?([\w.-]+)[ =](?=[^ ]*[A-Z|{])", text, re.M)
    prefix = "" if command == "replay" else f"{group}."
    assert found
    assert all(name.startswith(prefix) for name in found)
    _, everything, _ = said(command, "--help", "all")
    assert all(f"  {name}=" in everything or f"--{name} " in everything for name in found)


def test_a_group_is_found_by_its_last_name_and_a_flag_by_its_own() -> None:
    assert said("search", "--help", "text") == said("search", "--help=tasks.text")
    _, text, _ = said("search", "--help", "--n-candidates")
    assert "usage" in text, "a flag behind --help is another flag"
    _, text, _ = said("search", "--help", "n-candidates")
    assert re.findall(r"^  --([\w.-]+)", text, re.M) == ["n-candidates"]


def test_help_is_found_wherever_it_stands() -> None:
    assert said("search", "quickstart", "--seed", "1", "-h") == said("search", "--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_group_is_one_sentence_with_all_groups(command: str) -> None:
    code, out, err = said(command, "--help", "evolutoin")
    assert (code, out) == (2, "")
    assert err.startswith(f'nas.{command}: no group of flags "evolutoin".')
    assert err.count("\n") == 1
    if command in ("search", "replay"):
        assert 'Did you mean "evolution"?' in err


def test_every_flag_of_every_group_is_accepted_with_hyphens_and_without() -> None:
    """The help says nothing that the reader of the values does not know."""
    _, text, _ = said("search", "--help", "evolution")
    names = re.findall(r"^  --([\w.-]+)", text, re.M)
    assert len(names) > 5
    fields = vars(SearchConfig().evolution)
    values = [str(fields[name.rpartition(".")[2].replace("-", "_")]).lower() for name in names]
    hyphens = [f"--{name}={value}" for name, value in zip(names, values, strict=True)]
    assert parse(hyphens) == parse([flag.replace("-", "_").replace("__", "--") for flag in hyphens])


def test_the_help_names_every_sampler_and_every_task() -> None:
    _, text, _ = said("search", "--help", "sampler")
    assert set(NAMES) <= set(re.findall(r"\w+", text))
    _, page, _ = said("search", "--help")
    assert set(TASKS) <= set(re.findall(r"\w+", page))


def test_a_switch_needs_no_value() -> None:
    assert parse(["--protocol.veto"]).protocol.veto
    assert not parse(["--no-protocol.filter", "--seed", "1"]).protocol.filter
    assert not parse(["--protocol.veto", "false"]).protocol.veto


def test_a_command_is_called_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, name in {
        "/venv/bin/nas": "nas search",
        "/lib/nas/__main__.py": "nas search",
        "/lib/nas/search/__main__.py": "python -m nas.search",
        "/venv/bin/nas-search": "python -m nas.search",
    }.items():
        monkeypatch.setattr(sys, "argv", [typed])
        assert program("search") == name


def test_many_groups_of_one_parent_share_its_name() -> None:
    assert listed(["a", "b.c", "b.d"]) == "a, b.c, b.d"
    many = ["a", *(f"b.{letter}" for letter in "cdefgh"), "z"]
    assert listed(many) == "a, b.{c, d, e, f, g, h}, z"


def test_what_a_value_may_be_is_said_in_words() -> None:
    made = Command("x", SearchConfig(), "", "")
    text = " ".join(help_of(made, "general").split())
    assert "given cells not counted. (whole number, at least 0; default 100)" in text
    assert "(whole number or text; default 0)" in text
