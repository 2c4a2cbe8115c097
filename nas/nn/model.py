"""The network around a cell that a task trains: embedding, layers of the cell, output layer."""

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.nn.rnn import RNN, States
from nas.nn.stacking import Stacking
from nas.tasks.base import Interface, interface_of


def described_interface(interface: Interface) -> dict[str, Any]:
    """An interface in the description of a model; `nas.nn.loading` reads it."""
    if interface.predicts_next:
        return {"vocabulary_size": interface.inputs}
    ends = dataclasses.asdict(interface)
    if interface.attention is None:
        del ends["attention"]
    return {"interface": ends}


class SequenceModel(nn.Module):
    """Predictor at each step: tokens (time, batch), or features (time, batch, inputs), to scores
    (time, batch, outputs), which the head of the interface gives a meaning.

    What is read is embedded to the hidden width, so that inside a cell x is as wide as a state
    (Jozefowicz et al. 2015): tokens by a table, features by a matrix without a bias. A vocabulary
    size as the interface stands for a predictor of the next symbol.
    """

    def __init__(
        self,
        cell: Cell,
        interface: Interface | int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        stacking: Stacking = "plain",
    ) -> None:
        super().__init__()
        self.interface = ends = interface_of(interface)
        self.embedding: nn.Embedding | nn.Linear = (
            nn.Embedding(ends.inputs, hidden_size)
            if ends.tokens
            else nn.Linear(ends.inputs, hidden_size, bias=False)
        )
        self.rnn = RNN(
            cell, hidden_size, hidden_size, num_layers, dropout=dropout, stacking=stacking
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.rnn.output_size, ends.outputs)

    @torch.no_grad()
    def reset_parameters(self, init_scale: float, generator: torch.Generator) -> None:
        """Draw weights from U[-s, s], s = init_scale / sqrt(hidden_size); biases are the cell's."""
        bound = init_scale / math.sqrt(self.rnn.hidden_size)
        self.embedding.weight.uniform_(-bound, bound, generator=generator)
        self.rnn.reset_parameters(init_scale, generator)
        self.head.weight.uniform_(-bound, bound, generator=generator)
        self.head.bias.zero_()

    def forward(self, inputs: Tensor, state: States | None) -> tuple[Tensor, States]:
        if self.interface.tokens:
            outputs, state = self.rnn.forward_tokens(inputs, self.embedding.weight, state)
        else:
            outputs, state = self.rnn(self.embedding(inputs), state)
        return self.head(self.dropout(outputs)), state
