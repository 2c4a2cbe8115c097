"""One step after another at the speed of the C: what `nas.RNN.stream` gives."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nas.compile.backend import IN_C
from nas.compile.layer import Layer
from nas.compile.prepared import PreparedStep, buffers, prepared
from nas.compile.rows import Rows
from nas.errors import CellError
from nas.nn.layers import Layers, States

Starts = Callable[[States | None, Tensor], list[list[Tensor]]]
"""The states (1, batch, width) of each layer before the first step: given ones, checked, or the
cell's first ones."""


class Stream:
    """The steps of sequences that come one x at a time, without gradients and dropout.

        stream = rnn.stream()            # one sequence, from the cell's first states
        for x in sensor:                 # x is (1, input_size), or (input_size,)
            y = stream.step(x)
        stream.state                     # as rnn(…) returns it
        stream.reset()

    Weights are read where they are when the stream is made: training them further counts, but not
    moving or replacing them (`rnn.to`, another parameter), for which make another stream. What
    comes out is, to the bit, what `rnn.step` computes under torch.no_grad; for a cell that
    reads x elsewhere than in products, such as MUT1, the step is compiled anew, and the same to
    within rounding. Cells with learned vectors or clocks and stacks that are joined
    need torch at every step, and take what `rnn.step` takes: `stream.is_prepared` says so.
    """

    def __init__(self, layers: Layers, like: Tensor, starts: Starts, hx: States | None) -> None:
        """`like` is an x, (batch_size, input_size), of the weights' type and device."""
        self._layers, self._like, self._starts = layers, like, starts
        self._shape, self._dtype = like.shape, like.dtype
        self._states = [
            buffers([state.flatten(0, -2).detach() for state in states])
            for states in starts(hx, like)
        ]
        self._k = 0
        self.index = 0
        """Steps so far, which the clocks of a cell count."""
        self._steps = self._prepared()

    @property
    def is_prepared(self) -> bool:
        """Whether a step is little more than a call of C."""
        return bool(self._steps)

    def _prepared(self) -> list[PreparedStep]:
        """The steps of all layers; none where one of them needs more than C."""
        layers, steps = self._layers, []
        if layers.stacking != "plain" or layers.cell.verticals or layers.backend not in IN_C:
            return []
        x = self._like.unsqueeze(0)
        for layer, states in zip(layers.layers, self._states, strict=True):
            assert isinstance(layer, Layer)
            step = prepared(layer, x, states)
            if step is None:
                return []
            steps.append(step)
            x = x.new_empty(1, x.shape[1], steps[-1].width)
        return steps

    def step(self, x: Tensor) -> Tensor:
        """Return y, (batch_size, output width), of the next x, (batch_size, input_size); of one
        sequence x may be (input_size,), and then y is (output width,).

        Raises:
            CellError: if x has another shape, type or device.
        """
        if x.shape != self._shape or x.dtype is not self._dtype or not x.is_contiguous():
            return self._unusual(x)
        if not self._steps or not x.is_cpu:
            return self._in_torch(x)
        k = self._k
        for run in self._steps:
            x = run(x, k)
        self._k = 1 - k
        self.index += 1
        return x

    def _unusual(self, x: Tensor) -> Tensor:
        if x.dim() == 1 and x.shape == self._shape[1:] and len(self._like) == 1:
            return self.step(x.unsqueeze(0)).squeeze(0)
        if x.shape != self._shape or x.dtype is not self._dtype:
            raise CellError(
                f"this stream of {self._layers.cell.name} takes x of shape {tuple(self._shape)} "
                f"and {self._dtype}, got {tuple(x.shape)} and {x.dtype}."
            )
        return self.step(x.contiguous())

    @torch.no_grad()
    def _in_torch(self, x: Tensor) -> Tensor:
        """A step by way of `RNN`, where there is more to it than C."""
        if x.device != self._like.device:
            raise CellError(f"this stream is on {self._like.device}, got x on {x.device}.")
        before = [[state.unsqueeze(0) for state in states[self._k]] for states in self._states]
        rows = Rows(self._shape[:1], self.index)
        y, after = self._layers.run_layers(x.unsqueeze(0), rows, before, lambda y: y)
        self._k = 1 - self._k
        self._store(after)
        self.index += 1
        return y.squeeze(0)

    def _store(self, states: Sequence[Sequence[Tensor]]) -> None:
        for buffer, of_layer in zip(self._states, states, strict=True):
            for place, state in zip(buffer[self._k], of_layer, strict=True):
                place.copy_(state.reshape(place.shape))

    @property
    def state(self) -> States:
        """The states now, as `nas.RNN` returns them: (layers, batch, width) each."""
        each = zip(*(states[self._k] for states in self._states), strict=True)
        stacked = tuple(torch.stack(layers) for layers in each)
        return stacked[0] if len(stacked) == 1 else stacked

    def reset(self, hx: States | None = None) -> None:
        """Begin a new sequence, from given states or the cell's first ones.

        Raises:
            CellError: if a state has the wrong shape.
        """
        with torch.no_grad():
            self._store(self._starts(hx, self._like))
        self.index = 0
