"""A layer's time loop as a call of generated C, forward and backward.

The loop is one autograd function of parameters, hoisted values and initial states. All buffers of
a call lie in one block of memory, so that a call costs a few torch operations, however many values
the cell has. C also loops over the members of a stacked layer.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.compile import debug, native
from nas.compile.buffers import Layout
from nas.compile.call import Call, Loop
from nas.compile.emit import Source, emit, takes_bfloat16
from nas.compile.hoist import Hoist
from nas.compile.native import CompilerError
from nas.compile.passes import make_plan
from nas.compile.plan import Plan
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens, TracedRows, check_places
from nas.compile.stacked import Inputs, StackedCell
from nas.errors import CellError

PLAIN = (Tensor, nn.Parameter)
"""Types of tensors that have memory which C can read; others are of torch's machinery."""
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
    plan = make_plan(cell, input_size, hidden_size, LANES[dtype], in_c=True)
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


class Reading(NamedTuple):
    """What the loop of one layer reads, and what the layer's results are made of."""

    loop: Loop
    layer: EagerCell | StackedCell
    inputs: Inputs
    hoist: Hoist | None
    """The values that are computed before the loop; None if there are none."""
    tensors: list[Tensor | None]
    """The arguments of the loop, in the order of `Loop.given`."""

    def layout(self, rows: Rows, *, reverse: bool, keep: bool) -> Layout:
        """The memory of a call over these rows; tokens, which C does not check, are checked."""
        x, tokens = self.inputs.x, self.inputs.tokens
        if tokens is not None:
            check_places(tokens, x.shape[-2])
        about = (rows, x, self.lead, x.shape[-2])
        has_tokens = tokens is not None
        return self.loop.layout(*about, reverse=reverse, keep=keep, tokens=has_tokens)

    @property
    def lead(self) -> tuple[int, ...]:
        """(members,), or none for one layer alone."""
        return (self.layer.members,) if isinstance(self.layer, StackedCell) else ()

    def output(self, results: Sequence[Tensor]) -> LayerOutput:
        """y, the final states and the verticals from the results of the loop."""
        loop, n_states = self.loop, self.loop.n_states
        leaving = list(results[n_states:])
        if self.hoist is not None:
            plan, computed = loop.plan, iter(leaving)
            leaving = [
                next(computed) if i in plan.depth else self.hoist.rows_of(i)
                for place, i in enumerate(plan.outputs)
                if place not in plan.state_places
            ]
        hidden = self.layer.hidden_size
        above = [v.expand(*v.shape[:-1], hidden) for v in leaving[1:]]
        return leaving[0], list(results[:n_states]), above


