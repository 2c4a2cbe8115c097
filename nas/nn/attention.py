"""The network around a cell that reads a source, and attends to it while it writes.

Two stacks of the cell read the source, one from each end, and what both say of a symbol is its
annotation. A third stack writes, beginning with the final states of the one that read towards the
source's first symbol (Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section 3 and appendix A).
Stacks that read both ways apart, and states that are passed on as they are, suit every cell,
whatever its states are; so does a context that is added to the embedded symbol, for in a cell x may
have to be as wide as a state.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.cell.cell import Cell
from nas.errors import UserError
from nas.nn.budget import head_size, map_sizes
from nas.nn.rnn import RNN, States
from nas.nn.sources import Sources, Way, sources
from nas.nn.stacking import Stacking
from nas.tasks.base import Interface


def additive(query: Tensor, keys: Tensor, score: Tensor, padded: Tensor) -> Tensor:
    """How much each stream attends to each step of its source, (batch, steps): sums to 1.

    softmax_j v tanh(W s_{i-1} + U h_j): `query` is W s_{i-1}, (batch, width), `keys` are U h_j,
    (batch, steps, width), and `score` is v, (1, width).
    """
    energies = (torch.tanh(keys + query.unsqueeze(1)) @ score.t()).squeeze(-1)
    return energies.masked_fill(padded, -math.inf).softmax(-1)


def general(outputs: Tensor, annotations: Tensor, score: Tensor, padded: Tensor) -> Tensor:
    """The same for all written steps at once, (batch, written, steps): softmax_j s_i W h_j.

    `outputs` are s_i, (batch, written, output), `score` is W, (output, annotation).
    """
    energies = (outputs @ score) @ annotations.transpose(1, 2)
    return energies.masked_fill(padded.unsqueeze(1), -math.inf).softmax(-1)


def read(weights: Tensor, annotations: Tensor) -> Tensor:
    """The context of one step, (batch, annotation)."""
    return (weights.unsqueeze(1) @ annotations).squeeze(1)


class AttentionModel(nn.Module):
    """Tokens (time, batch) of whole examples to scores (time, batch, outputs).

    Scores are those of the bias alone where nothing is written. See `nas.tasks.base.Attention` for
    what a window has, and for the two forms of attention. With the form "additive", the output
    layer reads the output of the cell and its context.
    """

    def __init__(
        self,
        cell: Cell,
        interface: Interface,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        stacking: Stacking = "plain",
    ) -> None:
        super().__init__()
        assert interface.attention is not None, "a model without attention is a SequenceModel"
        self.interface = interface
        self.attention = interface.attention

        def stack() -> RNN:
            sizes = (hidden_size, hidden_size, num_layers)
            return RNN(cell, *sizes, dropout=dropout, stacking=stacking)

        self.embedding = nn.Embedding(interface.inputs, hidden_size)
        self.rnn, self.backward_rnn, self.decoder = stack(), stack(), stack()
        sizes = (self.attention, hidden_size, self.rnn.output_size)
        self.maps = map_sizes(*sizes)
        for name, (inputs, outputs) in self.maps.items():
            self.add_module(name, nn.Linear(inputs, outputs, bias=False))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(head_size(*sizes), interface.outputs)

    @torch.no_grad()
    def reset_parameters(self, init_scale: float, generator: torch.Generator) -> None:
        """Draw weights from U[-s, s], s = init_scale / sqrt(hidden_size); biases are the cell's."""
        bound = init_scale / math.sqrt(self.rnn.hidden_size)
        self.embedding.weight.uniform_(-bound, bound, generator=generator)
        for rnn in (self.rnn, self.backward_rnn, self.decoder):
            rnn.reset_parameters(init_scale, generator)
        for name in self.maps:
            self._map(name).uniform_(-bound, bound, generator=generator)
        self.head.weight.uniform_(-bound, bound, generator=generator)
        self.head.bias.zero_()

    def _map(self, name: str) -> Tensor:
        return self.get_parameter(f"{name}.weight")

    def forward(self, inputs: Tensor, state: States | None = None) -> tuple[Tensor, States]:
        """Scores, and the states after the last step that is written.

        Raises:
            UserError: if a state is given, since examples are whole, or if there are no sources.
        """
        y, _, state = self._written(inputs, sources(inputs, self.attention), state)
        return self.head(y), state

    def weights(self, inputs: Tensor) -> Tensor:
        """How much each step attends to each step of its source: (written, batch, source steps).

        Sources end at the last one; their padding has the weight 0.
        """
        return self._written(inputs, sources(inputs, self.attention), None)[1]

    def _written(
        self, inputs: Tensor, found: Sources, state: States | None
    ) -> tuple[Tensor, Tensor, States]:
        """What the output layer reads, zeros where nothing is written; weights; states."""
        refuse_state(state)
        flat = self.embedding(inputs.flatten())
        forward, _ = self._read(self.rnn, flat, found, found.forward)
        backward, start = self._read(self.backward_rnn, flat, found, found.backward)
        annotations = torch.cat([forward, backward], -1).view(inputs.shape[1], found.n_steps, -1)
        embedded = flat.view(*inputs.shape, -1)[found.written]
        write = self._additive if self.attention.form == "additive" else self._general
        y, weights, state = write(
            embedded, annotations, found.padded, backward[found.begins], start
        )
        after = len(inputs) - found.written.stop
        return F.pad(self.dropout(y), (0, 0, 0, 0, found.written.start, after)), weights, state

    def _read(self, rnn: RNN, flat: Tensor, found: Sources, way: Way) -> tuple[Tensor, States]:
        """Outputs for all slots, zeros for padding, and the final states."""
        packed, states = rnn(found.packed(flat[way.places]))
        outputs = flat.new_zeros(found.padded.numel(), rnn.output_size)
        return outputs.index_copy(0, way.slots, packed.data), states

    def _additive(
        self, embedded: Tensor, annotations: Tensor, padded: Tensor, y: Tensor, state: States
    ) -> tuple[Tensor, Tensor, States]:
        keys = F.linear(annotations, self._map("key"))
        outputs, weights = [], []
        for i, x in enumerate(embedded):
            query = F.linear(y, self._map("query"))
            weights.append(additive(query, keys, self._map("score"), padded))
            context = read(weights[-1], annotations)
            y, state = self.decoder.step(x + F.linear(context, self._map("context")), state, i)
            outputs.append(torch.cat([y, context], -1))
        return torch.stack(outputs), torch.stack(weights), state

    def _general(
        self, embedded: Tensor, annotations: Tensor, padded: Tensor, _: Tensor, state: States
    ) -> tuple[Tensor, Tensor, States]:
        y, state = self.decoder(embedded, state)
        outputs = y.transpose(0, 1)
        weights = general(outputs, annotations, self._map("score"), padded)
        both = torch.cat([outputs, weights @ annotations], -1)
        combined = torch.tanh(F.linear(both, self._map("combined")))
        return combined.transpose(0, 1).contiguous(), weights.transpose(0, 1), state


def refuse_state(state: object) -> None:
    """Raise UserError if a state is given to a model with attention."""
    if state is not None:
        raise UserError(
            "a model with attention reads whole examples, which begin with their source: every "
            "window of its task must be fresh, got one that carries a state over."
        )
