"""A layer's time loop as an operator of torch, `torch.ops.nas.loop`.

torch.compile, torch.export, make_fx, fake tensors and torch.jit.trace record operators and do not
look into them. Outside of them, `nas/compile/loop.py` calls the same C in less time. The operator
names its cell by JSON, so that a saved program needs `import nas` and nothing else.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.cell.json import from_json, to_json
from nas.compile.buffers import Shape, memory_size
from nas.compile.call import Call, Loop
from nas.compile.loop import compiled, read, refuse_second_derivative, whole
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens, TracedRows, check_places
from nas.compile.stacked import StackedCell

COMMON = (
    "str cell, int input_size, int hidden_size, bool reverse, int[] places, Tensor carrier, "
    "Tensor? counts, Tensor? tokens, Tensor[] arguments"
)
torch.library.define("nas::loop", f"({COMMON}, bool keep) -> Tensor[]")
torch.library.define(
    "nas::loop_backward",
    f"({COMMON}, Tensor memory, Tensor?[] gradients, bool[] wanted) -> Tensor[]",
)


@lru_cache(maxsize=256)
def text_of(cell: Cell) -> str:
    """A cell as the operator takes it."""
    return json.dumps(to_json(cell), separators=(",", ":"))


@lru_cache(maxsize=256)
def cell_of(text: str) -> Cell:
    return from_json(json.loads(text))


@lru_cache(maxsize=256)
def template_of(definition: tuple[str, int, int, bool]) -> EagerCell:
    """A layer without values, of a cell's text, its sizes, and whether it has biases."""
    text, input_size, hidden_size, bias = definition
    return EagerCell(cell_of(text), input_size, hidden_size, bias, device="meta")


