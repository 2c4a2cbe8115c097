"""What `python -m nas.bench` measures: its flags as data, without torch."""

import argparse
import importlib.util
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from nas.cell.cell import Cell
from nas.cell.count import check_sizes
from nas.command_line import Command, help_if_asked, parse_flags
from nas.command_line.help import offer, parser_of
from nas.errors import UserError, check_fields
from nas.workers.config import check_devices
from nas.zoo import ZOO
from nas.zoo.lookup import cell as look_up

DESCRIPTION = """Measure the speed of cells against torch's own modules and the eager backend.

One thread, float32, one layer whose input is as wide as its state. The arms of a row take turns
round by round after a warm-up; a ratio is the median time of a baseline over the median time of
ours, so above 1 ours is faster, with the quartiles of the ratios of single rounds. Cells that torch
has (lstm, gru_v1, rnn, irnn) meet its module with the same weights; others meet nn.LSTM of the same
shape, as a yardstick. A goal is the ratio that the project aims at. With --devices it measures a
GPU: `--devices cuda:0 --verify --markdown gpu.md --json gpu.json` is the whole check of one.
"""
Mode = Literal["fwd", "fwd+bwd", "train"]
Input = Literal["data", "tokens"]
MODES: tuple[Mode, ...] = get_args(Mode)
INPUTS: tuple[Input, ...] = get_args(Input)


@dataclass(frozen=True)
class Shape:
    """Sizes of one measurement; the input is as wide as the state."""

    hidden: int
    batch: int
    steps: int
    vocabulary: int


@dataclass(frozen=True)
class Parts:
    """Sizes of the parts of a run beside its rows."""

    training_steps: int = 200
    """Minibatches in an epoch of nas.train."""
    ahead: int = 16
    """Loops that are compiled in one run of the compiler."""
    member_hidden: tuple[int, ...] = (32, 64, 128)
    """Widths at which members are trained together and in turn."""
    member_steps: int = 30
    """Minibatches of each member."""
    mutant_rounds: int = 5
    mutant_group: int = 10
    """Mutants that take turns with one LSTM."""
    memory_shapes: tuple[tuple[int, int, int], ...] = ((64, 20, 50), (256, 20, 50), (256, 64, 200))
    """Width, sequences, steps."""
    memory_steps: int = 5
    """Steps of training that each process takes."""
    worker_params: tuple[int, ...] = (25_000, 250_000)
    """Parameter budgets of the models that workers train."""
    worker_evaluations: int = 2
    """Evaluations a worker and round."""
    worker_steps: int = 100
    """Minibatches of an evaluation."""
    rounds: int = 3
    """Rounds of a part whose arms take seconds."""
    checked_steps: int = 5
    """Minibatches of a training that is compared between a device and the CPU."""


@dataclass(frozen=True)
class BenchConfig:
    """Rows, each a cell, a shape, an input and a mode, and other parts."""

    cells: tuple[str, ...] = ("lstm", "gru_v1", "rnn", "gru")
    """Zoo names, or files with equations."""
    hidden: tuple[Annotated[int, "at least 1"], ...] = (32, 64, 128, 256, 512)
    """Widths of the state and of the input."""
    batch: tuple[Annotated[int, "at least 1"], ...] = (20,)
    """Sequences at once."""
    steps: tuple[Annotated[int, "at least 1"], ...] = (50,)
    """Steps of a sequence."""
    vocabulary: Annotated[int, "at least 1"] = 50
    """Symbols of token input."""
    modes: tuple[Mode, ...] = MODES
    """fwd: without gradients; fwd+bwd: gradients of all weights, and of the embedding for tokens;
    train: that, clipping and a step of SGD."""
    inputs: tuple[Input, ...] = INPUTS
    """data: a tensor that needs no gradient, in no arm; tokens: an embedding before the module, and
    for ours nas.RNN.forward_tokens."""
    threads: tuple[Annotated[int, "at least 1"], ...] = (1,)
    """Threads of torch and of the C loop; each number has rows of its own."""
    rounds: Annotated[int, "at least 1"] = 20
    """Rounds of a row; the eager arm has a quarter."""
    eager_limit: Annotated[int, "at least 0"] = 256
    """Largest width at which the eager backend is measured too; 0: none."""
    training: bool = True
    """Measure the steps a second of nas.train against a loop by hand; --no-training: do not."""
    members: Annotated[int, "at least 0"] = 0
    """Train so many settings together and one at a time; 0: none."""
    mutants: Annotated[int, "at least 0"] = 0
    """GFLOP/s of so many random mutants of the LSTM and the GRU as a share of the LSTM's."""
    memory: bool = False
    """Measure the peak memory of training, each arm in a process of its own."""
    workers: Annotated[int, "at least 0"] = 0
    """Throughput of so many worker processes of one thread against that of one; 0: none."""
    exported: bool = False
    """Measure one step of one sequence: the C of nas.export in each number format, against
    onnxruntime, torch and nas.RNN, and its bytes."""
    winners: tuple[Path, ...] = ()
    """Measure one step of these trained winners (studies/NAME/winner): raw data in, answers out, in
    C, onnxruntime, torch and nas."""
    devices: tuple[str, ...] = ()
    """Measure on these devices, such as cuda:0, in place of all else: one model and `members` (32)
    at once, against torch's module one at a time and the eager batch."""
    verify: bool = False
    """With --devices: compare outputs, gradients and a short training with the CPU's first; exit
    code 1 if they differ."""
    search: Annotated[int, "at least 0"] = 0
    """Candidates a minute of the quickstart's search, of so many candidates, on each backend."""
    json: Path | None = None
    """Write everything, with raw times, into this file."""
    png: Path | None = None
    """Draw the ratios into this file; needs matplotlib."""
    markdown: Path | None = None
    """Write the tables into this file."""
    smoke: bool = False
    """Take some seconds, to see that all but the search runs; exit code 1 if a result is
    missing."""
    round_s: float = 0.01
    """An arm is called in a round until about this many seconds are over, at least once."""
    peak_size: int = 1024
    """Rows and columns of the matrices whose product gives the machine's peak."""
    parts: Parts = Parts()

    def shapes(self) -> list[Shape]:
        """All combinations of the sizes."""
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
        check_fields(self)
        check_devices(self.devices)
        if self.verify and not self.devices:
            raise UserError("--verify compares a device with the CPU: name one with --devices.")
        if self.devices:
            self._check_on_devices()
        self.look_up()
        if self.png and importlib.util.find_spec("matplotlib") is None:
            raise UserError(
                "--png needs matplotlib, which is not installed: pip install matplotlib."
            )
        if self.memory and not Path("/proc/self/status").exists():
            raise UserError("--memory reads /proc/self/status, which only Linux has: leave it out.")
        for path in self.winners:
            if not path.exists():
                raise UserError(
                    f"--winners {path} is not there: name a folder studies/NAME/winner, or one of "
                    "its .safetensors files."
                )
        for flag in ("json", "png", "markdown"):
            if path := getattr(self, flag):
                _check_writable(f"--{flag}", path)

    def _check_on_devices(self) -> None:
        """Refuse what is measured on the CPU alone."""
        for name in ("mutants", "memory", "workers", "exported", "winners", "search", "png"):
            if getattr(self, name):
                raise UserError(f"--{name} measures the CPU: leave it out, or --devices.")
        if "train" in self.modes:
            raise UserError("modes must be fwd and fwd+bwd with --devices, got train.")


