"""The layers of a network, or of K members of one, and how a sequence runs through them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.compile.backend import Backend
from nas.compile.rows import Rows, Tokens, TracedRows
from nas.nn.settings import Stacking

States = Tensor | tuple[Tensor, ...]


class Layers(nn.Module):
    """The layers of one network, or of K members of it, and how a sequence runs through them."""

    layers: nn.ModuleList
    """The directions of the first layer, then those of the second, and so on."""

    def __init__(
        self,
        cell: Cell,
        hidden_size: int,
        backend: Backend,
        stacking: Stacking,
        *,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size
        self.backend: Backend = backend
        self.stacking: Stacking = stacking
        self.bidirectional = bidirectional

    def run_layers(
        self,
        x: Tensor | Tokens,
        rows: Rows | TracedRows,
        starts: Sequence[Sequence[Tensor]],
        dropped: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, list[list[Tensor]]]:
        """Run all steps of all layers, joined as `stacking` says; `dropped` is applied in between.

        x and y are (steps, batch, width), packed (rows of all steps, width), of members (K, rows,
        width). `starts` are the states of each layer and direction before the first step; those
        after the last step are returned.
        """
        first, directions = starts[0][0], 2 if self.bidirectional else 1
        shape = (*(x.leading(rows) if isinstance(x, Tokens) else x.shape[:-1]), self.hidden_size)
        below = [[first.new_zeros(shape) for _ in self.cell.verticals]] * directions
        layers, finals = list(self.layers), []
        for place in range(0, len(layers), directions):
            if place:
                assert isinstance(x, Tensor), "tokens are read by the first layer alone"
                x = dropped(x)
            under = x
            if place and isinstance(x, Tensor) and "norm" in self.stacking:
                x = nn.functional.layer_norm(x, x.shape[-1:])
            outputs = []
            for direction in range(directions):
                layer, states = layers[place + direction], starts[place + direction]
                y, final, below[direction] = layer(
                    x, rows, states, below[direction], direction == 1, self.backend
                )
                outputs.append(y)
                finals.append(final)
            y = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
            is_added = place and "residual" in self.stacking
            x = y + under if is_added and isinstance(under, Tensor) else y
        assert isinstance(x, Tensor), "there is a layer"
        return x, finals
