"""What `python -m nas.bench` measures, as data, without torch; `nas/bench/flags.py` reads it."""

import importlib.util
import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from nas.cell.cell import Cell
from nas.cell.count import check_sizes
from nas.errors import UserError
from nas.zoo.lookup import cell as look_up

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
    """Sizes of the parts that are no rows; a run has those that BenchConfig asks for."""

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
    threads: tuple[int, ...] = (1,)
    """Of torch and of the C loop; each number has rows of its own."""
    rounds: int = 20
    eager_limit: int = 256
    """Largest hidden width at which the eager backend is measured too."""
    training: bool = True
    members: int = 0
    """Settings that are trained together and in turn; 0: none."""
    mutants: int = 0
    """Random mutants of the LSTM and of the GRU; 0: none."""
    memory: bool = False
    workers: int = 0
    """Worker processes whose throughput is compared with one's; 0: none."""
    search: int = 0
    """Candidates of the quickstart's search on each backend; 0: no search."""
    json: Path | None = None
    png: Path | None = None
    markdown: Path | None = None
    smoke: bool = False
    round_s: float = 0.01
    """An arm is called in a round until about this many seconds are over, at least once."""
    peak_size: int = 1024
    """Rows and columns of the matrices whose product gives the machine's peak."""
    parts: Parts = Parts()

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
        if self.memory and not Path("/proc/self/status").exists():
            raise UserError("--memory reads /proc/self/status, which only Linux has: leave it out.")
        for flag in ("json", "png", "markdown"):
            if path := getattr(self, flag):
                _check_writable(f"--{flag}", path)


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
"""Some seconds: one shape, two cells, two rounds, and all parts but the search."""


def _check_writable(flag: str, path: Path) -> None:
    existed = path.exists()
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be written: {error.strerror}.") from None
    if not existed:
        path.unlink()
