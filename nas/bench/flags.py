"""Flags of `python -m nas.bench` to a checked configuration."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from nas.bench.config import FULL, INPUTS, MODES, SMOKE, BenchConfig
from nas.errors import UserError, unknown

DESCRIPTION = """Measure the speed of cells against torch's own modules and the eager backend.

One thread, float32, one layer whose input is as wide as its state. Arms of a row take turns round
by round after a warm-up; a ratio is the median time of a baseline over the median time of ours, so
above 1 ours is faster, with the quartiles of the ratios of single rounds. Cells that torch has
(lstm, gru_v1, rnn, irnn) meet its module with the same weights; others meet nn.LSTM of the same
shape, as a yardstick. A goal is the ratio that the project aims at.
"""
MODES_HELP = """fwd: without gradients; fwd+bwd: gradients of all weights, and of the embedding for
tokens; train: that, clipping and a step of SGD"""
INPUTS_HELP = """data: a tensor that needs no gradient, in no arm; tokens: an embedding before the
module, and for ours nas.RNN.forward_tokens"""


def parse(arguments: Sequence[str]) -> BenchConfig:
    """The configuration that the flags mean, checked.

    Raises:
        UserError: in one sentence, for anything wrong with them.
        SystemExit: after --help.
    """
    default = SMOKE if "--smoke" in arguments else FULL
    given = vars(_parser(default).parse_args(arguments))
    lists = {name: tuple(dict.fromkeys(v)) for name, v in given.items() if isinstance(v, list)}
    config = replace(default, **(given | lists))
    config.check()
    return config


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence instead of the usage and an exit."""
        text = message.removeprefix("argument ").rstrip(".")
        if ": must " in text or ": no " in text:
            raise UserError(f"{text.replace(': must', ' must', 1)}.")
        raise UserError(f"{text}; --help lists all flags.")


def _parser(default: BenchConfig) -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m nas.bench", description=DESCRIPTION, allow_abbrev=False)
    _add_rows(parser, default)
    _add_parts(parser, default)
    for flag, text in (
        ("--json", "write everything, with raw times"),
        ("--png", "draw the ratios; needs matplotlib"),
        ("--markdown", "write the tables"),
    ):
        parser.add_argument(flag, type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="some seconds, to see that all but the search runs; exit code 1 if a result is "
        "missing",
    )
    return parser


def _add_rows(parser: argparse.ArgumentParser, default: BenchConfig) -> None:
    rows = parser.add_argument_group("rows: a cell, a shape, an input, a mode")

    def several(flag: str, kind: Callable[[str], object], text: str, metavar: str) -> None:
        values: tuple[object, ...] = getattr(default, flag)
        shown = f"{text} (default: {' '.join(map(str, values))})"
        rows.add_argument(
            f"--{flag}", nargs="+", type=kind, default=values, metavar=metavar, help=shown
        )

    several("cells", str, "zoo names, or files with equations", "CELL")
    several("hidden", _positive, "widths of the state and of the input", "N")
    several("batch", _positive, "sequences at once", "N")
    several("steps", _positive, "steps of a sequence", "N")
    several("modes", _one_of("mode", MODES), MODES_HELP, "MODE")
    several("inputs", _one_of("input", INPUTS), INPUTS_HELP, "INPUT")
    several("threads", _positive, "threads of all arms", "N")
    _number(rows, "--vocabulary", _positive, default.vocabulary, "symbols of token input")
    text = "rounds of a row; the eager arm has a quarter"
    _number(rows, "--rounds", _positive, default.rounds, text)
    text = "largest width at which the eager backend is measured too; 0 for none"
    _number(rows, "--eager-limit", _whole, default.eager_limit, text)


def _add_parts(parser: argparse.ArgumentParser, default: BenchConfig) -> None:
    parts = parser.add_argument_group("other parts")
    parts.add_argument(
        "--no-training",
        dest="training",
        action="store_false",
        help="leave out the steps a second of nas.train against a loop by hand",
    )
    text = "train N settings together and one at a time; 0 for none"
    _number(parts, "--members", _whole, default.members, text)
    text = "GFLOP/s of N random mutants of the LSTM and the GRU as a share of the LSTM's"
    _number(parts, "--mutants", _whole, default.mutants, text)
    parts.add_argument(
        "--memory",
        action=argparse.BooleanOptionalAction,
        default=default.memory,
        help="peak memory of training, each arm in a process of its own",
    )
    text = "throughput of N worker processes of one thread against that of one"
    _number(parts, "--workers", _whole, default.workers, text)
    text = "candidates a minute of the quickstart's search, of N candidates, on each backend"
    _number(parts, "--search", _whole, default.search, text)


def _number(
    group: argparse._ArgumentGroup, flag: str, kind: Callable[[str], int], value: int, text: str
) -> None:
    shown = f"{text} (default: {value})"
    group.add_argument(flag, type=kind, default=value, metavar="N", help=shown)


def _whole(text: str) -> int:
    return _checked(text, 0, "a whole number, 0 or more")


def _positive(text: str) -> int:
    return _checked(text, 1, "a positive whole number")


def _checked(text: str, least: int, rule: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f'must be {rule}, got "{text}"')
    return value


def _one_of(kind: str, known: Sequence[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(unknown(kind, text, known))
        return text

    return check
