"""`nas.RNN`: any cell as a stack of layers with the signature and behaviour of torch.nn.LSTM."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from nas.cell.cell import Cell
from nas.cell.count import size
from nas.compile.backend import Backend, check_backend, described
from nas.compile.layer import Layer
from nas.compile.recording import is_recorded
from nas.compile.rows import Rows, Tokens, TracedRows
from nas.errors import CellError
from nas.nn.convert import cell_name, copy_weights
from nas.nn.layers import Layers, States
from nas.nn.settings import Stacking, check_stacking
from nas.nn.stream import Stream


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
        backend: "c" runs the time loop as compiled C on the CPU, "triton" as one kernel on a GPU,
            "graph" replays it there as a CUDA graph, "eager" runs one torch operation after another
            (any device, gradients of gradients); "auto" is the first of them that can be had.
        stacking: how layers are joined, see `nas.nn.settings.Stacking`.
        proj_size: 0, for code written for nn.LSTM: the cell `lstm_projected` has a projection.

    torch.compile, make_fx and torch.jit.trace record the loop as the operator `torch.ops.nas.loop`;
    torch.export does so if the number of steps is dynamic or the backend is "c", and records
    torch's own operations for a fixed number of steps otherwise. Programs that are saved with the
    operator need `import nas` where they are loaded. Under torch.autocast results have the lower
    precision, as those of nn.LSTM; on the CPU they are computed in float32. Under transforms of
    torch.func and in forward-mode differentiation the backend "auto" is eager.

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
        *,
        proj_size: int = 0,
    ) -> None:
        cell = _cell(cell)
        _check_arguments(num_layers, dropout, proj_size)
        _check_flags(bias=bias, batch_first=batch_first, bidirectional=bidirectional)
        check_backend(backend)
        check_stacking(stacking)
        super().__init__(cell, hidden_size, backend, stacking, bidirectional=bidirectional)
        self.input_size = input_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        directions = 2 if bidirectional else 1
        sizes = _input_sizes(cell, input_size, hidden_size, num_layers, directions)
        self.output_size = size(cell.widths[cell.y], sizes[-1], hidden_size)
        self.layers = nn.ModuleList(
            Layer(cell, sizes[layer], hidden_size, bias, device, dtype)
            for layer in range(num_layers)
            for _ in range(directions)
        )
        self.state_sizes = _state_sizes(cell, sizes, hidden_size)
        # For code written for nn.LSTM, which asks for them.
        self.mode, self.proj_size = cell.name.upper(), proj_size

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as nn.LSTM has them."""
        return [list(layer.parameters()) for layer in self.layers]

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
            assert isinstance(layer, Layer)
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
        text += "".join(f", {k}={v}" for k, (v, usual) in changed.items() if v != usual)
        return f"{text}, runs={described(self.backend, next(self.parameters(), torch.empty(0)))}"

    def forward(
        self, input: "Tensor | PackedSequence", hx: States | None = None
    ) -> "tuple[Tensor | PackedSequence, States]":
        """Run over a sequence; see the class for shapes.

        Raises:
            CellError: if the input or a state has the wrong shape.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise CellError(f"RNN takes 2-D (unbatched) or 3-D input, got {tuple(input.shape)}.")
        batched = input.dim() == 3
        time_first = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            time_first = input.transpose(0, 1).contiguous()
        if not time_first.shape[0]:
            raise CellError(f"RNN takes sequences of at least one step, got {tuple(input.shape)}.")
        rows = _equal(time_first)
        starts = self._starts(hx, time_first[0], batched=batched)
        outputs, finals = self._run(time_first, rows, starts)
        if not batched:
            return outputs.squeeze(1), self._final([s.squeeze(1) for s in finals])
        return (outputs.transpose(0, 1) if self.batch_first else outputs), self._final(finals)

    def forward_tokens(
        self, tokens: Tensor, table: Tensor, hx: States | None = None
    ) -> tuple[Tensor, States]:
        """Return what `forward(embedding(tokens))` does, computed once a symbol where that is less.

        Products of the first layer with its input are made for the rows of `table`, (vocabulary,
        I) and gathered for `tokens`, whole numbers (T, B), or (B, T) with batch_first. It is exact
        and, with fewer symbols than T * B, saves up to half of the work of an LSTM.

        Raises:
            CellError: if a tensor has the wrong shape.
        """
        if tokens.dim() != 2 or table.dim() != 2 or not tokens.shape[self.batch_first]:
            raise CellError(
                "forward_tokens takes tokens (time, batch) and a table (vocabulary, input_size), "
                f"got {tuple(tokens.shape)} and {tuple(table.shape)}."
            )
        if tokens.dtype not in (torch.int32, torch.int64):
            raise CellError(f"forward_tokens takes whole numbers as tokens, got {tokens.dtype}.")
        time_first = tokens.t() if self.batch_first else tokens
        rows = _equal(time_first)
        starts = self._starts(hx, table[:1].expand(rows.batch, -1), batched=True)
        y, finals = self._run(Tokens(table, time_first.flatten()), rows, starts)
        outputs = y.view(rows.n_steps, rows.batch, y.shape[-1])
        return (outputs.transpose(0, 1) if self.batch_first else outputs), self._final(finals)

    def step(self, x: Tensor, hx: States | None = None, index: int = 0) -> tuple[Tensor, States]:
        """Run one step, x (B, I) to y (B, Y); clocks count its `index` in the sequence.

        Raises:
            CellError: if the input or a state has the wrong shape.
        """
        starts, steps = self._starts(hx, x, batched=True), x.unsqueeze(0)
        y, finals = self._run(steps, _equal(steps, index), starts)
        return y.squeeze(0), self._final(finals)

    def stream(self, hx: States | None = None, *, batch_size: int = 1) -> Stream:
        """Make what runs single steps of `batch_size` sequences at the speed of the C, without
        gradients: see `nas.nn.stream.Stream`.

        Raises:
            CellError: if a state has the wrong shape, or the layers run in both directions.
        """
        if self.bidirectional:
            raise CellError("a stream runs forward in time, so bidirectional must be False.")
        if type(batch_size) is not int or batch_size < 1:
            raise CellError(f"batch_size must be a positive whole number, got {batch_size!r}.")
        like = next(self.parameters(), torch.empty(0)).new_empty(batch_size, self.input_size)
        return Stream(self, like.detach(), self._starts_of, hx)

    def _starts_of(self, hx: States | None, first: Tensor) -> list[list[Tensor]]:
        return self._starts(hx, first, batched=True)

    def _forward_packed(
        self, packed: PackedSequence, hx: States | None
    ) -> tuple[PackedSequence, States]:
        data, counts, order, places = packed
        rows: Rows | TracedRows
        if not is_recorded(data):
            rows = Rows(tuple(counts.tolist()))
        elif (batch := _batch(packed, hx)) is not None:
            rows = TracedRows(counts.shape[0], batch, data.shape[0], data.detach(), counts)
        else:  # only the counts themselves tell it
            from nas.compile.recorded import unread  # here, as it imports torch's compiler

            y, final = unread(self._forward_packed, packed, hx)
            return y, final
        starts = self._starts(hx, data[: rows.batch], batched=True, order=order)
        y, finals = self._run(data, rows, starts)
        if places is not None:
            finals = [s.index_select(1, places) for s in finals]
        return PackedSequence(y, counts, order, places), self._final(finals)

    def _final(self, states: list[Tensor]) -> States:
        return states[0] if len(states) == 1 else tuple(states)

    def _starts(
        self, hx: States | None, first: Tensor, *, batched: bool, order: Tensor | None = None
    ) -> list[list[Tensor]]:
        """Return the states (1, batch, width) of each layer and direction before the first step,
        in the `order` of the sequences of a packed batch."""
        if first.shape[-1] != self.input_size:
            raise CellError(
                f"RNN of {self.cell.name} has input_size {self.input_size}, got input with "
                f"{first.shape[-1]} features."
            )
        batch, n_layers = first.shape[0], len(self.layers)
        if hx is None:
            return [
                [
                    first.new_full((1, batch, width), declared.initial)
                    for declared, width in zip(self.cell.states, self.state_sizes, strict=True)
                ]
            ] * n_layers
        given = [hx] if isinstance(hx, Tensor) else list(hx)
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
        if not batched:
            given = [s.unsqueeze(1) for s in given]
        if order is not None:
            given = [s.index_select(1, order) for s in given]
        if n_layers == 1:
            return [given]
        return [list(states) for states in zip(*(s.split(1) for s in given), strict=True)]

    def _run(
        self, x: Tensor | Tokens, rows: Rows | TracedRows, starts: list[list[Tensor]]
    ) -> tuple[Tensor, list[Tensor]]:
        """Run all layers over all steps: y like x, and the final states."""
        device = x.device.type
        if device in ("cpu", "cuda") and torch.is_autocast_enabled(device):
            return self._run_autocast(x, rows, starts)
        return self._run_at(x, rows, starts)

    def _run_at(
        self, x: Tensor | Tokens, rows: Rows | TracedRows, starts: list[list[Tensor]]
    ) -> tuple[Tensor, list[Tensor]]:
        """The same in the precision of the tensors."""
        y, finals = self.run_layers(x, rows, starts, self._dropped)
        if finals[0][0].dim() < 3:
            return y, [torch.stack(layers) for layers in zip(*finals, strict=True)]
        return y, finals[0] if len(finals) == 1 else list(map(torch.cat, zip(*finals, strict=True)))

    def _run_autocast(
        self, x: Tensor | Tokens, rows: Rows | TracedRows, starts: list[list[Tensor]]
    ) -> tuple[Tensor, list[Tensor]]:
        """The same under torch.autocast: weights in float32 give results in the lower precision, as
        those of nn.LSTM. On the CPU they are computed in float32 and then rounded."""
        device, own = x.device.type, next((p.dtype for p in self.parameters()), x.dtype)
        lower = torch.get_autocast_dtype(device) if own == torch.float32 else own
        x = Tokens(x.table.to(own), x.index) if isinstance(x, Tokens) else x.to(own)
        starts = [[state.to(own) for state in states] for states in starts]
        with torch.autocast(device, enabled=device != "cpu"):
            y, finals = self._run_at(x, rows, starts)
        return y.to(lower), [final.to(lower) for final in finals]

    def _dropped(self, y: Tensor) -> Tensor:
        is_on = self.dropout and self.training
        return nn.functional.dropout(y, self.dropout) if is_on else y


def _equal(x: Tensor, first: int = 0) -> Rows | TracedRows:
    """The shape of a batch (steps, batch, …) of sequences of one length."""
    n_steps, batch = x.shape[:2]
    if is_recorded(x):
        return TracedRows(n_steps, batch, n_steps * batch, x.detach(), None, first)
    return Rows((batch,) * n_steps, first) if first else Rows.equal(n_steps, batch)


def _batch(packed: PackedSequence, hx: States | None) -> int | None:
    """The number of sequences of a packed batch as far as sizes of tensors tell it."""
    if packed.sorted_indices is not None:
        return packed.sorted_indices.shape[0]
    states = [hx] if isinstance(hx, Tensor) else hx
    return states[0].shape[1] if states else None


def _check_arguments(num_layers: int, dropout: float, proj_size: int) -> None:
    if type(num_layers) is not int:
        raise CellError(f"num_layers must be a whole number, got {num_layers!r}.")
    if num_layers < 1:
        raise CellError(f"num_layers must be at least 1, got {num_layers}.")
    if isinstance(dropout, bool | str) or not 0 <= dropout <= 1:
        raise CellError(f"dropout is a probability in [0, 1], got {dropout!r}.")
    if proj_size:
        raise CellError(
            f"proj_size must be 0, got {proj_size!r}: an LSTM with a projection is another cell, "
            'nas.RNN("lstm_projected", …).'
        )
    if dropout and num_layers == 1:
        warnings.warn(
            f"dropout={dropout} drops outputs of all layers but the last, of which there are none "
            "with num_layers=1.",
            stacklevel=3,
        )


def _check_flags(**flags: object) -> None:
    for name, value in flags.items():
        if type(value) is not bool:
            raise CellError(f"{name} must be True or False, got {value!r}.")


def _cell(source: Cell | str | Path | Mapping[str, object]) -> Cell:
    if isinstance(source, Cell):
        return source
    from nas.zoo.lookup import cell

    return cell(source)


def _input_sizes(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, directions: int
) -> list[int]:
    """Return the width of what each layer reads."""
    sizes = [input_size]
    for _ in range(num_layers - 1):
        sizes.append(directions * size(cell.widths[cell.y], sizes[-1], hidden_size))
    return sizes


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
