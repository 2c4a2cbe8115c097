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
    """The arms of a row, ours first."""

    ours: str
    """ "c", or "eager" where C cannot be had."""
    torch: str
    same_cell: bool
    """Whether torch's module computes the same, with the same weights."""
    arms: tuple[Arm, ...]

    def largest_difference(self) -> dict[str, float | None]:
        """The largest difference of y between ours and each arm that computes the same.

        None if it is not finite.
        """
        with torch.no_grad():
            outputs = {arm.name: arm.output() for arm in self.arms}
        differences: dict[str, float | None] = {}
        for name, output in outputs.items():
            if name != self.ours and (self.same_cell or name != self.torch):
                difference = float((output - outputs[self.ours]).abs().max())
                differences[name] = difference if math.isfinite(difference) else None
        return differences


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

    def arm(name: str, module: RNN | nn.RNNBase) -> Arm:
        if inputs == "data":
            return Arm(name, lambda: module(data)[0], tuple(module.parameters()))
        embedding = copy.deepcopy(table)
        weights = (*embedding.parameters(), *module.parameters())
        if isinstance(module, RNN):
            return Arm(name, lambda: module.forward_tokens(tokens, embedding.weight)[0], weights)
        return Arm(name, lambda: module(embedding(tokens))[0], weights)

    backend: Backend = "eager" if obstacle(cell, shape.hidden) else "c"
    arms = [arm(backend, _on(backend, ours)), arm(torch_name, module)]
    if eager and backend == "c":
        arms.append(arm("eager", _on("eager", ours)))
    return Arms(backend, torch_name, known is not None, tuple(arms))


def _on(backend: Backend, rnn: RNN) -> RNN:
    """A copy with the same weights; a deep copy would look its cell up by comparing all nodes."""
    copied = RNN(rnn.cell, rnn.input_size, rnn.hidden_size, backend=backend)
    copied.load_state_dict(rnn.state_dict())
    return copied


def obstacle(cell: Cell, hidden: int) -> str:
    """Why the backend c cannot run a cell, or an empty string; compile it where it can."""
    try:
        RNN(cell, hidden, hidden, backend="c")(torch.zeros(1, 1, hidden))
    except CellError as error:
        return str(error)
    return ""


def work(arm: Arm, mode: Mode) -> Callable[[], None]:
    """The call that is timed; its backward pass starts from a fixed random gradient of y."""
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
