"""K members of `AttentionModel` as one module.

The cells run compiled, all members in one call: over whole sources, and step by step where a
context is an input. Attention is made of torch's operations: member after member on the CPU, so
that none depends on the others, and one operation for all members elsewhere.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.compile.rows import Rows, Tokens
from nas.compile.stacked import stacked, taken_apart
from nas.nn.attention import (
    AttentionModel,
    Sources,
    Way,
    additive,
    general,
    read,
    refuse_state,
    sources,
)
from nas.nn.members import MemberStates, RNNMembers, ScoringMembers
from nas.nn.model import Network
from nas.tasks.base import AttentionForm

Written = tuple[Tensor, MemberStates, Tensor]
"""The output layer's inputs, (K, written * B, width); the states at the end; and weights, (K,
written * B, places), without places unless `keeps_weights`."""
Parts = list[Tensor] | Tensor
"""A tensor of each member: a list on the CPU, stacked elsewhere."""


class AttentionMembers(ScoringMembers):
    """Members that are `AttentionModel`s."""

    NETWORK: ClassVar[type[Network]] = AttentionModel
    backward_rnn: RNNMembers
    decoder: RNNMembers

    def outputs(self, inputs: Tensor, state: MemberStates | None) -> tuple[Tensor, MemberStates]:
        """Return the output layer's inputs, (K, T * B, width), zeros where nothing is written.

        Raises:
            UserError: if a state is given, or if there are no sources.
        """
        refuse_state(state)
        attention = self.interface.attention
        assert attention is not None, "regions are read by RegionMembers"
        places = sources(inputs, attention)
        flat, batch = inputs.flatten(), inputs.shape[1]
        forward, _ = self._read(self.rnn, flat, places, places.forward)
        backward, start = self._read(self.backward_rnn, flat, places, places.backward)
        annotations = torch.cat([forward, backward], -1).unflatten(1, (batch, places.n_steps))
        written = Tokens(self.embedding, inputs[places.written].flatten())
        first = backward.index_select(1, places.begins)
        y, state, _ = self._write(written, annotations, places.padded, first, start)
        before, after = places.written.start, len(inputs) - places.written.stop
        return F.pad(self.dropped(y), (0, 0, before * batch, after * batch)), state

    def _read(
        self, rnn: RNNMembers, flat: Tensor, places: Sources, way: Way
    ) -> tuple[Tensor, MemberStates]:
        """Return the outputs for all slots, zeros for padding, and the final states by stream."""
        y, finals = rnn.run(
            Tokens(self.embedding, flat[way.places]), places.rows, None, self.dropped
        )
        outputs = y.new_zeros(self.members, places.padded.numel(), y.shape[-1])
        unsorted = places.unsorted
        states = [[state.index_select(1, unsorted) for state in layer] for layer in finals]
        return outputs.index_copy(1, way.slots, y), states

    @property
    def form(self) -> AttentionForm:
        """The form of attention."""
        assert self.interface.attention is not None, "members without it are SequenceMembers"
        return self.interface.attention.form

    @property
    def writer(self) -> RNNMembers:
        """The layers that write."""
        return self.decoder

    @property
    def keeps_weights(self) -> bool:
        """Whether `_write` returns how much each step attends to each place."""
        return False

    def _write(
        self,
        written: Tokens | Tensor,
        annotations: Tensor,
        padded: Tensor,
        y: Tensor,
        state: MemberStates | None,
    ) -> Written:
        """Write rows of all steps, embedded or to be embedded, from the output and the states
        before the first step on."""
        if self.form == "general":
            return self._general(written, annotations, padded, state)
        rows = written.rows() if isinstance(written, Tokens) else written
        return self._additive(rows, annotations, padded, y, state)

    def _additive(
        self,
        written: Tensor,
        annotations: Tensor,
        padded: Tensor,
        y: Tensor,
        state: MemberStates | None,
    ) -> Written:
        """Return outputs with their contexts, step by step: a context is an input of the cell."""
        batch, keeps = len(padded), self.keeps_weights
        sizes = [annotations.shape[-1], self.hidden_size, padded.shape[1] if keeps else 0]

        def look(
            y: Tensor, query: Tensor, keys: Tensor, score: Tensor, annotations: Tensor, to_x: Tensor
        ) -> Tensor:
            weights = additive(F.linear(y, query), keys, score, padded)
            context = read(weights, annotations)
            looked = [context, F.linear(context, to_x), weights]
            return torch.cat(looked if keeps else looked[:2], -1)

        query, key, score, to_x = map(self.parts, self._matrices())
        annotated = self.parts(annotations)
        parts = (query, each(F.linear, annotated, key), score, annotated, to_x)
        outputs, every = [], []
        for i, x in enumerate(written.unflatten(1, (-1, batch)).unbind(1)):
            looked = whole(each(look, self.parts(y), *parts))
            context, added, weights = looked.split(sizes, -1)
            y, state = self.writer.run(x + added, Rows((batch,), i), state, self.dropped)
            outputs.append(torch.cat([y, context], -1))
            every.append(weights)
        assert state is not None, "a text has at least one step"
        return torch.cat(outputs, 1), state, torch.cat(every, 1)

    def _general(
        self,
        written: Tokens | Tensor,
        annotations: Tensor,
        padded: Tensor,
        state: MemberStates | None,
    ) -> Written:
        """Return outputs combined with their contexts, for all steps at once."""
        batch, keeps = len(padded), self.keeps_weights

        def combine(y: Tensor, annotations: Tensor, score: Tensor, combined: Tensor) -> Tensor:
            outputs = y.unflatten(0, (-1, batch)).transpose(0, 1)
            weights = general(outputs, annotations, score, padded)
            both = torch.cat([outputs, weights @ annotations], -1)
            y = torch.tanh(F.linear(both, combined))
            y = torch.cat([y, weights], -1) if keeps else y
            return y.transpose(0, 1).flatten(0, 1)

        n_rows = len(written.index) if isinstance(written, Tokens) else written.shape[1]
        rows = Rows.equal(n_rows // batch, batch)
        y, state = self.writer.run(written, rows, state, self.dropped)
        parts = map(self.parts, (y, annotations, *self._matrices()))
        both = whole(each(combine, *parts))
        return both[..., : self.hidden_size], state, both[..., self.hidden_size :]

    def _matrices(self) -> list[Tensor]:
        """Return the stacked matrices that each written step uses, as the layout orders them."""
        return [self.get_parameter(name) for name in self.layout.maps if name != "start"]

    def parts(self, tensor: Tensor) -> Parts:
        """Return a stacked tensor as `each` takes it."""
        if tensor.device.type != "cpu":
            return tensor
        return taken_apart(tensor)


def each(function: Callable[..., Tensor], *parts: Parts) -> Parts:
    """Apply a function of one member's tensors to each member."""
    if isinstance(parts[0], list):
        return [function(*member) for member in zip(*parts, strict=True)]
    result: Tensor = torch.vmap(function)(*parts)
    return result


def whole(parts: Parts) -> Tensor:
    return stacked(parts) if isinstance(parts, list) else parts
