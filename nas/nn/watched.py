"""What goes on inside the layers of a model that reads a sequence: every value, and gradients.

Both are computed by the eager reference in float64, with the parameters that the model has.
"""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.compile.reference import EagerCell
from nas.errors import UserError
from nas.nn.asking import Values
from nas.nn.budget import count_params, solve_width
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN
from nas.nn.settings import Settings
from nas.nn.trained import TrainedModel

Array = NDArray[np.float64]
AT_ONCE = 32
"""Units whose gradients are computed at once: a graph of autograd holds so many sequences."""


def inputs_of(model: TrainedModel, read: Values) -> Tensor:
    """Return what the first layer reads, (steps, width), of a sequence as `asked` reads it.

    Raises:
        UserError: if the model has attention, or is of another kind that reads whole examples.
    """
    network = model.network
    if not isinstance(network, SequenceModel):
        raise UserError(f"{network.TITLE} reads whole examples, not one sequence.")
    return embedded(network, normalised(model, read))


def normalised(model: TrainedModel, read: Values) -> Tensor:
    """Return tokens as they are, and features without their units."""
    inputs = torch.from_numpy(read)
    if model.meaning.interface.tokens:
        return inputs
    return (inputs - model.input_means.cpu()) / model.input_scales.cpu()


@torch.no_grad()
def embedded(network: SequenceModel, inputs: Tensor) -> Tensor:
    """Return what the first layer reads, (steps, width), of tokens or of normalised features."""
    weight = network.embedding.weight.double().cpu()
    return weight[inputs] if network.interface.tokens else inputs.double() @ weight.T


def watch(rnn: RNN, x: Tensor) -> tuple[Array, list[dict[int, Array]]]:
    """Read x, (steps, input), and return y, (steps, output), with the values of each layer.

    Those are (steps, width) of each live node, by its place in the cell.

    Raises:
        UserError: if the layers also run from the end to the start.
    """
    rnn = _exact(rnn)
    below = [x.new_zeros(len(x), rnn.hidden_size) for _ in rnn.cell.verticals]
    found = []
    with torch.no_grad(), _one_thread():
        for place, layer in enumerate(rnn.layers):
            assert isinstance(layer, EagerCell)
            under = x
            if place and "norm" in rnn.stacking:
                x = nn.functional.layer_norm(x, x.shape[-1:])
            values = _watch_layer(layer, x, below)
            found.append({i: value.numpy() for i, value in values.items()})
            below = [values[i].expand(len(x), rnn.hidden_size) for i in rnn.cell.new_verticals]
            is_added = place and "residual" in rnn.stacking
            x = values[rnn.cell.y] + under if is_added else values[rnn.cell.y]
    return x.numpy(), found


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run without others: steps of one sequence are too small to be worth their waiting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _exact(rnn: RNN) -> RNN:
    if rnn.bidirectional:
        raise UserError("layers that run both ways have no one order of steps.")
    rnn = copy.deepcopy(rnn).double().cpu().eval()
    rnn.backend = "eager"
    return rnn


def _watch_layer(layer: EagerCell, x: Tensor, below: list[Tensor]) -> dict[int, Tensor]:
    cell = layer.cell
    states = [
        x.new_full((1, layer.sizes[1 + k]), state.initial) for k, state in enumerate(cell.states)
    ]
    steps: dict[int, list[Tensor]] = {i: [] for i in cell.live}
    for t in range(len(x)):
        row = x[t : t + 1]
        values = layer.values(row, states, [vertical[t : t + 1] for vertical in below], t)
        for i, rows in steps.items():
            rows.append(layer.row(values[i], i, row))
        states = [steps[i][-1] for i in cell.new_states]
    return {i: torch.cat(rows) for i, rows in steps.items()}


def memory(rnn: RNN, x: Tensor, n_ends: int = 4) -> Array:
    """Return how strongly y at the end depends on x so many steps before, by that gap from 0 on.

    It is the norm of the gradient of a unit of y_T by x_t, as the root mean square over units:
    the Frobenius norm of the Jacobian over the root of their number. It is the mean over the last
    `n_ends` steps T, and x, (steps, input), is what the first layer reads.
    """
    rnn = _exact(rnn).requires_grad_(requires_grad=False)
    ends = range(max(1, len(x) - n_ends + 1), len(x) + 1)
    with _one_thread():
        norms = [_norms(rnn, x[:end]).flip(0)[: ends[0]] for end in ends]
    mean: Array = torch.stack(norms).mean(0).numpy()
    return mean


def _norms(rnn: RNN, x: Tensor) -> Tensor:
    """Return the norm of the Jacobian of the last y by each x, (steps,)."""
    total = x.new_zeros(len(x))
    for first in range(0, rnn.output_size, AT_ONCE):
        units = range(first, min(first + AT_ONCE, rnn.output_size))
        copies = x.unsqueeze(1).repeat(1, len(units), 1).requires_grad_()
        y, _ = rnn(copies)
        # Each of the copies of the sequence gives the gradient of one unit.
        [gradient] = torch.autograd.grad(y[-1, range(len(units)), units].sum(), copies)
        total += gradient.square().sum((1, 2))
    return (total / rnn.output_size).sqrt()


def fresh(cell: Cell, like: SequenceModel, described: Mapping[str, Any]) -> SequenceModel:
    """Return an untrained model of a cell with the interface and about the size of another.

    It is drawn as the description of that one's weights says, whose own cell gets the weights with
    which its training began if the description has their seed.
    """
    ends, layers = like.interface, like.rnn.num_layers
    settings = described.get("settings", {})
    width = like.rnn.hidden_size
    if cell.key != like.rnn.cell.key:
        budget = count_params(like.rnn.cell, ends, width, layers)
        width = solve_width(cell, ends, Settings(n_params=budget, num_layers=layers))
    model = SequenceModel(cell, ends, width, layers, 0.0, like.rnn.stacking)
    generator = torch.Generator().manual_seed(int(described.get("weight_seed", 0)))
    model.reset_parameters(float(settings.get("init_scale", 1.0)), generator)
    return model.eval()
