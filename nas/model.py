"""The network around a cell that a task trains: embedding, layers of the cell, output layer."""

import math

import torch
from torch import Tensor, nn

from nas.cell.graph import Cell
from nas.rnn import RNN, States


class SequenceModel(nn.Module):
    """Next-symbol predictor: tokens (time, batch) to logits (time, batch, vocabulary).

    Tokens are embedded to the hidden width, so that inside a cell x is as wide as a state
    (Jozefowicz et al. 2015).
    """

    def __init__(
        self, cell: Cell, vocabulary_size: int, hidden_size: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, hidden_size)
        self.rnn = RNN(cell, hidden_size, hidden_size, num_layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.rnn.output_size, vocabulary_size)

    @torch.no_grad()
    def reset_parameters(self, init_scale: float, generator: torch.Generator) -> None:
        """Draw weights from U[-s, s], s = init_scale / sqrt(hidden_size); biases are the cell's."""
        bound = init_scale / math.sqrt(self.rnn.hidden_size)
        self.embedding.weight.uniform_(-bound, bound, generator=generator)
        self.rnn.reset_parameters(init_scale, generator)
        self.head.weight.uniform_(-bound, bound, generator=generator)
        self.head.bias.zero_()

    def forward(self, tokens: Tensor, state: States | None) -> tuple[Tensor, States]:
        outputs, state = self.rnn.forward_tokens(tokens, self.embedding.weight, state)
        return self.head(self.dropout(outputs)), state
