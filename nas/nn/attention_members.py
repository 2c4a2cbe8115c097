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
from nas.compile.stacked import stacked, traced_aligned
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
from nas.nn.members import Members, MemberStates, RNNMembers
from nas.nn.model import Network

Parts = list[Tensor] | Tensor
"""A tensor of each member: a list on the CPU, stacked elsewhere."""


class AttentionMembers(Members):
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
        assert attention is not None, "members without attention are SequenceMembers"
        places = sources(inputs, attention)
        flat, batch = inputs.flatten(), inputs.shape[1]
        forward, _ = self._read(self.rnn, flat, places, places.forward)
        backward, start = self._read(self.backward_rnn, flat, places, places.backward)
        annotations = torch.cat([forward, backward], -1).unflatten(1, (batch, places.n_steps))
        written = Tokens(self.embedding, inputs[places.written].flatten())
        if attention.form == "additive":
            first = backward.index_select(1, places.begins)
            y, state = self._additive(written, annotations, places.padded, first, start)
        else:
            y, state = self._general(written, annotations, places.padded, start)
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

    def _additive(
        self,
        written: Tokens,
        annotations: Tensor,
        padded: Tensor,
        y: Tensor,
        state: MemberStates,
    ) -> tuple[Tensor, MemberStates]:
        """Return outputs with their contexts, step by step: a context is an input of the cell."""
        batch, width = len(padded), annotations.shape[-1]

        def look(
            y: Tensor, query: Tensor, keys: Tensor, score: Tensor, annotations: Tensor, to_x: Tensor
        ) -> Tensor:
            weights = additive(F.linear(y, query), keys, score, padded)
            context = read(weights, annotations)
            return torch.cat([context, F.linear(context, to_x)], -1)

        query, key, score, to_x = map(self._parts, self._matrices())
        annotated = self._parts(annotations)
        parts = (query, _each(F.linear, annotated, key), score, annotated, to_x)
        outputs = []
        for i, x in enumerate(written.rows().unflatten(1, (-1, batch)).unbind(1)):
            looked = _whole(_each(look, self._parts(y), *parts))
            context, added = looked.split([width, self.hidden_size], -1)
            y, state = self.decoder.run(x + added, Rows((batch,), i), state, self.dropped)
            outputs.append(torch.cat([y, context], -1))
        return torch.cat(outputs, 1), state

    def _general(
        self, written: Tokens, annotations: Tensor, padded: Tensor, state: MemberStates
    ) -> tuple[Tensor, MemberStates]:
        """Return outputs combined with their contexts, for all steps at once."""
        batch = len(padded)

        def combine(y: Tensor, annotations: Tensor, score: Tensor, combined: Tensor) -> Tensor:
            outputs = y.unflatten(0, (-1, batch)).transpose(0, 1)
            context = general(outputs, annotations, score, padded) @ annotations
            both = torch.cat([outputs, context], -1)
            return torch.tanh(F.linear(both, combined)).transpose(0, 1).flatten(0, 1)

        rows = Rows.equal(len(written.index) // batch, batch)
        y, state = self.decoder.run(written, rows, state, self.dropped)
        parts = map(self._parts, (y, annotations, *self._matrices()))
        return _whole(_each(combine, *parts)), state

    def _matrices(self) -> list[Tensor]:
        return [self.get_parameter(name) for name in self.maps]

    def _parts(self, tensor: Tensor) -> Parts:
        """Return a stacked tensor as `_each` takes it."""
        if tensor.device.type != "cpu":
            return tensor
        return [traced_aligned(part) for part in tensor.unbind()]


def _each(function: Callable[..., Tensor], *parts: Parts) -> Parts:
    """Apply a function of one member's tensors to each member."""
    if isinstance(parts[0], list):
        return [function(*member) for member in zip(*parts, strict=True)]
    result: Tensor = torch.vmap(function)(*parts)
    return result


def _whole(parts: Parts) -> Tensor:
    return stacked(parts) if isinstance(parts, list) else parts
