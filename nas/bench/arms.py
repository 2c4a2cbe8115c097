"""The arms of one row: a cell as compiled C, torch's module, the eager backend, on equal terms."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.bench.config import Input, Mode, Shape
from nas.cell.cell import Cell
from nas.compile.backend import Backend
from nas.errors import CellError
from nas.nn.rnn import RNN
from nas.zoo import ZOO

TWINS: dict[str, tuple[str, Callable[[int, int], nn.RNNBase]]] = {
    "lstm": ("nn.LSTM", nn.LSTM),
    "gru_v1": ("nn.GRU", nn.GRU),
    "rnn": ("nn.RNN", nn.RNN),
    "irnn": ("nn.RNN", lambda n_in, n_out: nn.RNN(n_in, n_out, nonlinearity="relu")),
}
"""Cells that torch has."""
YARDSTICK = "lstm"
"""The cell whose module of torch others are compared with."""
CLIP_NORM = 5.0
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Arm:
    """One implementation with its weights and its input."""

    name: str
    output: Callable[[], Tensor]
    """y of the sequence, (time, batch, width)."""
    weights: tuple[nn.Parameter, ...]


@dataclass(frozen=True)
class Arms:
    """What is compared in a row."""

    ours: str
    """ "c", or "eager" where C cannot be had."""
    torch: str
    same_cell: bool
    """Whether torch's module computes the same, with the same weights."""
    arms: tuple[Arm, ...]

    def largest_difference(self) -> dict[str, float | None]:
        """Between y of ours and of each arm that computes the same; None if it is not finite."""
        with torch.no_grad():
            outputs = {arm.name: arm.output() for arm in self.arms}
        found: dict[str, float | None] = {}
        for name, output in outputs.items():
            if name != self.ours and (self.same_cell or name != self.torch):
                difference = float((output - outputs[self.ours]).abs().max())
                found[name] = difference if math.isfinite(difference) else None
        return found


def twin(cell: Cell) -> str | None:
    """The name in the zoo under which torch has this cell, whatever it is called."""
    same = (
        name for name in TWINS if (ZOO[name].nodes, ZOO[name].outputs) == (cell.nodes, cell.outputs)
    )
    return next(same, None)


def make_arms(cell: Cell, shape: Shape, inputs: Input, eager: bool) -> Arms:
    """All arms of a cell, with weights and input that are the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        known = twin(cell)
        torch_name, make = TWINS[known or YARDSTICK]
        module = make(shape.hidden, shape.hidden)
        ours = RNN.from_torch(module) if known else RNN(cell, shape.hidden, shape.hidden)
        table = nn.Embedding(shape.vocabulary, shape.hidden)
        data = torch.randn(shape.steps, shape.batch, shape.hidden)
        tokens = torch.randint(shape.vocabulary, (shape.steps, shape.batch))
    backend: Backend = "eager" if obstacle(cell, shape.hidden) else "c"
    found = [_ours(backend, ours, table, data, tokens, inputs)]
    found.append(_torch(torch_name, module, table, data, tokens, inputs))
    if eager and backend == "c":
        found.append(_ours("eager", ours, table, data, tokens, inputs))
    return Arms(backend, torch_name, known is not None, tuple(found))


def obstacle(cell: Cell, hidden: int) -> str:
    """Why the backend c cannot run a cell, or an empty string; compiles it where it can."""
    try:
        RNN(cell, hidden, hidden, backend="c")(torch.zeros(1, 1, hidden))
    except CellError as error:
        return str(error)
    return ""


def _ours(
    backend: Backend, rnn: RNN, table: nn.Embedding, data: Tensor, tokens: Tensor, inputs: Input
) -> Arm:
    weights = rnn.state_dict()
    # Not a deep copy: that of the cell would be looked up by comparing all of its nodes.
    rnn = RNN(rnn.cell, rnn.input_size, rnn.hidden_size, backend=backend)
    rnn.load_state_dict(weights)
    if inputs == "data":
        return Arm(backend, lambda: rnn(data)[0], tuple(rnn.parameters()))
    table = copy.deepcopy(table)
    learned = (*table.parameters(), *rnn.parameters())
    return Arm(backend, lambda: rnn.forward_tokens(tokens, table.weight)[0], learned)


def _torch(
    name: str, module: nn.RNNBase, table: nn.Embedding, data: Tensor, tokens: Tensor, inputs: Input
) -> Arm:
    if inputs == "data":
        return Arm(name, lambda: module(data)[0], tuple(module.parameters()))
    table = copy.deepcopy(table)
    learned = (*table.parameters(), *module.parameters())
    return Arm(name, lambda: module(table(tokens))[0], learned)


def work(arm: Arm, mode: Mode) -> Callable[[], None]:
    """What is timed. The backward pass starts from a fixed random gradient of y, as of a loss."""
    with torch.no_grad():
        y = arm.output()
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)) / y[0].numel()
    optimizer = torch.optim.SGD(arm.weights, lr=LEARNING_RATE)

    def forward() -> None:
        with torch.no_grad():
            arm.output()

    def backward() -> None:
        for weight in arm.weights:
            weight.grad = None
        torch.autograd.backward(arm.output(), gradient)

    def train() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(arm.output(), gradient)
        nn.utils.clip_grad_norm_(arm.weights, CLIP_NORM)
        optimizer.step()

    return {"fwd": forward, "fwd+bwd": backward, "train": train}[mode]
