"""The network around a cell that reads a source, and attends to it while it writes.

Two stacks of the cell read the source, one from each end; the outputs of both for a symbol are its
annotation. A third stack writes, beginning with the final states of the one that read towards the
source's first symbol (Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section 3 and appendix A). Two
separate stacks, and states that are passed on unchanged, suit every cell, whatever its states are;
so does a context that is added to the embedded symbol, for in a cell x may have to be as wide as a
state.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from nas.compile.rows import Rows
from nas.errors import UserError
from nas.nn.layers import States
from nas.nn.model import Network
from nas.nn.rnn import RNN
from nas.tasks.base import Attention, AttentionForm


@dataclass(frozen=True)
class Way:
    """Sources read from their first symbol to their last, or from their last to their first."""

    places: Tensor
    """The place of each row's symbol among the time * batch tokens of the window, (rows,)."""
    slots: Tensor
    """The place of each row's output among the batch * steps annotations, (rows,)."""


@dataclass(frozen=True)
class Sources:
    """The places of the sources of a window; a step that is padding in all of them is left out.

    The annotations of one source do not depend on the others: rows are those of a packed batch,
    the longest source first.
    """

    n_steps: int
    """Steps of the longest source."""
    rows: Rows
    forward: Way
    backward: Way
    order: Tensor
    """The stream of each sequence of the packed batch, (batch,)."""
    begins: Tensor
    """The slots of the sources' first symbols, (batch,)."""
    padded: Tensor
    """The steps that are padding, (batch, n_steps)."""
    written: slice
    """The steps from the divider on, without those that are padding in all streams."""

    def packed(self, embedded: Tensor) -> PackedSequence:
        """Pack embedded symbols, one for each row of a way, (rows, width), for torch modules."""
        return PackedSequence(embedded, torch.tensor(self.rows.counts), self.order, self.unsorted)

    @property
    def unsorted(self) -> Tensor:
        """The place of each stream in the packed batch, (batch,)."""
        return self.order.argsort()


def sources(tokens: Tensor, attention: Attention) -> Sources:
    """Find the source of each stream of tokens (time, batch).

    Raises:
        UserError: if the streams do not have a divider at one step, or a source is empty or is not
            padded at its start alone.
    """
    divider = _divider(tokens, attention)
    read = tokens[:divider] != attention.padding
    lengths = read.sum(0)
    n_steps = int(lengths.max()) if divider else 0
    steps = torch.arange(divider, device=tokens.device).unsqueeze(1)
    if not n_steps or not torch.equal(read, steps >= divider - lengths) or not lengths.all():
        raise UserError(
            "a source has at least one symbol and is padded at its start alone, got "
            f"{tokens[:divider].t().tolist()[int(lengths.argmin())]}."
        )
    order = lengths.argsort(descending=True, stable=True)
    step = torch.arange(n_steps, device=tokens.device).unsqueeze(1)
    active = step < lengths[order]
    stream = order.expand_as(active)[active]

    def way(time: Tensor) -> Way:
        here = time.expand_as(active)[active]
        batch = tokens.shape[1]
        slots = stream * n_steps + here - (divider - n_steps)
        return Way(here * batch + stream, slots)

    written = (tokens[divider:] != attention.padding).any(1).nonzero()
    return Sources(
        n_steps,
        Rows(tuple(active.sum(1).tolist())),
        way(divider - lengths[order] + step),
        way(divider - 1 - step),
        order,
        torch.arange(len(order), device=tokens.device) * n_steps + n_steps - lengths,
        ~read[divider - n_steps :].t().contiguous(),
        slice(divider, divider + int(written.max()) + 1),
    )


def _divider(tokens: Tensor, attention: Attention) -> int:
    """Return the step at which all streams have their first divider."""
    dividers = tokens == attention.divider
    steps = dividers.int().argmax(0)
    if not dividers.any(0).all() or (steps != steps[0]).any():
        raise UserError(
            f"a window with sources has the divider, symbol {attention.divider}, at one step of "
            f"all its sequences, got it at the steps {steps.tolist()} of {len(tokens)}."
        )
    return int(steps[0])


def additive(query: Tensor, keys: Tensor, score: Tensor, padded: Tensor) -> Tensor:
    """Return how much each stream attends to each step of its source, (batch, steps): sums to 1.

    softmax_j v tanh(W s_{i-1} + U h_j): `query` is W s_{i-1}, (batch, width), `keys` are U h_j,
    (batch, steps, width), and `score` is v, (1, width).
    """
    energies = (torch.tanh(keys + query.unsqueeze(1)) @ score.t()).squeeze(-1)
    return energies.masked_fill(padded, -math.inf).softmax(-1)


def general(outputs: Tensor, annotations: Tensor, score: Tensor, padded: Tensor) -> Tensor:
    """Return the same for all written steps at once, (batch, written, steps): softmax_j s_i W h_j.

    `outputs` are s_i, (batch, written, output), `score` is W, (output, annotation).
    """
    energies = (outputs @ score) @ annotations.transpose(1, 2)
    return energies.masked_fill(padded.unsqueeze(1), -math.inf).softmax(-1)


