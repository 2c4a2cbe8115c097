"""What is exported: layers in float64, and what stands around them in a trained model.

Weights that are stored as int8 are rounded here once, so that the reference of a self-test has the
numbers that the C has.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.cell.graph import Node
from nas.compile.reference import EagerCell, Operand
from nas.errors import UserError
from nas.nn.meaning import Meaning
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN
from nas.nn.settings import Stacking
from nas.nn.trained import TrainedModel

Values = NDArray[np.float64]
MAPS = ("linear", "block_diagonal", "masked", "skew")
"""Learned matrices, which are stored as int8 unless the format is float32."""
Seen = Callable[[int, int, Operand], None]
"""What looks at the value of a node: its layer, its index, the value."""
OUTPUT = -1
"""Stands for a node where what is looked at leaves a layer, its input added if it is residual."""
INPUT = -1
"""Stands for a layer where what is looked at is the normalised input of a trained model."""


@dataclass(frozen=True)
class Network:
    """Layers of a cell and, of a trained model, its embedding, its output layer and its data."""

    cell: Cell
    layers: tuple[EagerCell, ...]
    stacking: Stacking
    embedding: Values | None = None
    """(symbols, hidden) of tokens; (hidden, features) of features; None of layers alone."""
    head: tuple[Values, Values] | None = None
    """Weights (outputs, width) and biases (outputs,)."""
    meaning: Meaning | None = None

    @property
    def tokens(self) -> bool:
        """Whether a step reads a symbol."""
        return self.meaning is not None and self.meaning.interface.tokens

    @property
    def n_inputs(self) -> int:
        """Features of a step; the size of the vocabulary where it reads a symbol."""
        return self.meaning.interface.inputs if self.meaning else self.layers[0].sizes[0]

    @property
    def n_outputs(self) -> int:
        """Numbers that a step gives."""
        return self.meaning.interface.outputs if self.meaning else self.y_size

    @property
    def y_size(self) -> int:
        """Width of the last layer's output."""
        return self.layers[-1].sizes[self.cell.y]


class StoredCell(EagerCell):
    """A layer whose matrices are those that a file of C has."""

    stored: dict[int, Tensor]

    def weight_at(self, i: int) -> Tensor:
        return self.stored[i] if i in self.stored else super().weight_at(i)

    def square(self, i: int, n: Node, x: Tensor) -> Tensor:
        return self.stored[i] if i in self.stored else super().square(i, n, x)


@dataclass(frozen=True)
class Int8:
    """A matrix of whole numbers in [-127, 127], each row of which has a scale."""

    values: NDArray[np.int8]
    scales: Values
    """(rows,): a row's numbers are this times the whole ones; float32 holds it."""

    @property
    def matrix(self) -> Values:
        """The numbers that are meant."""
        return self.values * self.scales[:, None]


def int8(matrix: Values) -> Int8:
    """Round a matrix (rows, columns); the largest of a row becomes 127 (symmetric, by row)."""
    largest = np.abs(matrix).max(axis=1)
    rounded = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    scales = rounded.astype(np.float64)
    return Int8(np.rint(matrix / scales[:, None]).clip(-127, 127).astype(np.int8), scales)


def matrix_of(layer: EagerCell, i: int) -> Values:
    """The matrix (rows, columns) of a learned map; of blocks all their rows, (rows, block)."""
    n = layer.cell.nodes[i]
    weight = layer.weight_at(i).detach()
    if n.op in ("masked", "skew"):
        weight = layer.square(i, n, weight).detach()
    found: Values = weight.reshape(-1, weight.shape[-1]).numpy()
    return found


