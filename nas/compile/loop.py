"""A layer's time loop as one call of generated C, between torch operations outside of it.

What depends on no state (the inputs' products, biases) is computed by torch for all steps at once,
so autograd knows it; the loop is one autograd function; the gradient of each of its matrices is
one product after it.
"""

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nas.cell.graph import Cell
from nas.compile.emit import Source, emit
from nas.compile.hoist import Hoist, padded
from nas.compile.native import library
from nas.compile.plan import Plan, make_plan
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens

LANES = {torch.float32: 16, torch.float64: 8}


@dataclass(frozen=True)
class Loop:
    """A compiled plan."""

    plan: Plan
    source: Source
    forward: Any
    backward: Any


@functools.lru_cache(maxsize=256)
def compiled(cell: Cell, input_size: int, hidden_size: int, dtype: torch.dtype) -> Loop:
    """The loop of a layer; compiled, or loaded from the cache, when it is first asked for.

    Raises:
        CompilerError: without a working C compiler.
    """
    plan = make_plan(cell, input_size, hidden_size, LANES[dtype])
    source = emit(plan)
    loaded = library(source.text, dtype == torch.float64)
    return Loop(plan, source, loaded.forward, loaded.backward)


@functools.lru_cache(maxsize=256)
def obstacle(cell: Cell, input_size: int, hidden_size: int, dtype: torch.dtype) -> str:
    """Why a cell cannot be a C loop, or an empty string."""
    plan = make_plan(cell, input_size, hidden_size, LANES[dtype])
    for stage in plan.stages:
        for product in stage.products:
            if plan.padded(product.arg) == 1:
                return "a linear map of a value of width 1 that depends on a state"
    return ""


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
        x, tokens = (x.table, x.index) if _folds(layer.cell, x) else (x.rows(), None)
    loop = compiled(layer.cell, layer.sizes[0], layer.hidden_size, x.dtype)
    plan, hoist = loop.plan, Hoist(loop.plan, layer, x, tokens, rows, verticals, reverse)
    bases = [hoist.base(stage) for stage in plan.stages]
    matrices = [
        hoist.matrix(product.arg, product.targets)
        for stage in plan.stages
        for product in stage.products
    ]
    vectors = [
        padded(layer.get_parameter(f"{layer.labels[i]}_weight"), plan.padded(i))
        for i in _diagonals(plan)
    ]
    hoisted = [hoist.operand(i) for i in _read_hoisted(plan)]
    starts = [
        padded(state, plan.padded(1 + place)).contiguous() for place, state in enumerate(states)
    ]
    result = _Run.apply(  # type: ignore[no-untyped-call]  # torch's
        loop, rows, reverse, *bases, *matrices, *vectors, *hoisted, *starts
    )
    n_states = len(starts)
    finals = [final[:, : plan.sizes[1 + place]] for place, final in enumerate(result[:n_states])]
    outputs = iter(result[n_states:])
    leaving = [
        next(outputs)[:, : plan.sizes[i]] if i in plan.depth else hoist.rows_of(i)
        for place, i in enumerate(plan.outputs)
        if place == 0 or place > n_states
    ]
    return leaving[0], finals, leaving[1:]


def _folds(cell: Cell, tokens: Tokens) -> bool:
    """Whether what is hoisted depends on the symbol alone, and symbols are fewer than rows."""
    clocked = any(n.op in ("step", "vertical") for n in cell.nodes)
    return not clocked and tokens.table.shape[0] < tokens.index.shape[0]


def _diagonals(plan: Plan) -> list[int]:
    return [i for i in plan.depth if plan.node(i).op == "diagonal"]


def _read_hoisted(plan: Plan) -> list[int]:
    """Hoisted values that the loop itself reads, be it only to hand them on as a state."""
    n_states = len(plan.cell.states)
    only_y = {
        i for place, i in enumerate(plan.outputs) if not 1 <= place <= n_states
    } - plan.read_in_loop
    return [i for i in plan.hoisted if i not in only_y]