COMMON = (
    "cells",
    "hidden",
    "batch",
    "steps",
    "modes",
    "inputs",
    "threads",
    "rounds",
    "memory",
    "workers",
    "devices",
    "verify",
    "json",
    "png",
    "markdown",
    "smoke",
)
EXAMPLE = "--cells lstm mut1 --hidden 64 128 --png speed.png"
SIZES = ("round_s", "peak_size", "parts")
"""Fields that are no flags."""
FULL = BenchConfig()
SMOKE = replace(
    FULL,
    cells=("lstm", "gru"),
    hidden=(16,),
    batch=(4,),
    steps=(8,),
    vocabulary=10,
    rounds=2,
    members=2,
    mutants=3,
    memory=Path("/proc/self/status").exists(),
    workers=2,
    smoke=True,
    round_s=0.0,
    peak_size=256,
    parts=Parts(
        training_steps=4,
        ahead=2,
        member_hidden=(8,),
        member_steps=2,
        mutant_rounds=2,
        mutant_group=2,
        memory_shapes=((16, 4, 8),),
        memory_steps=1,
        worker_params=(5_000,),
        worker_evaluations=1,
        worker_steps=4,
        rounds=2,
    ),
)
"""A run of some seconds: one shape, two cells, two rounds, and all parts but the search."""


ON_DEVICES = replace(
    FULL,
    cells=("lstm", "gru_v1", "gru", "mut1", "slstm", "lstm_layer_norm"),
    hidden=(64, 96),
    modes=("fwd", "fwd+bwd"),
    rounds=8,
    members=32,
)
"""The same on devices: cells of unlike structure, at widths of 25,000 to 75,000 parameters."""
SMALL_ON_DEVICES = replace(
    ON_DEVICES,
    cells=("lstm", "gru"),
    hidden=(16,),
    batch=(4,),
    steps=(8,),
    rounds=2,
    members=2,
    smoke=True,
    round_s=0.0,
    parts=replace(ON_DEVICES.parts, checked_steps=2),
)
"""A run of some seconds on devices."""


def parse(arguments: Sequence[str]) -> BenchConfig:
    """The configuration that the flags mean, checked.

    Raises:
        UserError: in one sentence, for anything wrong with them.
        SystemExit: after --help.
    """
    help_if_asked(described, arguments)
    is_small = "--smoke" in arguments
    default = SMOKE if is_small else FULL
    if any(word.partition("=")[0] == "--devices" for word in arguments):
        default = SMALL_ON_DEVICES if is_small else ON_DEVICES
    config = parse_flags(default, arguments, SIZES)
    lists = {name: v for name, v in vars(config).items() if isinstance(v, tuple)}
    different: dict[str, Any] = {name: tuple(dict.fromkeys(v)) for name, v in lists.items()}
    config = replace(config, **different)
    config.check()
    return config


def described() -> Command:
    """The command, as its help shows it."""
    return Command(
        "bench",
        FULL,
        "[--FIELD VALUE ...]",
        DESCRIPTION,
        COMMON,
        EXAMPLE,
        skip=SIZES,
    )


def parser() -> argparse.ArgumentParser:
    """All arguments of the command, for completion in the shell."""
    made = parser_of(described())
    offer(made, {"cells": ZOO})
    return made


def _check_writable(flag: str, path: Path) -> None:
    existed = path.exists()
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be written: {error.strerror}.") from None
    if not existed:
        path.unlink()