def read(weights: Tensor, annotations: Tensor) -> Tensor:
    """Return the context of one step, (batch, annotation)."""
    return (weights.unsqueeze(1) @ annotations).squeeze(1)


class AttentionModel(Network):
    """Tokens (time, batch) of whole examples to scores (time, batch, outputs).

    Scores are those of the bias alone where nothing is written. `nas.tasks.base.Attention` says
    what a window has, and what the two forms of attention are. With the form "additive", the output
    layer reads the output of the cell and its context.
    """

    TITLE: ClassVar[str] = "a model with attention"
    backward_rnn: RNN
    decoder: RNN

    @property
    def form(self) -> AttentionForm:
        """The form of attention of the interface."""
        attention = self.interface.attention
        assert attention is not None, "a model without attention is a SequenceModel"
        return attention.form

    @property
    def writer(self) -> RNN:
        """The layers that write."""
        return self.decoder

    def _map(self, name: str) -> Tensor:
        return self.get_parameter(f"{name}.weight")

    def forward(self, inputs: Tensor, state: States | None = None) -> tuple[Tensor, States]:
        """Return the scores, and the states after the last written step.

        Raises:
            UserError: if a state is given, since examples are whole, or if there are no sources.
        """
        refuse_state(state)
        y, _, state = self._written(inputs)
        return self.head(y), state

    def weights(self, inputs: Tensor) -> Tensor:
        """Return how much each step attends to each step of its source: (written, batch, steps).

        Sources end at the last of their steps; their padding has the weight 0.
        """
        return self._written(inputs)[1]

    def _written(self, inputs: Tensor) -> tuple[Tensor, Tensor, States]:
        """Return the output layer's inputs, zeros where nothing is written; weights; states."""
        attention = self.interface.attention
        assert attention is not None, "regions are read by a RegionModel"
        places = sources(inputs, attention)
        flat = self.embedding(inputs.flatten())
        forward, _ = self._read(self.rnn, flat, places, places.forward)
        backward, start = self._read(self.backward_rnn, flat, places, places.backward)
        annotations = torch.cat([forward, backward], -1).view(inputs.shape[1], places.n_steps, -1)
        embedded = flat.view(*inputs.shape, -1)[places.written]
        first = backward[places.begins]
        y, weights, state = self._write(embedded, annotations, places.padded, first, start)
        after = len(inputs) - places.written.stop
        return F.pad(self.dropout(y), (0, 0, 0, 0, places.written.start, after)), weights, state

    def _read(self, rnn: RNN, flat: Tensor, places: Sources, way: Way) -> tuple[Tensor, States]:
        """Return the outputs for all slots, zeros for padding, and the final states."""
        packed, states = rnn(places.packed(flat[way.places]))
        outputs = flat.new_zeros(places.padded.numel(), rnn.output_size)
        return outputs.index_copy(0, way.slots, packed.data), states

    def _write(
        self, embedded: Tensor, annotations: Tensor, padded: Tensor, y: Tensor, state: States | None
    ) -> tuple[Tensor, Tensor, States]:
        """Write from the output and the states before the first step on: the output layer's inputs,
        weights and states."""
        write = self._additive if self.form == "additive" else self._general
        return write(embedded, annotations, padded, y, state)

    def _additive(
        self, embedded: Tensor, annotations: Tensor, padded: Tensor, y: Tensor, state: States | None
    ) -> tuple[Tensor, Tensor, States]:
        keys = F.linear(annotations, self._map("key"))
        outputs, weights = [], []
        for i, x in enumerate(embedded):
            query = F.linear(y, self._map("query"))
            weights.append(additive(query, keys, self._map("score"), padded))
            context = read(weights[-1], annotations)
            y, state = self.writer.step(x + F.linear(context, self._map("context")), state, i)
            outputs.append(torch.cat([y, context], -1))
        assert state is not None, "a text has at least one step"
        return torch.stack(outputs), torch.stack(weights), state

    def _general(
        self, embedded: Tensor, annotations: Tensor, padded: Tensor, _: Tensor, state: States | None
    ) -> tuple[Tensor, Tensor, States]:
        y, state = self.writer(embedded, state)
        outputs = y.transpose(0, 1)
        weights = general(outputs, annotations, self._map("score"), padded)
        both = torch.cat([outputs, weights @ annotations], -1)
        combined = torch.tanh(F.linear(both, self._map("combined")))
        return combined.transpose(0, 1).contiguous(), weights.transpose(0, 1), state


def refuse_state(state: object) -> None:
    """Raise UserError if a state is given, which a model with attention cannot take."""
    if state is not None:
        raise UserError(
            "a model with attention reads whole examples, which begin with their source: every "
            "window of its task must be fresh, got one that carries a state over."
        )
