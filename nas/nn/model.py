"""The network around a cell that a task trains: embedding, layers of the cell, output layer."""

import dataclasses
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nas.cell.cell import Cell
from nas.nn.layers import States
from nas.nn.layout import layout
from nas.nn.rnn import RNN
from nas.nn.settings import Stacking
from nas.tasks.base import Interface, interface_of


def described_interface(interface: Interface) -> dict[str, Any]:
    """Return an interface for the description of a model, which `nas.nn.loading` reads."""
    if interface.predicts_next:
        return {"vocabulary_size": interface.inputs}
    ends = dataclasses.asdict(interface)
    if interface.attention is None:
        del ends["attention"]
    if interface.kind is None:
        del ends["kind"]
    else:
        ends["kind"] = {"name": interface.kind.kind, **ends["kind"]}
    return {"interface": ends}


class Network(nn.Module):
    """Embedding, stacks of a cell's layers, further maps if its kind has any, and output layer.

    Inputs are embedded to the hidden width, so that inside a cell x is as wide as a state
    (Jozefowicz et al. 2015): tokens by a table, features by a matrix without a bias. A vocabulary
    size as the interface stands for a predictor of the next symbol. Scores are (time, batch,
    outputs); the head of the interface gives them a meaning.
    """

    TITLE: ClassVar[str]
    """What a message calls such a model."""
    rnn: RNN

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
        width = cell.widths[cell.y]
        output = width if isinstance(width, int) else hidden_size
        self.layout = parts = layout(ends, hidden_size, output)
        self.embedding: nn.Embedding | nn.Linear = (
            nn.Embedding(parts.embedded, hidden_size)
            if ends.tokens
            else nn.Linear(parts.embedded, hidden_size, bias=False)
        )
        for name in parts.stacks:
            sizes = (hidden_size, hidden_size, num_layers)
            between = dropout if num_layers > 1 else 0.0
            self.add_module(name, RNN(cell, *sizes, dropout=between, stacking=stacking))
        for name, one in parts.maps.items():
            self.add_module(name, nn.Linear(*one))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(*parts.head)

    @torch.no_grad()
    def reset_parameters(self, init_scale: float, generator: torch.Generator) -> None:
        """Draw weights from U[-s, s], s = init_scale / sqrt(hidden_size); biases are the cell's."""
        bound = init_scale / math.sqrt(self.rnn.hidden_size)
        for name, module in self.named_children():
            if isinstance(module, RNN):
                module.reset_parameters(init_scale, generator)
            elif name != "dropout":
                self.get_parameter(f"{name}.weight").uniform_(-bound, bound, generator=generator)
                if getattr(module, "bias", None) is not None:
                    self.get_parameter(f"{name}.bias").zero_()


class SequenceModel(Network):
    """Predictor at each step: reads tokens (time, batch) or features (time, batch, inputs)."""

    TITLE: ClassVar[str] = "a model that reads step by step"

    def forward(
        self, inputs: Tensor, state: States | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Return the scores, and the states after the last step of each sequence.

        `lengths`, (batch,), says how many steps of each sequence count where they are padded at
        their end; scores of the others mean nothing.
        """
        if lengths is not None:
            embedded = self.embedding(inputs)
            packed = pack_padded_sequence(embedded, lengths.cpu(), enforce_sorted=False)
            y, state = self.rnn(packed, state)
            padded, _ = pad_packed_sequence(y, total_length=len(inputs))
            return self.head(self.dropout(padded)), state
        if self.interface.tokens:
            outputs, state = self.rnn.forward_tokens(inputs, self.embedding.weight, state)
        else:
            outputs, state = self.rnn(self.embedding(inputs), state)
        return self.head(self.dropout(outputs)), state
