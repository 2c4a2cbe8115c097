"""A layer's time loop as one call of generated C each way.

The loop is one autograd function of the parameters as they are, of hoisted values and of the
initial states. The gradient of a matrix is one product after the loop. All buffers of a call lie in
one block of memory, so that a call costs a few torch operations, however many values the cell has.
"""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nas.cell.graph import Cell
from nas.compile import debug
from nas.compile.call import Call, Loop, biased, learned
from nas.compile.emit import emit
from nas.compile.gradients import matrix_gradients
from nas.compile.hoist import Hoist, weight_of
from nas.compile.native import CompilerError, library
from nas.compile.plan import make_plan
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens
from nas.errors import CellError

VOID, LONG = ctypes.c_void_p, ctypes.c_long
LANES = {torch.float32: 16, torch.float64: 8}


def compiled(cell: Cell, input_size: int, hidden_size: int, dtype: torch.dtype) -> Loop:
    """The loop of a layer; compiled, or loaded from the cache, when it is first asked for.

    Raises:
        CompilerError: without a working C compiler.
    """
    result = _compiled(cell, input_size, hidden_size, dtype)
    if isinstance(result, str):
        raise CompilerError(result)
    return result


@functools.lru_cache(maxsize=256)
def _compiled(cell: Cell, input_size: int, hidden_size: int, dtype: torch.dtype) -> Loop | str:
    """The loop, or why there is none: what failed is not tried again for every batch."""
    plan = make_plan(cell, input_size, hidden_size, LANES[dtype])
    source = emit(plan)
    debug.show(plan, source.text, dtype.itemsize)
    try:
        loaded = library(source.text, dtype == torch.float64)
    except CompilerError as error:
        return str(error)
    # table, steps, batch, rows, offsets, reverse, inputs, tokens
    arguments = (VOID, LONG, LONG, VOID, VOID, LONG, LONG, VOID)
    forward, backward = (loaded.function(name, *arguments) for name in ("forward", "backward"))
    return Loop(plan, source, forward, backward)


def run_layer(
    layer: EagerCell,
    x: Tensor | Tokens,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """All steps of a layer: x (rows of all steps, width), states (batch, width).

    Returns y and the new verticals like x, and the final states.
    """
    tokens = None
    if isinstance(x, Tokens):
        x, tokens = (x.table, x.places()) if _folds(layer.cell, x) else (x.rows(), None)
    loop = compiled(layer.cell, layer.sizes[0], layer.hidden_size, x.dtype)
    plan, hoist = loop.plan, Hoist(loop.plan, layer, x, tokens, rows, verticals, reverse)
    given = [hoist.matrix_input(i) for i in plan.matrix_inputs]
    given += [hoist.operand(i) for i in plan.hoisted]
    given += [weight_of(plan, layer, i) for i in learned(plan)]
    biases = [layer.bias_of(i) for i in biased(plan)]
    result = _Run.apply(  # type: ignore[no-untyped-call]  # torch's
        loop, rows, reverse, tokens, *given, *biases, *states
    )
    n_states = len(states)
    outputs = iter(result[n_states:])
    leaving = [
        next(outputs) if i in plan.depth else hoist.rows_of(i)
        for place, i in enumerate(plan.outputs)
        if place == 0 or place > n_states
    ]
    above = [vertical.expand(-1, layer.hidden_size) for vertical in leaving[1:]]
    return leaving[0], list(result[:n_states]), above


def _folds(cell: Cell, tokens: Tokens) -> bool:
    """Whether what is hoisted depends on the symbol alone, and symbols are fewer than rows."""
    clocked = any(n.op in ("step", "vertical") for n in cell.nodes)
    return not clocked and tokens.table.shape[0] < tokens.index.shape[0]


class _Run(torch.autograd.Function):
    """The C loop: final states and loop outputs from all that it reads."""

    @staticmethod
    def forward(
        ctx: Any,
        loop: Loop,
        rows: Rows,
        reverse: bool,
        tokens: Tensor | None,
        *tensors: Tensor | None,
    ) -> Any:
        call = Call(loop, rows, reverse, tokens, tensors)
        # Saved, not held by ctx: autograd then frees them after use, and refuses a gradient if a
        # weight was changed in between.
        ctx.shape = (loop, rows, reverse)
        ctx.save_for_backward(call.memory, tokens, *tensors)
        ctx.set_materialize_grads(False)
        return call.forward()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise CellError(
                "backend c gives no gradients of gradients (create_graph=True): take "
                'backend="eager".'
            )
        loop, rows, reverse = ctx.shape
        memory, tokens, *tensors = ctx.saved_tensors
        call = Call(loop, rows, reverse, tokens, tensors, memory)
        found = call.backward(gradients)
        needed = zip(call.names, ctx.needs_input_grad[4:], strict=True)
        wanted = {name for name, need in needed if need}
        matrix_gradients(call, wanted, found)
        return (*[None] * 4, *(found.get(n) if n in wanted else None for n in call.names))