def read(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    rows: Rows | TracedRows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> Reading:
    """What the loop of a layer reads; arguments as those of `run_layer`."""
    tokens = None
    if isinstance(x, Tokens):
        x, tokens = (x.table, x.places()) if _folds(layer.cell, x) else (x.rows(), None)
    loop = compiled(layer.cell, layer.sizes[0], layer.hidden_size, x.dtype)
    inputs = Inputs(x, tokens, rows, verticals, reverse)
    if loop.parameters is not None:
        own = layer._parameters
        first = [x] if loop.plan.matrix_inputs else []
        tensors = [*first, *[own.get(name) for name in loop.parameters], *states]
        return Reading(loop, layer, inputs, None, tensors)
    hoist = Hoist(loop.plan, layer, inputs)
    of: dict[str, Callable[[int], Tensor | None]] = {
        "input": hoist.matrix_input,
        "hoisted": hoist.operand,
        "weight": hoist.weight,
        "bias": layer.bias_of,
        "start": lambda place: states[place - 1],
    }
    return Reading(loop, layer, inputs, hoist, [of[role](i) for role, i in loop.given])


def run_layer(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    rows: Rows | TracedRows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
    """All steps of a layer: x (rows of all steps, width), states (batch, width).

    Returns y, the final states, and the new verticals, which are like x. A stacked layer has a
    leading member dimension everywhere; what a member gives is, bit for bit, what it gives alone.
    """
    reading = read(layer, x, rows, states, verticals, reverse)
    loop, _, inputs, _, tensors = reading
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    layout = reading.layout(rows.concrete(), reverse=reverse, keep=keep)
    given = whole(tensors, reading.lead)
    return reading.output(_run(loop, layout, inputs.tokens, given, keep=keep))


class Ready(NamedTuple):
    """The loop of a layer that reads nothing but x, parameters as they are, and states."""

    loop: Loop
    parameters: list[tuple[str, tuple[int, ...] | None]]
    """The names and shapes of the parameters in the order of the loop's arguments; None for those
    that the layer does not have."""


def ready(layer: EagerCell, dtype: torch.dtype) -> Ready | None:
    """The loop of a layer if it reads nothing that must be computed first."""
    loop = compiled(layer.cell, layer.sizes[0], layer.hidden_size, dtype)
    if loop.parameters is None:
        return None
    return Ready(loop, [(name, layer.shapes.get(name)) for name in loop.parameters])


def run_at_once(
    ready: Ready, layer: EagerCell, x: Tensor, rows: Rows, states: Sequence[Tensor], reverse: bool
) -> LayerOutput | None:
    """`run_layer` in less time where all is as usual; None where a tensor is not.

    Half of the time of a small layer is spent on what surrounds the C code. Here x may also be
    (steps, batch, width) and states (1, batch, width), and results are so too.
    """
    loop, dtype = ready.loop, x.dtype
    tensors: list[Tensor | None] = [x] if loop.plan.matrix_inputs else []
    is_needed = x.requires_grad
    own = layer._parameters
    for name, shape in ready.parameters:
        tensor = own.get(name)
        if shape is None:
            tensors.append(None)
            continue
        if tensor is None or tensor.shape != shape or not _is_usual(tensor, dtype):
            return None
        is_needed = is_needed or tensor.requires_grad
        tensors.append(tensor)
    for state in states:
        if not _is_usual(state, dtype):
            return None
        is_needed = is_needed or state.requires_grad
        tensors.append(state)
    keep = is_needed and torch.is_grad_enabled()
    by_step = x.dim() > 2
    layout = loop.layout(rows, x, (), rows.total, reverse=reverse, keep=keep, by_step=by_step)
    results = _run(loop, layout, None, tensors, keep=keep)
    n_states = loop.n_states
    return results[n_states], list(results[:n_states]), list(results[n_states + 1 :])


def _is_usual(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether C can read a tensor where it is."""
    return (
        type(tensor) in PLAIN and tensor.dtype is dtype and tensor.is_cpu and tensor.is_contiguous()
    )


def _run(
    loop: Loop,
    layout: Layout,
    tokens: Tensor | None,
    tensors: Sequence[Tensor | None],
    *,
    keep: bool,
) -> Sequence[Tensor]:
    """Final states and loop outputs."""
    if keep:
        function: Any = _Run  # torch declares no types of `apply`
        results: Sequence[Tensor] = function.apply(loop, layout, tokens, *tensors)
        return results
    return Call(loop, layout, tokens, tensors).forward()[1]


def whole(tensors: Sequence[Tensor | None], lead: tuple[int, ...] = ()) -> list[Tensor | None]:
    """Tensors as C reads them: contiguous, or with contiguous members."""
    return [
        t if t is None or t.is_contiguous() or (lead and t[0].is_contiguous()) else t.contiguous()
        for t in tensors
    ]


def _folds(cell: Cell, tokens: Tokens) -> bool:
    """Whether hoisted values depend on the symbol alone, and symbols are fewer than rows."""
    clocked = any(n.op in ("step", "vertical") for n in cell.nodes)
    return not clocked and bool(tokens.table.shape[-2] < tokens.index.shape[0])


class _Run(torch.autograd.Function):
    """The C loop: final states and loop outputs from all that it reads."""

    @staticmethod
    def forward(
        ctx: Any, loop: Loop, layout: Layout, tokens: Tensor | None, *tensors: Tensor | None
    ) -> Any:
        memory, result = Call(loop, layout, tokens, tensors).forward()
        # Saved, not held by ctx: autograd then frees them after use, and refuses a gradient if a
        # weight was changed in between.
        ctx.shape = (loop, layout)
        ctx.save_for_backward(memory, tokens, *tensors)
        ctx.set_materialize_grads(False)
        return tuple(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        refuse_second_derivative()
        loop, layout = ctx.shape
        memory, tokens, *tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[3:]
        results = Call(loop, layout, tokens, tensors).backward(memory, gradients, wanted)
        given = [gradient if want else None for gradient, want in zip(results, wanted, strict=True)]
        return (None, None, None, *given)


def refuse_second_derivative() -> None:
    """Raise CellError in a backward pass that is itself to be differentiated."""
    if torch.is_grad_enabled():
        raise CellError(
            'backend c gives no gradients of gradients (create_graph=True): take backend="eager".'
        )
