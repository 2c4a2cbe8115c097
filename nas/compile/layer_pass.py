"""A pass through a stacked layer and back without autograd around the loop.

Of a small layer autograd takes as long as the C: it wraps what goes in and out, keeps a graph, and
finds new memory for each gradient. Here the one who asks says where gradients go. Only what is
computed outside of the loop still has a graph.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nas.compile.backend import Backend, described
from nas.compile.call import Call
from nas.compile.layer import StackedLayer
from nas.compile.loop import compiled, read, whole
from nas.compile.native import CompilerError
from nas.compile.rows import Rows, Tokens

Place = Callable[[Tensor], Tensor | None]
"""Where the gradient of a parameter goes, which is then overwritten; None for other tensors."""


class LayerPass:
    """A pass of a layer, of which `passes` is true, over x, (members, rows of all steps, width), or
    tokens, from states, (members, batch, width)."""

    def __init__(
        self, layer: StackedLayer, x: Tensor | Tokens, rows: Rows, states: Sequence[Tensor]
    ) -> None:
        self._reading = read(layer, x, rows, states, [], False)
        loop, _, inputs, _, tensors = self._reading
        layout = self._reading.layout(rows, reverse=False, keep=True)
        with torch.no_grad():
            self._call = Call(loop, layout, inputs.tokens, whole(tensors, self._reading.lead))
            self._memory, results = self._call.forward()
        self.y = results[loop.n_states]
        """(members, rows of all steps, width)"""
        self.states: list[Tensor] = results[: loop.n_states]
        """Those after the last step, (members, batch, width)."""

    def back(self, of_y: Tensor, place: Place) -> None:
        """Find the gradients of all that the layer reads, from that of y.

        Those of parameters and other leaves go where `place` says, or are added to their `grad`.
        """
        loop, tensors = self._call.loop, self._reading.tensors
        wanted = [tensor is not None and tensor.requires_grad for tensor in tensors]
        places = [
            place(tensor) if tensor is not None and tensor.is_leaf and want else None
            for tensor, want in zip(tensors, wanted, strict=True)
        ]
        gradients = [*[None] * loop.n_states, of_y]
        with torch.no_grad():
            found = self._call.backward(self._memory, gradients, wanted, places)
        computed, of_computed = [], []
        for tensor, gradient, to in zip(tensors, found, places, strict=True):
            if tensor is None or gradient is None or not tensor.requires_grad:
                continue
            if to is None:
                computed.append(tensor)
                of_computed.append(gradient)
            elif to is not gradient:
                to.copy_(gradient)
        if computed:
            torch.autograd.backward(computed, of_computed)


def passes(layer: StackedLayer, backend: Backend) -> bool:
    """Whether a layer runs in C and is all that a `LayerPass` knows: it hands nothing but y and its
    states on, and its loop computes y."""
    weight = next(layer.parameters(), None)
    if weight is None or layer.cell.verticals or described(backend, weight) != "C":
        return False
    try:
        plan = compiled(layer.cell, layer.sizes[0], layer.hidden_size, weight.dtype).plan
    except CompilerError:
        return False
    return plan.outputs[0] in plan.depth
