"""`nas COMMAND`, or `python -m nas COMMAND`: every command by one name.

A new command is a line of `COMMANDS`: its module has `main`, from arguments to an exit code, and
`parser`, its arguments for completion in the shell.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from nas.errors import unknown

if TYPE_CHECKING:
    import argparse

COMMANDS = {
    "search": ("nas.search.search", "search for recurrent cells, or go on with a search"),
    "status": ("nas.status", "what a search is doing, while it runs and afterwards"),
    "report": ("nas.report.command", "the report of a study: one page, tables, pictures"),
    "compare": ("nas.compare.command", "chosen cells against GRU and LSTM, tuned alike, on test"),
    "curves": ("nas.curves.command", "how cells learn tasks: curves and a table"),
    "show": ("nas.show", "a cell: its equations, cost, picture and nearest known cell"),
    "export": ("nas.export.command", "a cell as plain PyTorch, ONNX, C, or a registered model"),
    "bench": ("nas.bench.command", "how fast cells are, against torch's own modules"),
    "replay": ("nas.replay.command", "samplers compared on the recorded results of a study"),
    "study": ("nas.study.command", "copy or move a study, or make one file of it"),
    "record": ("nas.report.recording", "write a study into MLflow"),
    "doctor": ("nas.doctor", "what is here, what is missing, and what to install"),
    "completion": ("nas.command_line.completion", "a script that completes all this in a shell"),
}
"""The module of each command, and what it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, or list them all; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    colours = [flag for flag in given[:1] if flag == "--no-color"]
    name, *rest = given[len(colours) :] or ["help"]
    if name in ("help", "-h", "--help"):
        if not rest:
            print(overview(), end="")
            return 0
        name, *rest = [*rest, "--help"]
    if name == "--version":
        import nas

        print(f"nas {nas.__version__}")
        return 0
    if name not in COMMANDS:
        print(f"nas: {unknown('command', name, COMMANDS)}", file=sys.stderr)
        return 2
    module = import_module(COMMANDS[name][0])
    code: int = module.main(rest, parsers) if name == "completion" else module.main(colours + rest)
    return code


def parsers() -> Iterator[tuple[str, str, "argparse.ArgumentParser"]]:
    """Each command with its sentence and its arguments."""
    for name, (module, sentence) in COMMANDS.items():
        yield name, sentence, import_module(module).parser()


def overview() -> str:
    """All commands with a line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {sentence}" for name, (_, sentence) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: nas [--no-color] COMMAND ...",
            "",
            "Search for, compare and reuse recurrent cells: a cell is its equations.",
            "",
            *lines,
            "",
            "nas COMMAND --help says more. Start with: nas doctor, then nas search",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