def network_of(module: RNN | TrainedModel) -> Network:
    """Copy a module in float64.

    Raises:
        UserError: if no step can express it.
    """
    rnn = module if isinstance(module, RNN) else module.rnn
    if rnn.bidirectional:
        raise UserError(
            "a bidirectional network cannot be written as a step: its second direction begins at "
            "the end of a sequence. Export it without --bidirectional."
        )
    copied = copy.deepcopy(rnn).double().eval()
    layers = tuple(cast(EagerCell, layer).resolved() for layer in copied.layers)
    network = Network(rnn.cell, layers, rnn.stacking)
    if isinstance(module, RNN):
        return network
    model = module.network
    assert isinstance(model, SequenceModel), "the command refuses attention"
    weight, bias = (tensor.detach().double().numpy() for tensor in model.head.parameters())
    embedding = model.embedding.weight.detach().double().numpy()
    return replace(network, embedding=embedding, head=(weight, bias), meaning=module.meaning)


def stored(network: Network) -> Network:
    """The network with the matrices that int8 weights stand for."""
    layers = []
    for layer in network.layers:
        made = StoredCell.__new__(StoredCell)
        made.__dict__ = dict(layer.__dict__)
        made.stored = {
            i: torch.from_numpy(int8(matrix_of(layer, i)).matrix).view(_shape(layer, i))
            for i in layer.labels
            if layer.cell.nodes[i].op in MAPS
        }
        layers.append(made)
    network = replace(network, layers=tuple(layers))
    if network.embedding is None or network.head is None:
        return network
    weight, bias = network.head
    return replace(
        network, embedding=int8(network.embedding).matrix, head=(int8(weight).matrix, bias)
    )


def _shape(layer: EagerCell, i: int) -> torch.Size:
    return layer.weight_at(i).shape


def _ignore(layer: int, node: int, value: Operand) -> None:
    """Look at nothing."""


@dataclass
class Running:
    """Sequences that a network reads step by step, in float64."""

    network: Network
    batch: int
    seen: Seen = _ignore
    step: int = 0

    def __post_init__(self) -> None:
        self.states = [
            [
                torch.full((self.batch, layer.sizes[i]), n.number("initial"), dtype=torch.float64)
                for i, n in enumerate(self.network.cell.nodes)
                if n.op == "state"
            ]
            for layer in self.network.layers
        ]

    @torch.no_grad()
    def read(self, inputs: Tensor) -> Tensor:
        """Read steps: normalised features (time, batch, features) or tokens (time, batch).

        Returns the scores of a trained model, normalised, or y of layers alone: (time, batch,
        outputs).
        """
        return torch.stack([self._step(row) for row in inputs])

    def _step(self, row: Tensor) -> Tensor:
        network = self.network
        x = row
        if network.embedding is not None:
            table = torch.from_numpy(network.embedding)
            if not network.tokens:
                self.seen(INPUT, 0, row)
            x = table[row] if network.tokens else nn.functional.linear(row.double(), table)
        below = [x.new_zeros(self.batch, layer_width) for layer_width in self._verticals()]
        for place, layer in enumerate(network.layers):
            under = x
            if place and "norm" in network.stacking:
                x = nn.functional.layer_norm(x, x.shape[-1:])
            x, below = self._layer(place, layer, x, below)
            x = x + under if place and "residual" in network.stacking else x
            self.seen(place, OUTPUT, x)
        self.step += 1
        if network.head is None:
            return x
        weight, bias = map(torch.from_numpy, network.head)
        return nn.functional.linear(x, weight, bias)

    def _verticals(self) -> Sequence[int]:
        return [self.network.layers[0].hidden_size] * len(self.network.cell.verticals)

    def _layer(
        self, place: int, layer: EagerCell, x: Tensor, below: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        cell = layer.cell
        values = layer.values(x, self.states[place], below, self.step)
        for i, value in values.items():
            self.seen(place, i, value)
        self.states[place] = [layer.row(values[i], i, x).clone() for i in cell.new_states]
        above = [layer.row(values[i], i, x, layer.hidden_size) for i in cell.new_verticals]
        return layer.row(values[cell.y], cell.y, x), above
