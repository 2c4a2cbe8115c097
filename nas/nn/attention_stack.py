"""K members of `AttentionModel` as one module.

The cells run compiled, all members in one call: over whole sources, and step by step where a
context is an input. Attention is torch's operations, member after member on the CPU, so that none
depends on the others, and one operation for all elsewhere.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.cell.cell import Cell
from nas.compile.backend import Backend
from nas.compile.rows import Rows, Tokens
from nas.compile.stacked import stacked, traced_aligned
from nas.nn.attention import AttentionModel, additive, general, read, refuse_state
from nas.nn.sources import Sources, Way, sources
from nas.nn.stack import Stacked, StackedRNN, StackedStates
from nas.nn.stacking import Stacking
from nas.tasks.base import Interface

Parts = list[Tensor] | Tensor
"""A tensor of each member: a list on the CPU, stacked elsewhere."""


class StackedAttentionModel(Stacked):
    """Members that are `AttentionModel`s."""

    RNNS: ClassVar[tuple[str, ...]] = ("rnn", "backward_rnn", "decoder")
    backward_rnn: StackedRNN
    decoder: StackedRNN

    def __init__(
        self,
        cell: Cell,
        interface: Interface,
        hidden_size: int,
        num_layers: int,
        dropouts: Sequence[float],
        backend: Backend = "auto",
        stacking: Stacking = "plain",
    ) -> None:
        with torch.device("meta"):
            one = AttentionModel(cell, interface, hidden_size, num_layers, 0.0, stacking)
        super().__init__(one, dropouts, backend, tuple(one.maps))
        self.attention = one.attention

    def outputs(self, inputs: Tensor, state: StackedStates | None) -> tuple[Tensor, StackedStates]:
        """What the output layer reads, (K, T * B, width), zeros where nothing is written.

        Raises:
            UserError: if a state is given, or if there are no sources.
        """
        refuse_state(state)
        found = sources(inputs, self.attention)
        flat, batch = inputs.flatten(), inputs.shape[1]
        forward, _ = self._read(self.rnn, flat, found, found.forward)
        backward, start = self._read(self.backward_rnn, flat, found, found.backward)
        annotations = torch.cat([forward, backward], -1).unflatten(1, (batch, found.n_steps))
        written = Tokens(self.embedding, inputs[found.written].flatten())
        if self.attention.form == "additive":
            first = backward.index_select(1, found.begins)
            y, state = self._additive(written, annotations, found.padded, first, start)
        else:
            y, state = self._general(written, annotations, found.padded, start)
        before, after = found.written.start, len(inputs) - found.written.stop
        return F.pad(self.dropped(y), (0, 0, before * batch, after * batch)), state

    def _read(
        self, rnn: StackedRNN, flat: Tensor, found: Sources, way: Way
    ) -> tuple[Tensor, StackedStates]:
        """Outputs for all slots, zeros for padding, and the final states by stream."""
        y, finals = rnn.run(
            Tokens(self.embedding, flat[way.places]), found.rows, None, self.dropped
        )
        outputs = y.new_zeros(self.members, found.padded.numel(), y.shape[-1])
        unsorted = found.unsorted
        states = [[state.index_select(1, unsorted) for state in layer] for layer in finals]
        return outputs.index_copy(1, way.slots, y), states

    def _additive(
        self,
        written: Tokens,
        annotations: Tensor,
        padded: Tensor,
        y: Tensor,
        state: StackedStates,
    ) -> tuple[Tensor, StackedStates]:
        """Outputs with their contexts, step by step: a context is an input of the cell."""
        batch, width = len(padded), annotations.shape[-1]

        def look(
            y: Tensor, query: Tensor, keys: Tensor, score: Tensor, annotations: Tensor, to_x: Tensor
        ) -> Tensor:
            weights = additive(F.linear(y, query), keys, score, padded)
            context = read(weights, annotations)
            return torch.cat([context, F.linear(context, to_x)], -1)

        query, key, score, to_x = (self._parts(self.get_parameter(name)) for name in self.maps)
        annotated = self._parts(annotations)
        parts = (query, _each(F.linear, annotated, key), score, annotated, to_x)
        outputs = []
        for i, x in enumerate(written.rows().unflatten(1, (-1, batch)).unbind(1)):
            found = _whole(_each(look, self._parts(y), *parts))
            context, added = found.split([width, self.hidden_size], -1)
            y, state = self.decoder.run(x + added, Rows((batch,), i), state, self.dropped)
            outputs.append(torch.cat([y, context], -1))
        return torch.cat(outputs, 1), state

    def _general(
        self, written: Tokens, annotations: Tensor, padded: Tensor, state: StackedStates
    ) -> tuple[Tensor, StackedStates]:
        """Outputs combined with their contexts, of all steps at once."""
        batch = len(padded)

        def combine(y: Tensor, annotations: Tensor, score: Tensor, combined: Tensor) -> Tensor:
            outputs = y.unflatten(0, (-1, batch)).transpose(0, 1)
            context = general(outputs, annotations, score, padded) @ annotations
            both = torch.cat([outputs, context], -1)
            return torch.tanh(F.linear(both, combined)).transpose(0, 1).flatten(0, 1)

        rows = Rows.equal(len(written.index) // batch, batch)
        y, state = self.decoder.run(written, rows, state, self.dropped)
        maps = [self._parts(self.get_parameter(name)) for name in self.maps]
        return _whole(_each(combine, self._parts(y), self._parts(annotations), *maps)), state

    def _parts(self, tensor: Tensor) -> Parts:
        """What `_each` takes of a stacked tensor."""
        if tensor.device.type != "cpu":
            return tensor
        return [traced_aligned(part) for part in tensor.unbind()]


def _each(function: Callable[..., Tensor], *parts: Parts) -> Parts:
    """What a function of one member's tensors gives for each of them."""
    if isinstance(parts[0], list):
        return [function(*one) for one in zip(*parts, strict=True)]
    result: Tensor = torch.vmap(function)(*parts)
    return result


def _whole(parts: Parts) -> Tensor:
    return stacked(parts) if isinstance(parts, list) else parts
