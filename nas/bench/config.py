"""What `python -m nas.bench` measures: flags to a checked configuration, without torch."""

import argparse
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn, get_args

from nas.cell.count import check_sizes
from nas.cell.graph import Cell
from nas.errors import UserError, unknown
from nas.lookup import cell as look_up

Mode = Literal["fwd", "fwd+bwd", "train"]
Input = Literal["data", "tokens"]
MODES: tuple[Mode, ...] = get_args(Mode)
INPUTS: tuple[Input, ...] = get_args(Input)

DESCRIPTION = """Measure the speed of cells against torch's own modules and the eager backend.

One thread, float32, one layer whose input is as wide as its state. Arms of a row take turns round
by round after a warm-up; a ratio is the median time of a baseline over the median time of ours, so
above 1 ours is faster, with the quartiles of the ratios of single rounds. Cells that torch has
(lstm, gru_v1, rnn, irnn) meet its module with the same weights; others meet nn.LSTM of the same
shape, as a yardstick.
"""
MODES_HELP = """fwd: without gradients; fwd+bwd: gradients of all weights, and of the embedding for
tokens; train: that, clipping and a step of SGD"""
INPUTS_HELP = """data: a tensor that needs no gradient, in no arm; tokens: an embedding before the
module, and for ours nas.RNN.forward_tokens"""


@dataclass(frozen=True)
class Shape:
    """Sizes of one measurement; the input is as wide as the state."""

    hidden: int
    batch: int
    steps: int
    vocabulary: int


@dataclass(frozen=True)
class BenchConfig:
    """What is measured, and how often."""

    cells: tuple[str, ...] = ("lstm", "gru_v1", "rnn", "gru")
    hidden: tuple[int, ...] = (32, 64, 128, 256, 512)
    batch: tuple[int, ...] = (20,)
    steps: tuple[int, ...] = (50,)
    vocabulary: int = 50
    modes: tuple[Mode, ...] = MODES
    inputs: tuple[Input, ...] = INPUTS
    rounds: int = 20
    eager_limit: int = 256
    """Largest hidden width at which the eager backend is measured too."""
    training: bool = True
    json: Path | None = None
    png: Path | None = None
    smoke: bool = False
    round_s: float = 0.01
    """An arm is called in a round until about this many seconds are over, at least once."""
    peak_size: int = 1024
    """Rows and columns of the matrices whose product gives the machine's peak."""
    training_steps: int = 200

    @property
    def shapes(self) -> list[Shape]:
        sizes = itertools.product(self.hidden, self.batch, self.steps)
        return [Shape(*three, self.vocabulary) for three in sizes]

    def look_up(self) -> list[Cell]:
        """The cells, each once.

        Raises:
            UserError: for a cell that is not there, or that cannot have one of the sizes.
        """
        cells = list(dict.fromkeys(look_up(name) for name in self.cells))
        for cell, hidden in itertools.product(cells, self.hidden):
            check_sizes(cell, hidden, hidden)
        return cells

    def check(self) -> None:
        """Raise UserError if something cannot be measured or written."""
        self.look_up()
        if self.png and importlib.util.find_spec("matplotlib") is None:
            raise UserError(
                "--png needs matplotlib, which is not installed: pip install matplotlib."
            )
        for flag, path in (("--json", self.json), ("--png", self.png)):
            if path:
                _check_writable(flag, path)


FULL = BenchConfig()
SMOKE = replace(
    FULL,
    cells=("lstm", "gru"),
    hidden=(16,),
    batch=(4,),
    steps=(8,),
    vocabulary=10,
    rounds=2,
    smoke=True,
    round_s=0.0,
    peak_size=256,
    training_steps=4,
)
"""A few seconds: one shape, two cells, two rounds."""


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

    def several(flag: str, kind: Callable[[str], object], text: str, metavar: str) -> None:
        values: tuple[object, ...] = getattr(default, flag)
        shown = f"{text} (default: {' '.join(map(str, values))})"
        parser.add_argument(
            f"--{flag}", nargs="+", type=kind, default=values, metavar=metavar, help=shown
        )

    several("cells", str, "zoo names, or files with equations", "CELL")
    several("hidden", _positive, "widths of the state and of the input", "N")
    several("batch", _positive, "sequences at once", "N")
    several("steps", _positive, "steps of a sequence", "N")
    several("modes", _one_of("mode", MODES), MODES_HELP, "MODE")
    several("inputs", _one_of("input", INPUTS), INPUTS_HELP, "INPUT")
    _add_single(parser, default)
    return parser


def _add_single(parser: argparse.ArgumentParser, default: BenchConfig) -> None:
    def number(flag: str, kind: Callable[[str], int], value: int, text: str) -> None:
        shown = f"{text} (default: {value})"
        parser.add_argument(flag, type=kind, default=value, metavar="N", help=shown)

    number("--vocabulary", _positive, default.vocabulary, "symbols of token input")
    number("--rounds", _positive, default.rounds, "rounds of a row; the eager arm has a quarter")
    limit = "largest width at which the eager backend is measured too; 0 for none"
    number("--eager-limit", _whole, default.eager_limit, limit)
    parser.add_argument(
        "--no-training",
        dest="training",
        action="store_false",
        help="leave out the steps a second of nas.train against a loop by hand",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write everything, with raw times"
    )
    parser.add_argument(
        "--png", type=Path, metavar="FILE", help="draw the ratios; needs matplotlib"
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a few seconds, to see that everything runs; exit code 1 if a result is missing",
    )


def _whole(text: str) -> int:
    return _number(text, 0, "a whole number, 0 or more")


def _positive(text: str) -> int:
    return _number(text, 1, "a positive whole number")


def _number(text: str, least: int, rule: str) -> int:
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


def _check_writable(flag: str, path: Path) -> None:
    existed = path.exists()
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be written: {error.strerror}.") from None
    if not existed:
        path.unlink()
