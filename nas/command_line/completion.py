"""`nas completion bash`: the script that completes commands and flags in a shell, made by shtab.

The script holds every flag, so that a key of the shell starts no Python.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nas.command_line.ending import guarded
from nas.command_line.help import program

SHELLS = ("bash", "zsh", "fish")
VALUES = {"STUDY": "ls studies 2>/dev/null", "STUDY2": "ls studies 2>/dev/null"}
"""Shell commands that print what may stand for a placeholder of a command's help."""
EXAMPLES = """examples:
  nas completion bash > ~/.local/share/bash-completion/completions/nas
  eval "$(nas completion bash)"    # in this shell alone
  nas completion zsh > ~/.zfunc/_nas    # with fpath+=~/.zfunc before compinit in ~/.zshrc
  nas completion fish > ~/.config/fish/completions/nas.fish
"""

Parsers = Iterable[tuple[str, str, argparse.ArgumentParser]]
"""The name of each command, a sentence about it, and its arguments."""


def main(arguments: Sequence[str], commands: Callable[[], Parsers]) -> int:
    """The command; returns its exit code."""

    def write() -> int:
        shell = parser().parse_args(arguments).shell
        print(completion("nas", commands(), shell))
        return 0

    return guarded("nas completion", write)


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(
        prog=program("completion"),
        description="Prints a script that completes commands, flags and their values in a shell.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("shell", choices=SHELLS)
    return made


def completion(name: str, commands: Parsers, shell: str) -> str:
    """The script for a program `name`: values are completed where they are known."""
    import shtab  # no other command needs it

    whole = argparse.ArgumentParser(prog=name)
    whole.add_argument("--no-color", action="store_true", help="without colours")
    whole.add_argument("--version", action="store_true", help="the version")
    subparsers = whole.add_subparsers()
    for command, sentence, parser in commands:
        # Its arguments are taken over: a parser cannot be moved under another one.
        made = subparsers.add_parser(command, help=sentence, parents=[parser], add_help=False)
        for action in made._actions:
            if action.metavar in VALUES:
                completed: Any = action
                completed.complete = shtab.cmd(VALUES[str(action.metavar)])
    script: str = shtab.complete(whole, shell)
    return script
