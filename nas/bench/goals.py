"""The ratios that the project aims at."""

from dataclasses import dataclass

from nas.bench.config import INPUTS, Input, Mode

WIDTHS = (32, 64, 128, 256, 512)
MODES: tuple[Mode, ...] = ("fwd+bwd", "train")
"""Goals are for training."""


@dataclass(frozen=True)
class Goal:
    """How many times as fast as a baseline ours shall be, by hidden width."""

    cells: tuple[str, ...]
    against: str
    inputs: tuple[Input, ...]
    ratios: tuple[float, float, float, float, float]


GOALS = (
    Goal(("lstm",), "nn.LSTM", ("data",), (1.5, 1.3, 1.2, 1.1, 1.05)),
    Goal(("lstm",), "nn.LSTM", ("tokens",), (2.0, 1.9, 1.8, 1.8, 1.7)),
    Goal(("gru_v1",), "nn.GRU", INPUTS, (4.0, 2.5, 1.7, 1.4, 1.2)),
    Goal(("lstm_peephole", "mut1", "mgu"), "eager", INPUTS, (6.0, 4.0, 2.5, 2.0, 1.7)),
)
MUTANTS = dict(zip(WIDTHS, (0.6, 0.7, 0.8, 0.85, 0.9), strict=True))
"""GFLOP/s of a random mutant as a share of the LSTM's."""
WORKERS = {2: 1.9}
"""Throughput of so many workers as a multiple of one worker's."""

AT_ONCE, AT_WIDTH = 32, 64
"""Models at once on a GPU, and their width, that the goals there are for."""
OVER_TORCH, OVER_EAGER = 20.0, 10.0
"""Throughput of an LSTM as a multiple of nn.LSTM's one at a time, and of any cell as a multiple of
the eager batch's."""


def goal(cell: str, against: str, inputs: Input, mode: Mode, hidden: int) -> float | None:
    """The ratio that a row aims at; None if there is none."""
    if mode not in MODES or hidden not in WIDTHS:
        return None
    for row in GOALS:
        if cell in row.cells and against == row.against and inputs in row.inputs:
            return row.ratios[WIDTHS.index(hidden)]
    return None