def run_layer(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    rows: Rows | TracedRows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
    """As `nas.compile.loop.run_layer`, by the operator."""
    reading = read(layer, x, rows, states, verticals, reverse)
    tokens = reading.inputs.tokens
    places = [k for k, tensor in enumerate(reading.tensors) if tensor is not None]
    tensors = [tensor for tensor in reading.tensors if tensor is not None]
    carrier, counts = _carried(rows, reading.inputs.x)
    # A trace is taken once, for calls with and without gradients.
    keep = torch._C._get_tracing_state() is not None or (
        torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    )
    sizes = layer.sizes[0], layer.hidden_size
    results = torch.ops.nas.loop(
        text_of(layer.cell), *sizes, reverse, places, carrier, counts, tokens, tensors, keep
    )
    return reading.output(results[1:])


def _carried(rows: Rows | TracedRows, like: Tensor) -> tuple[Tensor, Tensor | None]:
    """A tensor of the sizes of a batch, and the counts of a packed one."""
    if isinstance(rows, TracedRows):
        return rows.carrier, rows.counts
    if rows.dense:
        return like.new_empty((rows.n_steps, rows.batch, 0)), None
    return like.new_empty((rows.total, 0)), torch.tensor(rows.counts)


class _Arguments(NamedTuple):
    """The arguments that both operators have."""

    cell: str
    input_size: int
    hidden_size: int
    reverse: bool
    places: list[int]
    """The place of each tensor among the arguments of the loop, some of which may be missing."""
    carrier: Tensor
    counts: Tensor | None
    tokens: Tensor | None
    tensors: list[Tensor]

    @property
    def state(self) -> Tensor:
        return self.tensors[-1]

    @property
    def loop(self) -> Loop:
        return compiled(cell_of(self.cell), self.input_size, self.hidden_size, self.state.dtype)

    @property
    def rows(self) -> TracedRows:
        carrier, counts = self.carrier, self.counts
        if counts is None:
            n_steps, batch = carrier.shape[:2]
            return TracedRows(n_steps, batch, n_steps * batch, carrier)
        batch = self.state.shape[-2]
        return TracedRows(counts.shape[0], batch, carrier.shape[0], carrier, counts)

    @property
    def n_inputs(self) -> int:
        """The rows of the input: symbols of a table, or one for every row of x."""
        return self.rows.total if self.tokens is None else self.tensors[0].shape[0]

    def call(self, *, keep: bool) -> Call:
        """The call of C."""
        loop, rows = self.loop, self.rows.concrete()
        tensors: list[Tensor | None] = [None] * len(loop.given)
        for place, tensor in zip(self.places, whole(self.tensors), strict=True):
            tensors[place] = tensor
        if self.tokens is not None:
            check_places(self.tokens, self.n_inputs)
        layout = loop.layout(
            rows,
            self.state,
            (),
            self.n_inputs,
            reverse=self.reverse,
            keep=keep,
            tokens=self.tokens is not None,
        )
        return Call(loop, layout, self.tokens, tensors)

    def results(self) -> list[Tensor]:
        """Tensors for the final states and the outputs."""
        loop, rows = self.loop, self.rows
        shapes = [(rows.batch, loop.plan.sizes[p]) for p in loop.plan.state_places]
        shapes += [(rows.total, loop.plan.sizes[i]) for _, i in loop.leaving]
        return [self.state.new_empty(shape) for shape in shapes]

    def wanted(self, wanted: Sequence[bool]) -> list[Tensor]:
        """Tensors for the gradients that are wanted."""
        pairs = zip(self.tensors, wanted, strict=True)
        return [tensor.new_zeros(tensor.shape) for tensor, want in pairs if want]


@torch.library.impl("nas::loop", "cpu")
def _forward(*given: Any) -> list[Tensor]:
    arguments, keep = _Arguments(*given[:-1]), given[-1]
    if not arguments.rows.batch:
        return [arguments.state.new_empty(0), *arguments.results()]
    memory, results = arguments.call(keep=keep).forward()
    return [memory, *results]


@torch.library.register_fake("nas::loop")  # type: ignore[untyped-decorator]  # torch declares no types of it
def _(*given: Any) -> list[Tensor]:
    arguments, keep = _Arguments(*given[:-1]), given[-1]
    loop, state = arguments.loop, arguments.state
    shape = Shape(arguments.rows, arguments.n_inputs, 1, 1, keep, arguments.tokens is not None)
    size = memory_size(loop.plan, loop.source, shape, state.element_size())
    return [state.new_empty(size), *arguments.results()]


@torch.library.impl("nas::loop_backward", "cpu")
def _backward(*given: Any) -> list[Tensor]:
    *common, memory, gradients, wanted = given
    arguments = _Arguments(*common)
    if not arguments.rows.batch:
        return arguments.wanted(wanted)
    call = arguments.call(keep=True)
    is_wanted = dict(zip(arguments.places, wanted, strict=True))
    results = call.backward(
        memory, gradients, [is_wanted.get(k, False) for k in range(len(call.tensors))]
    )
    return [r.contiguous() for k, r in enumerate(results) if r is not None and is_wanted.get(k)]


@torch.library.register_fake("nas::loop_backward")  # type: ignore[untyped-decorator]  # torch declares no types of it
def _(*given: Any) -> list[Tensor]:
    return _Arguments(*given[:-3]).wanted(given[-1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    *ctx.common, carrier, counts, tokens, tensors, _ = inputs
    ctx.save_for_backward(carrier, counts, tokens, output[0], *tensors)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> Any:
    refuse_second_derivative()
    carrier, counts, tokens, memory, *tensors = ctx.saved_tensors
    wanted = [bool(want) for want in ctx.needs_input_grad[8]]
    common = (*ctx.common, carrier, counts, tokens, tensors)
    given = iter(torch.ops.nas.loop_backward(*common, memory, list(gradients[1:]), wanted))
    return (*[None] * 8, [next(given) if want else None for want in wanted], None)


torch.library.register_autograd("nas::loop", _differentiate, setup_context=_save)
