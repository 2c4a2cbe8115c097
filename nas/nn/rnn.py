"""`nas.RNN`: any cell as a stack of layers with the signature and behaviour of torch.nn.LSTM."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from nas.cell.cell import Cell
from nas.cell.count import size
from nas.compile.backend import Backend, check_backend, choose
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens
from nas.compile.stacked import StackedCell
from nas.errors import CellError
from nas.nn.convert import cell_name, copy_weights
from nas.nn.settings import Stacking, check_stacking

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
        rows: Rows,
        starts: Sequence[Sequence[Tensor]],
        dropped: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, list[list[Tensor]]]:
        """Run all steps of all layers, joined as `stacking` says; `dropped` is applied in between.

        x and y are (rows of all steps, width), of members (K, rows, width). `starts` are the states
        of each layer and direction before the first step; those after the last step are returned.
        """
        first, directions = starts[0][0], 2 if self.bidirectional else 1
        shape = (*first.shape[:-2], rows.total, self.hidden_size)
        below = [[first.new_zeros(shape) for _ in self.cell.verticals]] * directions
        finals: list[list[Tensor]] = []
        for place in range(0, len(self.layers), directions):
            if place:
                assert isinstance(x, Tensor), "tokens are read by the first layer alone"
                x = dropped(x)
            under = x
            if place and isinstance(x, Tensor) and "norm" in self.stacking:
                x = nn.functional.layer_norm(x, x.shape[-1:])
            outputs = []
            for direction in range(directions):
                layer, states = self.layers[place + direction], starts[place + direction]
                assert isinstance(layer, EagerCell | StackedCell)
                run = choose(self.backend, layer, x, states)
                y, final, below[direction] = run(
                    layer, x, rows, states, below[direction], direction == 1
                )
                outputs.append(y)
                finals.append(final)
            y = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
            is_added = place and "residual" in self.stacking
            x = y + under if is_added and isinstance(under, Tensor) else y
        assert isinstance(x, Tensor), "there is a layer"
        return x, finals


class RNN(Layers):
    """Layers of a recurrent cell; drop-in for torch.nn.LSTM, nn.GRU and nn.RNN.

    With L layers, D directions, time T, batch B, and widths I (input), H (hidden), Y (output; H
    for most cells): the input is (T, B, I), (B, T, I) with batch_first, (T, I) unbatched, or a
    PackedSequence; the output (T, B, D * Y) likewise. A cell with one state takes and gives one
    tensor (L * D, B, H), as nn.GRU; with several, a tuple in the order of `cell.states`, as nn.LSTM
    its (h, c). States that are not given start at the values that the cell gives (zeros for most).

    Args:
        cell: a cell, or anything that `nas.cell` takes: a zoo name, equations, a file.
        input_size: features of x.
        hidden_size: features of a state.
        num_layers: layers; each reads the output of the one below.
        bias: whether linear maps have their biases.
        batch_first: whether batched input and output are (B, T, …).
        dropout: probability in [0, 1] of dropping an output of any layer but the last, in training.
        bidirectional: whether each layer also runs from the end to the start.
        backend: "c" runs the time loop as compiled C on the CPU, "eager" one torch operation after
            another (any device, gradients of gradients); "auto" is c where it can be had.
        stacking: how layers are joined, see `nas.nn.settings.Stacking`.

    Raises:
        CellError: if the cell cannot have these sizes, or an argument is out of range.
    """

    def __init__(
        self,
        cell: Cell | str | Path | Mapping[str, object],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        backend: Backend = "auto",
        stacking: Stacking = "plain",
    ) -> None:
        if not isinstance(cell, Cell):
            from nas.zoo.lookup import cell as look_up

            cell = look_up(cell)
        _check_arguments(num_layers, dropout)
        check_backend(backend)
        check_stacking(stacking)
        super().__init__(cell, hidden_size, backend, stacking, bidirectional=bidirectional)
        self.input_size = input_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        directions = 2 if bidirectional else 1
        sizes = [input_size]
        for _ in range(num_layers - 1):
            sizes.append(directions * size(cell.widths[cell.y], sizes[-1], hidden_size))
        self.output_size = size(cell.widths[cell.y], sizes[-1], hidden_size)
        self.layers = nn.ModuleList(
            EagerCell(cell, sizes[layer], hidden_size, bias, device, dtype)
            for layer in range(num_layers)
            for _ in range(directions)
        )
        self.state_sizes = _state_sizes(cell, sizes, hidden_size)

    @classmethod
    def from_torch(cls, module: nn.RNNBase) -> "RNN":
        """Make a module that computes what an nn.RNN, nn.LSTM or nn.GRU does, with its weights.

        torch keeps two biases where the cells here have one, their sum; only the candidate of
        nn.GRU, whose reset gate multiplies the second, keeps both.

        Raises:
            CellError: for other modules, and for an nn.LSTM with a projection.
        """
        cell = cell_name(module)
        weight = module.weight_ih_l0
        assert isinstance(weight, Tensor)
        rnn = cls(
            cell,
            module.input_size,
            module.hidden_size,
            module.num_layers,
            module.bias,
            module.batch_first,
            module.dropout,
            module.bidirectional,
            weight.device,
            weight.dtype,
        )
        copy_weights(module, rnn.layers)
        return rnn.train(module.training)

    def reset_parameters(
        self, init_scale: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        """Draw new weights from U[-s, s], s = init_scale / sqrt(hidden_size)."""
        for layer in self.layers:
            assert isinstance(layer, EagerCell)
            layer.reset_parameters(init_scale, generator)

    def flatten_parameters(self) -> None:
        """Do nothing: code written for torch.nn.LSTM calls it."""

    def extra_repr(self) -> str:
        text = f"{self.cell.name}, {self.input_size}, {self.hidden_size}"
        changed = {
            "num_layers": (self.num_layers, 1),
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
            "backend": (self.backend, "auto"),
            "stacking": (self.stacking, "plain"),
        }
        return text + "".join(f", {k}={v}" for k, (v, usual) in changed.items() if v != usual)

    def forward(
        self, input: "Tensor | PackedSequence", state: States | None = None
    ) -> "tuple[Tensor | PackedSequence, States]":
        """Run over a sequence; see the class for shapes.

        Raises:
            CellError: if the input or a state has the wrong shape.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, state)
        if input.dim() not in (2, 3):
            raise CellError(f"RNN takes 2-D (unbatched) or 3-D input, got {tuple(input.shape)}.")
        batched = input.dim() == 3
        time_first = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            time_first = input.transpose(0, 1)
        n_steps, batch = time_first.shape[:2]
        if not n_steps:
            raise CellError(f"RNN takes sequences of at least one step, got {tuple(input.shape)}.")
        states = self._initial(state, time_first[0], batched=batched)
        rows = Rows.equal(n_steps, batch)
        outputs, finals = self._run(time_first.flatten(0, 1), rows, states)
        stacked = outputs.view(n_steps, batch, -1)
        if not batched:
            return stacked.squeeze(1), self._final([s.squeeze(1) for s in finals])
        return (stacked.transpose(0, 1) if self.batch_first else stacked), self._final(finals)

    def forward_tokens(
        self, tokens: Tensor, table: Tensor, state: States | None = None
    ) -> tuple[Tensor, States]:
        """Return what `forward(embedding(tokens))` does, computed once a symbol where that is less.

        Products of the first layer with its input are made for the rows of `table`, (vocabulary,
        I) and gathered for `tokens`, whole numbers (T, B), or (B, T) with batch_first. It is exact
        and, with fewer symbols than T * B, saves up to half of the work of an LSTM.

        Raises:
            CellError: if a tensor has the wrong shape.
        """
        if tokens.dim() != 2 or table.dim() != 2 or not tokens.numel():
            raise CellError(
                "forward_tokens takes tokens (time, batch) and a table (vocabulary, input_size), "
                f"got {tuple(tokens.shape)} and {tuple(table.shape)}."
            )
        if tokens.dtype not in (torch.int32, torch.int64):
            raise CellError(f"forward_tokens takes whole numbers as tokens, got {tokens.dtype}.")
        time_first = tokens.t() if self.batch_first else tokens
        n_steps, batch = time_first.shape
        states = self._initial(state, table[:1].expand(batch, -1), batched=True)
        x = Tokens(table, time_first.flatten())
        outputs, finals = self._run(x, Rows.equal(n_steps, batch), states)
        stacked = outputs.view(n_steps, batch, -1)
        return (stacked.transpose(0, 1) if self.batch_first else stacked), self._final(finals)

    def step(self, x: Tensor, state: States | None = None, index: int = 0) -> tuple[Tensor, States]:
        """Run one step, x (B, I) to y (B, Y); clocks count its `index` in the sequence.

        Raises:
            CellError: if the input or a state has the wrong shape.
        """
        states = self._initial(state, x, batched=True)
        y, finals = self._run(x, Rows((len(x),), index), states)
        return y, self._final(finals)

    def _forward_packed(
        self, packed: PackedSequence, state: States | None
    ) -> tuple[PackedSequence, States]:
        rows = Rows(tuple(packed.batch_sizes.tolist()))
        states = self._initial(state, packed.data[: rows.batch], batched=True)
        if packed.sorted_indices is not None and state is not None:
            states = [s.index_select(1, packed.sorted_indices) for s in states]
        data, finals = self._run(packed.data, rows, states)
        if packed.unsorted_indices is not None:
            finals = [s.index_select(1, packed.unsorted_indices) for s in finals]
        result = PackedSequence(
            data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
        )
        return result, self._final(finals)

    def _final(self, states: list[Tensor]) -> States:
        return states[0] if len(states) == 1 else tuple(states)

    def _initial(self, state: States | None, first: Tensor, *, batched: bool) -> list[Tensor]:
        """Return the states as a list of (layers * directions, batch, width) tensors."""
        if first.shape[-1] != self.input_size:
            raise CellError(
                f"RNN of {self.cell.name} has input_size {self.input_size}, got input with "
                f"{first.shape[-1]} features."
            )
        batch, n_layers = first.shape[0], len(self.layers)
        if state is None:
            return [
                first.new_full((n_layers, batch, width), declared.initial)
                for declared, width in zip(self.cell.states, self.state_sizes, strict=True)
            ]
        given = [state] if isinstance(state, Tensor) else list(state)
        names = ", ".join(declared.name for declared in self.cell.states)
        if len(given) != len(self.cell.states):
            raise CellError(
                f"RNN of {self.cell.name} takes the states ({names}), got {len(given)} tensors."
            )
        for tensor, declared, width in zip(given, self.cell.states, self.state_sizes, strict=True):
            shape = (n_layers, batch, width) if batched else (n_layers, width)
            if tensor.shape != shape:
                raise CellError(
                    f"RNN of {self.cell.name}: state {declared.name} must have the shape {shape}, "
                    f"got {tuple(tensor.shape)}."
                )
        return given if batched else [s.unsqueeze(1) for s in given]

    def _run(
        self, x: Tensor | Tokens, rows: Rows, states: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Run all layers over all steps: y (rows of all steps, width), and the final states."""
        starts = list(zip(*(state.unbind() for state in states), strict=True))
        y, finals = self.run_layers(x, rows, starts, self._dropped)
        if len(finals) == 1:  # a view costs less than a stack of one
            return y, [final.unsqueeze(0) for final in finals[0]]
        return y, [torch.stack(layers) for layers in zip(*finals, strict=True)]

    def _dropped(self, y: Tensor) -> Tensor:
        is_on = self.dropout and self.training
        return nn.functional.dropout(y, self.dropout) if is_on else y


def _check_arguments(num_layers: int, dropout: float) -> None:
    if num_layers < 1:
        raise CellError(f"num_layers must be at least 1, got {num_layers}.")
    if not 0 <= dropout <= 1:
        raise CellError(f"dropout is a probability in [0, 1], got {dropout}.")


def _state_sizes(cell: Cell, sizes: Sequence[int], hidden_size: int) -> list[int]:
    """Return the width of each state, equal in all layers so that states can be stacked."""
    by_layer = {tuple(size(s.width, layer, hidden_size) for s in cell.states) for layer in sizes}
    if len(by_layer) > 1:
        raise CellError(
            f"cell {cell.name} has a state of the input's width, which differs between layers "
            f"({sorted(set(sizes))}): choose input_size equal to the width of a layer's output, or "
            "stack single-layer RNNs."
        )
    return list(by_layer.pop())
