"""One layer of a cell in one direction, as a module that runs whole sequences."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.compile.backend import IN_C, Backend, choose, usual
from nas.compile.loop import LANES, Ready, ready, run_at_once
from nas.compile.native import CompilerError
from nas.compile.operator import template_of, text_of
from nas.compile.recording import is_transformed
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens, TracedRows
from nas.compile.stacked import StackedCell


class Layer(EagerCell):
    """The parameters of a layer; called, it runs all steps of a batch.

    Hooks and parametrizations of torch.nn.utils (weight_norm, spectral_norm, pruning) therefore act
    once a sequence, on every backend.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(cell, input_size, hidden_size, bias, device, dtype)
        self.definition = (text_of(cell), input_size, hidden_size, bias)
        """The layer without its parameters, as torch.compile can record it."""

    def forward(
        self,
        x: Tensor | Tokens,
        rows: Rows | TracedRows,
        states: Sequence[Tensor],
        below: Sequence[Tensor],
        reverse: bool = False,
        backend: Backend = "auto",
    ) -> LayerOutput:
        """Run over x, (steps, batch, width), from states, (1, batch, width).

        Returns y, the final states, and the new verticals, which are like x. A packed batch is
        (rows of all steps, width), with states (1, batch, width) and results (batch, width).

        Raises:
            CellError: if a parameter has lost its shape, or the backend cannot run the layer.
        """
        if torch.compiler.is_dynamo_compiling():
            run = self._recorded
        else:
            if isinstance(rows, Rows) and isinstance(x, Tensor) and backend in IN_C:
                ready = self.ready_for(x, rows)
                if ready and not ready.loop.padded:
                    if output := run_at_once(ready, self, x, rows, states, reverse):
                        return output
            run = self._run
        starts = [state.flatten(0, -2) for state in states]
        if isinstance(x, Tokens) or x.dim() < 3:
            return run(x, rows, starts, below, reverse, backend)
        flat = [vertical.flatten(0, 1) for vertical in below]
        y, finals, above = run(x.flatten(0, 1), rows, starts, flat, reverse, backend)
        finals = [final.unsqueeze(0) for final in finals]
        above = [vertical.view(*x.shape[:-1], vertical.shape[-1]) for vertical in above]
        return y.view(*x.shape[:-1], y.shape[-1]), finals, above

    def ready_for(self, x: Tensor, rows: Rows) -> Ready | None:
        """The loop for `run_at_once` and prepared steps, if nothing speaks against it."""
        if self.runs_eager_on(x, rows):
            return None
        return _ready_loop(self.definition, x.dtype, torch.get_float32_matmul_precision())

    def runs_eager_on(self, x: Tensor, rows: Rows) -> bool:
        """Whether something speaks against the C for an x, whatever the cell."""
        is_plain = x.is_cpu and x.is_contiguous() and x.dtype in LANES
        return not is_plain or not rows.batch or is_transformed() or usual() not in IN_C

    def _run(
        self,
        x: Tensor | Tokens,
        rows: Rows | TracedRows,
        states: Sequence[Tensor],
        below: Sequence[Tensor],
        reverse: bool,
        backend: Backend,
    ) -> LayerOutput:
        layer = self.resolved()
        run = choose(backend, layer, x, states, rows)
        return run(layer, x, rows, states, below, reverse)

    def _recorded(
        self,
        x: Tensor | Tokens,
        rows: Rows | TracedRows,
        states: Sequence[Tensor],
        below: Sequence[Tensor],
        reverse: bool,
        backend: Backend,
    ) -> LayerOutput:
        """The same while torch.compile reads this code: a call that it records as a whole."""
        from nas.compile.recorded import in_graph  # here, as it imports torch's compiler

        assert isinstance(rows, TracedRows)
        inputs = [x.table, x.index] if isinstance(x, Tokens) else [x]
        flat = in_graph(
            self.definition,
            backend,
            reverse,
            (rows.n_steps, rows.batch, rows.total, rows.first),
            (
                inputs,
                [rows.carrier] if rows.counts is None else [rows.carrier, rows.counts],
                [getattr(self, name) for name in self.shapes],
                list(states),
                list(below),
            ),
        )
        n_states = len(states)
        return flat[0], list(flat[1 : 1 + n_states]), list(flat[1 + n_states :])

    def extra_repr(self) -> str:
        return f"{self.cell.name}, {self.sizes[0]}, {self.hidden_size}"


class StackedLayer(StackedCell):
    """The same of K members of a layer; all tensors have a leading member dimension."""

    def forward(
        self,
        x: Tensor | Tokens,
        rows: Rows,
        states: Sequence[Tensor],
        below: Sequence[Tensor],
        reverse: bool = False,
        backend: Backend = "auto",
    ) -> LayerOutput:
        """Run over x, (members, rows of all steps, width), as `Layer.forward`."""
        return choose(backend, self, x, states, rows)(self, x, rows, states, below, reverse)


@lru_cache(maxsize=256)
def _ready_loop(
    definition: tuple[str, int, int, bool], dtype: torch.dtype, precision: str
) -> Ready | None:
    """The loop of a layer for `run_at_once`; None where there is none. Loops depend on torch's
    `precision` of products, which is therefore part of the key."""
    try:
        return ready(template_of(definition), dtype)
    except CompilerError:  # `choose` then says so
        return None
