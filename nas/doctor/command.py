"""The command: runs all checks, and prints what they found."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from nas.command_line import EXIT_FAILED, arguments_of, guarded, program
from nas.doctor.data import check_data
from nas.doctor.finding import Finding, State
from nas.doctor.machine import check_compiler, check_cores, check_memory, check_torch
from nas.doctor.packages import check_needed, check_optional
from nas.doctor.storage import check_folder, check_postgresql, check_tracking

CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_needed,
    check_torch,
    check_compiler,
    check_cores,
    check_memory,
    check_folder,
    check_postgresql,
    check_tracking,
    check_optional,
    check_data,
)
COLOURS: dict[State, str] = {"there": "green", "missing": "yellow", "broken": "red"}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 if no search can run."""
    given = arguments_of(arguments)
    return guarded("nas.doctor", lambda: doctor(as_json=parser().parse_args(given).json))


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(
        prog=program("doctor"),
        description="Says what is here of all that commands use, what is missing, and what to "
        "install or set. Exit code 1: no search can run.",
    )
    made.add_argument("--json", action="store_true", help="print the findings for a program")
    return made


def doctor(*, as_json: bool = False) -> int:
    """Run all checks and print their findings; returns the exit code."""
    findings = [finding for check in CHECKS for finding in check()]
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        show(findings, Console())
    return EXIT_FAILED if any(finding.prevents_searches for finding in findings) else 0


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print a row for each finding, with what to do about it, and whether a search can run.

    Addresses, which the advice has on lines of their own, are not cut, so that they can be copied.
    """
    name_width = max((len(finding.name) for finding in findings), default=0)
    for finding in findings:
        advice, *addresses = finding.advice.splitlines() or [""]
        detail = finding.detail + (f"\n-> {advice}" if advice else "")
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=min(name_width, console.width // 3), overflow="fold")
        row.add_column(width=len("missing"))
        row.add_column(overflow="fold")
        state = f"[{COLOURS[finding.state]}]{finding.state}[/]"
        row.add_row(finding.name, state, detail.replace("[", r"\["))
        console.print(row, highlight=False)
        for address in addresses:
            console.print(f"  {address}", soft_wrap=True, highlight=False, markup=False)
    prevented = [finding.name for finding in findings if finding.prevents_searches]
    verdict = "A search can run here." if not prevented else "No search can run here: see "
    console.print(f"\n{verdict}{', '.join(prevented)}", highlight=False)
