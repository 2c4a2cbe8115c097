"""A layer's time loop as a call of generated C, forward and backward.

The loop is one autograd function of parameters, hoisted values and initial states. All buffers of
a call lie in one block of memory, so that a call costs a few torch operations, however many values
the cell has. C also loops over the members of a stacked layer.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.compile import debug, native
from nas.compile.call import Call, Loop, Request
from nas.compile.emit import Source, emit, takes_bfloat16
from nas.compile.hoist import Hoist
from nas.compile.native import CompilerError
from nas.compile.passes import make_plan
from nas.compile.plan import Plan
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens
from nas.compile.stacked import Inputs, StackedCell
from nas.errors import CellError

LANES = {torch.float32: 16, torch.float64: 8}


def compiled(cell: Cell, input_size: int, hidden_size: int, dtype: torch.dtype) -> Loop:
    """The loop of a layer, compiled or loaded from the cache at its first use.

    With `torch.set_float32_matmul_precision("medium")`, products of float32 have bfloat16 factors
    and float32 sums, on processors that have an instruction for it.

    Raises:
        CompilerError: without a working C compiler.
    """
    result = _compiled(cell, input_size, hidden_size, dtype, _rounds(dtype))
    if isinstance(result, str):
        raise CompilerError(result)
    return result


def source_of(
    cell: Cell, input_size: int, hidden_size: int, dtype: torch.dtype
) -> tuple[Plan, Source]:
    """The plan of a layer's loop, and the C that `compiled` compiles.

    Raises:
        CompilerError: without a working C compiler, where the C depends on it.
    """
    plan = make_plan(cell, input_size, hidden_size, LANES[dtype])
    return plan, emit(plan, bfloat16=_rounds(dtype) and takes_bfloat16(plan))


def _rounds(dtype: torch.dtype) -> bool:
    """Whether products round their factors to bfloat16."""
    medium = dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium"
    return medium and native.has_bfloat16()


@functools.lru_cache(maxsize=256)
def _compiled(
    cell: Cell, input_size: int, hidden_size: int, dtype: torch.dtype, rounds: bool
) -> Loop | str:
    """The loop, or the reason why there is none, so that no batch tries again what failed.

    `rounds` is part of the key, since `source_of` depends on it.
    """
    plan, source = source_of(cell, input_size, hidden_size, dtype)
    debug.show(plan, source.text, dtype.itemsize)
    try:
        loaded = native.library(source.text, dtype == torch.float64)
    except CompilerError as error:
        return str(error)
    pointers = ctypes.c_void_p, ctypes.c_void_p
    forward, backward = (loaded.function(name, *pointers) for name in ("forward", "backward"))
    return Loop(plan, source, forward, backward)


def run_layer(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
    """All steps of a layer: x (rows of all steps, width), states (batch, width).

    Returns y, the final states, and the new verticals, which are like x. A stacked layer has a
    leading member dimension everywhere; what a member gives is, bit for bit, what it gives alone.
    """
    tokens = None
    if isinstance(x, Tokens):
        x, tokens = (x.table, x.places()) if _folds(layer.cell, x) else (x.rows(), None)
    loop = compiled(layer.cell, layer.sizes[0], layer.hidden_size, x.dtype)
    lead = () if isinstance(layer, EagerCell) else (layer.members,)
    plan, request = loop.plan, Request(rows, reverse, lead, x.shape[-2])
    hoist = Hoist(plan, layer, Inputs(x, tokens, rows, verticals, reverse))
    read: dict[str, Callable[[int], Tensor | None]] = {
        "input": hoist.matrix_input,
        "hoisted": hoist.operand,
        "weight": hoist.weight,
        "bias": layer.bias_of,
        "start": lambda place: states[place - 1],
    }
    tensors = [read[role](i) for role, i in loop.given]
    result = iter(_run(loop, request, tokens, tensors))
    finals = [next(result) for _ in states]
    leaving = [
        next(result) if i in plan.depth else hoist.rows_of(i)
        for place, i in enumerate(plan.outputs)
        if place not in plan.state_places
    ]
    above = [v.expand(*v.shape[:-1], layer.hidden_size) for v in leaving[1:]]
    return leaving[0], finals, above


def _run(
    loop: Loop, request: Request, tokens: Tensor | None, tensors: Sequence[Tensor | None]
) -> Sequence[Tensor]:
    """Final states and loop outputs."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        function: Any = _Run  # torch declares no types of `apply`
        result: Sequence[Tensor] = function.apply(loop, request, tokens, *tensors)
        return result
    whole = [_whole(tensor, request) for tensor in tensors]
    return Call(loop, request, tokens, whole).forward(keep=False)[1]


def _whole(tensor: Tensor | None, request: Request) -> Tensor | None:
    """A tensor as C reads it: contiguous, or with contiguous members."""
    if tensor is None or tensor.is_contiguous():
        return tensor
    if request.lead and tensor[0].is_contiguous():
        return tensor
    return tensor.contiguous()


def _folds(cell: Cell, tokens: Tokens) -> bool:
    """Whether hoisted values depend on the symbol alone, and symbols are fewer than rows."""
    clocked = any(n.op in ("step", "vertical") for n in cell.nodes)
    return not clocked and tokens.table.shape[-2] < tokens.index.shape[0]


class _Run(torch.autograd.Function):
    """The C loop: final states and loop outputs from all that it reads."""

    @staticmethod
    def forward(
        ctx: Any, loop: Loop, request: Request, tokens: Tensor | None, *tensors: Tensor | None
    ) -> Any:
        tensors = tuple(_whole(tensor, request) for tensor in tensors)
        memory, result = Call(loop, request, tokens, tensors).forward(keep=True)
        # Saved, not held by ctx: autograd then frees them after use, and refuses a gradient if a
        # weight was changed in between.
        ctx.shape = (loop, request)
        ctx.save_for_backward(memory, tokens, *tensors)
        ctx.set_materialize_grads(False)
        return tuple(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise CellError(
                "backend c gives no gradients of gradients (create_graph=True): take "
                'backend="eager".'
            )
        loop, request = ctx.shape
        memory, tokens, *tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[3:]
        call = Call(loop, request, tokens, tensors)
        results = zip(call.backward(memory, gradients, wanted), wanted, strict=True)
        return (None, None, None, *(gradient if want else None for gradient, want in results))