class _Run(torch.autograd.Function):
    """The C loop: final states and loop outputs from bases, matrices, vectors, hoisted, states."""

    @staticmethod
    def forward(ctx: Any, loop: Loop, rows: Rows, reverse: bool, *tensors: Tensor) -> Any:
        call = _Call(loop, rows, reverse, [t.detach() for t in tensors])
        finals, outputs = call.forward()
        ctx.call = call
        ctx.set_materialize_grads(True)
        return (*finals, *outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return (None, None, None, *ctx.call.backward(gradients))


class _Call:
    """One run over a sequence with its buffers, kept for the backward pass."""

    def __init__(self, loop: Loop, rows: Rows, reverse: bool, tensors: list[Tensor]) -> None:
        self.loop, self.rows, self.reverse = loop, rows, reverse
        self.plan = loop.plan
        self.like = tensors[-1]
        rest = iter(tensors)
        self.buffers: dict[str, Tensor] = {}
        self.read: list[str] = []
        self._take("base", [str(s) for s in range(len(self.plan.stages))], rest)
        products = [
            f"{s} {q}" for s, g in enumerate(self.plan.stages) for q in range(len(g.products))
        ]
        self._take("matrix", products, rest)
        self._take("vector", [str(i) for i in _diagonals(self.plan)], rest)
        self._take("hoisted", [str(i) for i in _read_hoisted(self.plan)], rest)
        self.starts = list(rest)

    def _take(self, kind: str, names: list[str], tensors: Any) -> None:
        for name in names:
            self.buffers[f"{kind} {name}"] = next(tensors)
            self.read.append(f"{kind} {name}")

    def _new(self, *shape: int) -> Tensor:
        return self.like.new_empty(shape)

    def forward(self) -> tuple[list[Tensor], list[Tensor]]:
        plan, rows, buffers = self.plan, self.rows, self.buffers
        steps = len(rows.counts)
        self._make_work()
        for place, start in enumerate(self.starts, start=1):
            history = self._new(steps + 1, rows.batch, plan.padded(place))
            history[-1 if self.reverse else 0] = start
            buffers[f"state {place}"] = history
        n_states = len(self.starts)
        outputs = []
        for place, i in enumerate(plan.outputs):
            if not 1 <= place <= n_states and i in plan.depth:
                buffers[f"output {place}"] = self._new(rows.total, plan.padded(i))
                outputs.append(buffers[f"output {place}"])
        self._call(self.loop.forward)
        last = 0 if self.reverse else -1
        return [buffers[f"state {p}"][last].clone() for p in range(1, n_states + 1)], outputs

    def _make_work(self) -> None:
        plan, rows, buffers = self.plan, self.rows, self.buffers
        for s, stage in enumerate(plan.stages):
            height = rows.total if s in self.loop.source.kept_stages else rows.batch
            buffers[f"sums {s}"] = self._new(height, stage.columns)
            base = buffers[f"base {s}"]
            stride = stage.columns if base.dim() == 2 else 0
            buffers[f"base stride {s}"] = torch.tensor([stride], dtype=torch.int64)
            for q, product in enumerate(stage.products):
                wide = max(
                    plan.sizes[product.arg] * product.count,
                    plan.padded(product.arg) * product.count,
                )
                buffers[f"panels {s} {q}"] = self._new(wide)
        for i in (*self.loop.source.kept, *plan.outputs):
            name = f"value {i}"
            if name in self.loop.source.slots and name not in buffers:
                buffers[name] = self._new(rows.total, plan.padded(i))

    def _call(self, function: Any) -> None:
        slots = self.loop.source.slots
        table = (ctypes.c_void_p * max(1, len(slots)))()
        for name, place in slots.items():
            if name in self.buffers:
                table[place] = self.buffers[name].data_ptr()
        counts, offsets = self.rows.arrays
        function(
            table,
            ctypes.c_long(len(self.rows.counts)),
            ctypes.c_long(self.rows.batch),
            counts,
            offsets,
            ctypes.c_long(self.reverse),
        )

    def backward(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        plan, rows, buffers = self.plan, self.rows, self.buffers
        n_states = len(self.starts)
        for place in range(1, n_states + 1):
            shape = (rows.batch, plan.padded(place))
            buffers[f"grad state {place}"] = gradients[place - 1].contiguous().clone()
            buffers[f"grad state {place} too"] = self._new(*shape)
            buffers[f"grad initial {place}"] = self._new(*shape)
        leaving = iter(gradients[n_states:])
        for place, i in enumerate(plan.outputs):
            if not 1 <= place <= n_states and i in plan.depth:
                buffers[f"grad output {place}"] = next(leaving).contiguous()
        for s, stage in enumerate(plan.stages):
            buffers[f"grad sums {s}"] = self._new(rows.total, stage.columns)
        self._make_gradients()
        self._call(self.loop.backward)
        return [self._gradient(name) for name in self.read] + [
            buffers[f"grad initial {place}"] for place in range(1, n_states + 1)
        ]

    def _make_gradients(self) -> None:
        for name in self.loop.source.slots:
            kind, _, which = name.rpartition(" ")
            if kind == "grad value":
                width = self.plan.padded(int(which))
                self.buffers[name] = self._new(self.rows.batch, width)
            elif kind in ("grad hoisted", "grad vector"):
                read = self.buffers[name.removeprefix("grad ")]
                self.buffers[name] = torch.zeros_like(read)
            elif name == "zeros":
                widest = max(self.plan.padded(i) for i in self.plan.depth)
                self.buffers[name] = self.like.new_zeros(widest)

    def _gradient(self, name: str) -> Tensor:
        kind, _, which = name.partition(" ")
        buffers = self.buffers
        if kind == "base":
            gradient = buffers[f"grad sums {which}"]
            return gradient if buffers[name].dim() == 2 else gradient.sum(0)
        if kind == "matrix":
            s, q = map(int, which.split())
            product = self.plan.stages[s].products[q]
            sums = buffers[f"grad sums {s}"][:, product.first : product.first + product.count]
            return self._argument(product.arg).t() @ sums
        grad = buffers.get(f"grad {name}")
        return torch.zeros_like(buffers[name]) if grad is None else grad

    def _argument(self, i: int) -> Tensor:
        """The values that a product multiplied, (rows of all steps, width)."""
        plan, size = self.plan, self.plan.sizes[i]
        if plan.node(i).op == "state":
            history = self.buffers[f"state {i}"]
            before = history[1:] if self.reverse else history[:-1]
            if self.rows.dense:
                return before.flatten(0, 1)[:, :size]
            parts = [step[:count] for step, count in zip(before, self.rows.counts, strict=True)]
            return torch.cat(parts)[:, :size]
        for s, stage in enumerate(plan.stages):
            for target in stage.targets:
                if target.node == i:
                    return self.buffers[f"sums {s}"][:, target.column : target.column + size]
        return self.buffers[f"value {i}"][:, :size]
