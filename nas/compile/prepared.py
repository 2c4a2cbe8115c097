"""One step of a layer with everything prepared: pointers are set and buffers there before it comes.

Around the C of one step of one sequence, `nas.RNN.step` spends ten times what the C takes: it finds
the loop, asks for memory, and fills a table with the addresses of all weights. Here that is done
once, and a step sets two addresses and calls C.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.cell.graph import node
from nas.compile.layer import Layer
from nas.compile.loop import Ready
from nas.compile.loop import ready as loop_of
from nas.compile.native import CompilerError
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows

Buffers = tuple[list[Tensor], list[Tensor]]
"""States, (batch, width) each, twice: a step reads the one and writes the other."""


class PreparedStep:
    """A layer's step for a batch of one size; it computes what the compiled loop does.

    It reads the weights where they are when it is made. Changes in place count, as by an optimizer
    or `load_state_dict`; weights that are replaced or moved do not.
    """

    def __init__(
        self, ready: Ready, weights: Sequence[Tensor | None], states: Buffers, *, x_is_state: bool
    ) -> None:
        """`weights` are the loop's parameters in its order; with `x_is_state` the loop is that of
        `stepping`."""
        loop, like = ready.loop, states[0][0]
        rows = Rows.equal(1, like.shape[0])
        self._layout = loop.layout(
            rows, like, (), rows.total, reverse=False, keep=False, by_step=True
        )
        _, batch, padded = self._layout.results[loop.n_states]
        self._in_memory = (batch, padded)
        self.width = loop.padded.get(loop.n_states, padded)
        """The features of y."""
        self._is_padded = self.width < padded
        self.dtype = like.dtype
        # Detached, so that their memory stays whatever becomes of the parameters.
        own = [None if weight is None else weight.detach() for weight in weights]
        first = [None] if loop.plan.matrix_inputs else []
        x_state = [None] if x_is_state else []
        unread = [like.new_empty(self._layout.results[0])] if x_is_state else []
        self._held = (own, states, unread, like.new_empty(self._layout.size))
        self._run = loop.forward
        slots, self._tables = loop.forward_slots, []
        for k in range(2):
            table = self._layout.table(self._held[-1])
            given = (*first, *own, *x_state, *states[k], *unread, *states[1 - k])
            addresses = [0 if tensor is None else tensor.data_ptr() for tensor in given]
            table.pointers[0, slots[: len(addresses)]] = addresses
            self._tables.append(table)
        self._y = int(slots[len(addresses)])
        self._x = int(slots[len(own) if x_is_state else 0]) if first or x_is_state else -1
        self._rows = [table.pointers[0] for table in self._tables]
        self._calls = [(table.address, self._layout.address) for table in self._tables]

    def __call__(self, x: Tensor, k: int) -> Tensor:
        """y of x, contiguous and of the layer's type, from the states `states[k]`; the new ones are
        in the other buffers."""
        y = torch.empty(self._in_memory, dtype=self.dtype)
        row = self._rows[k]
        row[self._x] = x.data_ptr()
        row[self._y] = y.data_ptr()
        self._run(*self._calls[k])
        return y[:, : self.width].contiguous() if self._is_padded else y


def buffers(states: Sequence[Tensor]) -> Buffers:
    """Two sets of buffers, of which the first holds the states."""
    return [state.clone() for state in states], [state.clone() for state in states]


def prepared(layer: Layer, x: Tensor, states: Buffers) -> PreparedStep | None:
    """The step of a layer that reads x, (1, batch, width); None where there is more to it than C.

    Where the loop reads x itself or values that torch makes of it, that of `stepping` is compiled.
    """
    rows = Rows.equal(1, x.shape[1])
    if ready := layer.ready_for(x, rows):
        own = [None if shape is None else layer.get_parameter(n) for n, shape in ready.parameters]
        return PreparedStep(ready, own, states, x_is_state=False)
    if layer.runs_eager_on(x, rows):
        return None
    _, input_size, hidden_size, bias = layer.definition
    template = EagerCell(stepping(layer.cell), input_size, hidden_size, bias, device="meta")
    try:
        ready = loop_of(template, x.dtype)
    except CompilerError:
        return None
    if ready is None:
        return None
    names = dict(zip(template.shapes, layer.shapes, strict=True))
    own = [
        None if shape is None else layer.get_parameter(names[name])
        for name, shape in ready.parameters
    ]
    return PreparedStep(ready, own, states, x_is_state=True)


def stepping(cell: Cell) -> Cell:
    """The cell with x as a first state that stays what it is, so that all that depends on x is
    computed in the loop. Parameters keep their order and shapes."""
    now = node("state", name="x now", width="input", initial=0.0)
    shifted = [replace(n, args=tuple(arg + 1 for arg in n.args)) for n in cell.nodes]
    nodes = (cell.nodes[0], now, *shifted[1:])
    new_states = (1, *(i + 1 for i in cell.new_states))
    return Cell(cell.name, nodes, cell.y + 1, new_states, (), cell.doc)
