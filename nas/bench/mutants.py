"""Speed of random cells: GFLOP/s of mutants of the LSTM and the GRU as a share of the LSTM's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from nas.bench.arms import Arm, work
from nas.bench.config import BenchConfig, Shape
from nas.bench.timing import Times, median_s, take_turns
from nas.cell.cell import Cell
from nas.cell.mutation import mutate
from nas.compile.ahead import compile_ahead
from nas.compile.cost import cost_of
from nas.compile.loop import LANES
from nas.compile.passes import make_plan
from nas.nn.rnn import RNN
from nas.zoo import ZOO

PARENTS = ("lstm", "gru")
REFERENCE = "lstm"


@dataclass(frozen=True)
class MutantRow:
    """One mutant at one width; times of fwd+bwd, data input."""

    name: str
    cell: str
    """Its equations."""
    shape: Shape
    flops: float
    """Operations of its plan, forward and backward, elementwise ones included."""
    lstm_flops: float
    times_s: Times
    lstm_times_s: Times
    """Times of the LSTM that took turns with it."""

    @property
    def gflops(self) -> float:
        return self.flops / median_s(self.times_s) / 1e9

    @property
    def share(self) -> float:
        """Its GFLOP/s as a share of the LSTM's."""
        return self.gflops / (self.lstm_flops / median_s(self.lstm_times_s) / 1e9)


def draw(count: int) -> list[Cell]:
    """The same different random mutants at every call, by turns of the LSTM and of the GRU."""
    drawn: dict[str, Cell] = {}
    for seed in range(count):
        parent = ZOO[PARENTS[seed % len(PARENTS)]]
        cell = mutate(parent, seed, known=drawn).cell
        drawn[cell.key] = cell
    return list(drawn.values())


def mutant_rows(config: BenchConfig, progress: Callable[[str], None]) -> Iterator[MutantRow]:
    """Every mutant at every width, for the first batch and number of steps."""
    cells = draw(config.mutants)
    parts = config.parts
    for hidden in config.hidden:
        shape = Shape(hidden, config.batch[0], config.steps[0], config.vocabulary)
        compile_ahead([(cell, hidden, hidden, torch.float32) for cell in cells])
        for first in range(0, len(cells), parts.mutant_group):
            progress(f"mutants {first + 1} to {len(cells)}, H {hidden}")
            yield from _turns(cells[first : first + parts.mutant_group], shape, parts.mutant_rounds)


def _turns(cells: Sequence[Cell], shape: Shape, rounds: int) -> Iterator[MutantRow]:
    arms = [_arm(cell, shape) for cell in (ZOO[REFERENCE], *cells)]
    times = take_turns(
        {str(place): work(arm, "fwd+bwd") for place, arm in enumerate(arms)}, rounds, warm_up=2
    )
    lstm_flops = plan_flops(ZOO[REFERENCE], shape)
    for place, cell in enumerate(cells, 1):
        flops = plan_flops(cell, shape)
        yield MutantRow(
            cell.name, str(cell), shape, flops, lstm_flops, times[str(place)], times["0"]
        )


def _arm(cell: Cell, shape: Shape) -> Arm:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rnn = RNN(cell, shape.hidden, shape.hidden)
        data = torch.randn(shape.steps, shape.batch, shape.hidden)
    return Arm(cell.name, lambda: rnn(data)[0], tuple(rnn.parameters()))


def plan_flops(cell: Cell, shape: Shape) -> float:
    """Operations of a sequence forward and backward, by the cell's plan."""
    plan = make_plan(cell, shape.hidden, shape.hidden, LANES[torch.float32], in_c=True)
    return cost_of(plan).sequence(shape.batch * shape.steps)
