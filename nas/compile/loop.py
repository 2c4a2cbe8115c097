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
from torch.nn import functional as F

from nas.cell.graph import Cell
from nas.compile.emit import Source, emit, is_vector
from nas.compile.native import library
from nas.compile.plan import Plan, Stage, Target, make_plan
from nas.compile.reference import EagerCell, Operand, block_mask
from nas.compile.rows import Rows

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
    x: Tensor,
    rows: Rows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """All steps of a layer: x (rows of all steps, width), states (batch, width).

    Returns y and the new verticals like x, and the final states.
    """
    loop = compiled(layer.cell, layer.sizes[0], layer.hidden_size, x.dtype)
    plan, hoist = loop.plan, _Hoist(loop.plan, layer, x, rows, verticals, reverse)
    bases = [hoist.base(stage) for stage in plan.stages]
    matrices = [
        hoist.matrix(product.arg, product.targets)
        for stage in plan.stages
        for product in stage.products
    ]
    vectors = [
        _padded(layer.get_parameter(f"{layer.labels[i]}_weight"), plan.padded(i))
        for i in _diagonals(plan)
    ]
    hoisted = [hoist.operand(i) for i in _read_hoisted(plan)]
    starts = [
        _padded(state, plan.padded(1 + place)).contiguous() for place, state in enumerate(states)
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


def _diagonals(plan: Plan) -> list[int]:
    return [i for i in plan.depth if plan.node(i).op == "diagonal"]


def _read_hoisted(plan: Plan) -> list[int]:
    """Hoisted values that the loop itself reads, be it only to hand them on as a state."""
    n_states = len(plan.cell.states)
    only_y = {
        i for place, i in enumerate(plan.outputs) if not 1 <= place <= n_states
    } - plan.read_in_loop
    return [i for i in plan.hoisted if i not in only_y]


def _padded(value: Tensor, width: int) -> Tensor:
    missing = width - value.shape[-1]
    return F.pad(value, (0, missing)) if missing else value


class _Hoist:
    """Values that depend on no state, by torch, for all steps at once."""

    def __init__(
        self,
        plan: Plan,
        layer: EagerCell,
        x: Tensor,
        rows: Rows,
        verticals: Sequence[Tensor],
        reverse: bool,
    ) -> None:
        self.plan, self.layer, self.x = plan, layer, x
        self.values: dict[int, Operand] = {0: x}
        first = 1 + len(plan.cell.states)
        self.values |= dict(enumerate(verticals, start=first))
        self.rows, self.reverse = rows, reverse

    def value(self, i: int) -> Operand:
        if i not in self.values:
            n = self.plan.node(i)
            if n.op == "step":
                self.values[i] = self.rows.steps(self.x, self.reverse)
            else:
                args = [self.value(arg) for arg in self.plan.args(i)]
                self.values[i] = self.layer.value(i, n, args, self.x, 0)
        return self.values[i]

    def rows_of(self, i: int) -> Tensor:
        """A value with one row for every row of x."""
        return self.layer.row(self.value(i), i, self.x)

    def operand(self, i: int) -> Tensor:
        value = self.value(i)
        if is_vector(self.plan, i):
            width = self.plan.sizes[i]
            row = value if isinstance(value, Tensor) else self.x.new_tensor(value)
            return _padded(row.expand(width), self.plan.padded(i)).contiguous()
        return _padded(self.rows_of(i), self.plan.padded(i)).contiguous()

    def _weight(self, i: int) -> Tensor:
        """A linear map's matrix (width, sum of its arguments' widths)."""
        n, label = self.plan.node(i), self.layer.labels[i]
        weight = self.layer.get_parameter(f"{label}_weight")
        if n.op == "block_diagonal":
            blocks: Tensor = torch.block_diag(*weight)  # type: ignore[no-untyped-call]
            return blocks
        return weight * block_mask(n, weight) if n.op == "masked" else weight

    def _part(self, i: int, wanted: Sequence[int]) -> list[Tensor]:
        """The columns of a map's matrix for each of the arguments at the given positions."""
        weight, args = self._weight(i), self.plan.node(i).args
        parts = torch.split(weight, [self.plan.sizes[arg] for arg in args], dim=1)
        return [parts[position] for position in wanted]

    def matrix(self, arg: int, targets: Sequence[Target]) -> Tensor:
        """The matrix of one product of the loop, (width of arg, padded columns of the targets)."""
        columns = []
        for target in targets:
            places = [k for k, a in enumerate(self.plan.args(target.node)) if a == arg]
            parts = self._part(target.node, places)
            weight = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
            missing = target.padded - target.width
            columns.append(F.pad(weight, (0, 0, 0, missing)) if missing else weight)
        return (torch.cat(columns) if len(columns) > 1 else columns[0]).t().contiguous()

    def base(self, stage: Stage) -> Tensor:
        """What the sums of a stage start from: (rows, columns), or (columns,) without an input."""
        parts, last = list[Tensor](), list[Target]()
        for target in stage.targets:
            if last and self._hoisted_args(target) != self._hoisted_args(last[-1]):
                parts.append(self._base_of(last))
                last = []
            last.append(target)
        parts.append(self._base_of(last))
        if len(parts) == 1:
            return parts[0].contiguous()
        if any(part.dim() == 2 for part in parts):
            parts = [part.expand(self.x.shape[0], -1) for part in parts]
        return torch.cat(parts, -1)

    def _hoisted_args(self, target: Target) -> tuple[int, ...]:
        return tuple(arg for arg in self.plan.args(target.node) if arg not in self.plan.depth)

    def _base_of(self, targets: Sequence[Target]) -> Tensor:
        """The hoisted part of neighbouring maps that read the same: one product for all of them."""
        args = self._hoisted_args(targets[0])
        biases = torch.cat([self._bias(target) for target in targets])
        if not args:
            return biases
        weights = []
        for target in targets:
            wanted = [
                k for k, a in enumerate(self.plan.args(target.node)) if a not in self.plan.depth
            ]
            weight = torch.cat(self._part(target.node, wanted), 1)
            missing = target.padded - target.width
            weights.append(F.pad(weight, (0, 0, 0, missing)) if missing else weight)
        read = [self.rows_of(arg) for arg in args]
        inputs = torch.cat(read, -1) if len(read) > 1 else read[0]
        return F.linear(inputs, torch.cat(weights), biases)

    def _bias(self, target: Target) -> Tensor:
        label = self.layer.labels[target.node]
        bias = dict(self.layer.named_parameters(recurse=False)).get(f"{label}_bias")
        if bias is None:
            return self.x.new_zeros(target.padded)
        return _padded(bias, target.padded)


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
