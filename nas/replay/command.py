"""The commands: compare samplers on a table, write a study as a table."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.command_line import Command, arguments_of, guarded, parse_flags, program
from nas.command_line.help import ALL, GENERAL, Formatter, asked_topic, filled, help_of
from nas.errors import UserError, unknown
from nas.replay.table import Table, read_table, table_of, write_table
from nas.samplers.evolution import EvolutionConfig
from nas.study.config import SearchConfig
from nas.study.location import add_study_arguments, find_study

if TYPE_CHECKING:  # it imports Optuna, and a message about a wrong argument must not wait for that
    from nas.replay.run import ReplayConfig

DESCRIPTION = """\
Compares samplers on the recorded results of a finished study, without training: each search draws
from the recorded cells, and pays what they took. %(prog)s write STUDY FILE makes such a table.
"""
EXAMPLE = """\
--help evolution shows the fields of --evolution, --help all everything.

example:
  {program} tables/mine.jsonl --samplers tpe regularized --seeds 100 --out replay
"""
N_SEEDS, N_SHUFFLED = 100, 39
SAMPLERS = ("random", "regularized", "jozefowicz")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = arguments_of(arguments)
    if given[:1] == ["write"]:
        return guarded("nas.replay write", lambda: _write(_parse_write(given[1:])))
    return guarded("nas.replay", lambda: _compare(_parse(given)))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    if topic := asked_topic(arguments):
        print(_help(topic), end="")
        raise SystemExit(0)
    return parser().parse_args(arguments)


def _help(topic: str) -> str:
    """The help about a topic: all flags, or the fields of the group evolution.

    Raises:
        UserError: for another topic.
    """
    fields = Command("replay", EvolutionConfig(), "", "")
    evolution = re.sub(r"^  --([\w-]+) ", r"  \1=", help_of(fields, GENERAL), flags=re.MULTILINE)
    evolution = evolution.replace(f"{GENERAL}:", "fields of --evolution:")
    page = parser().format_help()
    pages = {GENERAL: page, "evolution": evolution, ALL: f"{page}\n{evolution}"}
    if topic not in pages:
        raise UserError(unknown("group of flags", topic, pages))
    return pages[topic]


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    name = program("replay")
    parser = argparse.ArgumentParser(
        prog=name,
        description=filled(DESCRIPTION % {"prog": name}),
        epilog=EXAMPLE.format(program=name),
        formatter_class=Formatter,
    )
    parser.add_argument("table", metavar="FILE", help="a table; .gz is unpacked")
    parser.add_argument(
        "--samplers",
        nargs="+",
        default=SAMPLERS,
        metavar="NAME",
        help="those of nas.search, or module:Class; random is always among them (default: "
        f"{' '.join(SAMPLERS)})",
    )
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="searches a sampler (100)")
    parser.add_argument("--out", metavar="FOLDER", help="write regret.png, .csv, results.json, .md")
    parser.add_argument("--axis", choices=("runs", "flops", "seconds"), default="runs")
    parser.add_argument(
        "--candidates", type=int, default=0, help="end each search after so many; 0: see all"
    )
    parser.add_argument("--in-flight", type=int, default=1, help="candidates judged at a time (1)")
    parser.add_argument(
        "--neighbours", type=int, default=5, help="unseen cells that a child is drawn from (5)"
    )
    parser.add_argument(
        "--shuffled",
        type=int,
        default=N_SHUFFLED,
        help="tables with the results shuffled among the cells, on which 10 searches a sampler say "
        "whether a difference could be this table's luck; 0: none, else at least 39 (39)",
    )
    parser.add_argument(
        "--evolution",
        nargs="+",
        default=(),
        metavar="FIELD=VALUE",
        help="fields of nas.search's evolution group, such as list-size=10",
    )
    return parser


def _parse_write(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"{program('replay')} write",
        description="Writes a study as a table: a line for each visit of a cell.",
    )
    add_study_arguments(parser)
    parser.add_argument("file", metavar="FILE", help="such as tables/mine.jsonl, or .jsonl.gz")
    return parser.parse_args(arguments)


def replay(config: SearchConfig) -> int:
    """`nas.search --protocol replay`: its sampler against random draws, in the study's folder.

    Seeds are the configuration's and those that follow; each search ends after `n_candidates`.

    Raises:
        UserError: if the table or the sampler is not there.
    """
    from nas.replay.run import ReplayConfig

    how = ReplayConfig(config.evolution, config.in_flight, n_candidates=config.n_candidates)
    seeds = range(config.seed, config.seed + N_SEEDS)
    table = read_table(Path(config.table))
    out = str(Path(config.studies) / config.study / "replay")
    return _report(table, [config.sampler], seeds, how, out=out)


def _write(given: argparse.Namespace) -> int:
    table = table_of(find_study(given.study, given.storage, given.studies))
    write_table(table, Path(given.file))
    print(f"{given.file}: {len(table.visits)} visits of study {table.header.study}")
    return 0


def _compare(given: argparse.Namespace) -> int:
    if 0 < given.shuffled < N_SHUFFLED:
        raise UserError(
            f"--shuffled must be 0 or at least {N_SHUFFLED}, got {given.shuffled}: fewer tables "
            "cannot show that one is unusual at 5 %."
        )
    for name, least in (
        ("seeds", 2),
        ("candidates", 0),
        ("in_flight", 1),
        ("neighbours", 1),
        ("shuffled", 0),
    ):
        if (value := getattr(given, name)) < least:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} must be at least {least}, got {value}.")
    table = read_table(Path(given.table))
    from nas.replay.run import ReplayConfig

    config = ReplayConfig(
        _evolution(given.evolution), given.in_flight, given.neighbours, given.candidates
    )
    about = {"axis": given.axis, "n_shuffled": given.shuffled}
    return _report(table, given.samplers, range(given.seeds), config, out=given.out, **about)


def _evolution(fields: Sequence[str]) -> EvolutionConfig:
    """The defaults with other values, FIELD=VALUE each."""
    flags = [f"--{field}" for field in fields]
    config = parse_flags(EvolutionConfig(), flags)
    config.check()
    return config


def _report(
    table: Table,
    samplers: Sequence[str],
    seeds: Sequence[int],
    config: "ReplayConfig",
    *,
    out: str | None,
    **fields: Any,
) -> int:
    """Compare, print, and write the files where a folder is given; `fields` are of `compare`."""
    from nas.replay import report
    from nas.replay.bench import make_bench
    from nas.replay.compare import compare
    from nas.report.files import make_folder

    fields.setdefault("n_shuffled", N_SHUFFLED)
    bench = make_bench(table)
    if out:
        make_folder(Path(out), f"--out {out}")
    comparison = compare(bench, samplers, seeds, config, note=_note, **fields)
    print(report.show(comparison))
    for path in report.write(comparison, Path(out)) if out else ():
        print(path)
    return 0


def _note(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr)
