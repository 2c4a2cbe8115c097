"""A layer's time loop as generated Triton kernels: one call forward, one backward.

A program of a kernel computes all steps of 16 sequences of one member.
"""

import functools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.compile.gpu.before import before
from nas.compile.gpu.device import shared_memory
from nas.compile.gpu.kernels import Kernels, kernels
from nas.compile.gpu.layout import ROWS, Layout, width_of
from nas.compile.gpu.writer import PRECISIONS
from nas.compile.hoist import padded
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens, TracedRows
from nas.compile.stacked import Inputs, StackedCell
from nas.errors import CellError


class Sizes(NamedTuple):
    """The numbers of a call."""

    members: int
    rows: Rows
    reverse: bool

    def grid(self) -> tuple[int, int]:
        return self.members, -(-self.rows.batch // ROWS)


def run_layer(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    rows: Rows | TracedRows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
    """All steps of a layer, as `eager.run_layer` gives them.

    x is (rows of all steps, width) and states are (batch, width), of float32; a stacked layer has a
    leading member dimension everywhere. `fit.obstacle` says which layers cannot be run.
    """
    counts, tokens = rows.concrete(), None
    if isinstance(x, Tokens):
        x, tokens = (x.table, x.places()) if _folds(layer, x) else (x.rows(), None)
    precision = PRECISIONS[torch.get_float32_matmul_precision()]
    shared = shared_memory(x.device)
    made = kernels(layer.cell, layer.sizes[0], layer.hidden_size, precision, shared)
    layout, stacked = made.layout, isinstance(layer, StackedCell)
    ready = before(layout, layer, Inputs(x, tokens, counts, verticals, reverse))
    starts = [state if stacked else state.unsqueeze(0) for state in states]
    tensors = [*ready.bases, *ready.rows, ready.vectors, ready.weights, *starts]
    members = layer.members if isinstance(layer, StackedCell) else 1
    sizes = Sizes(members, counts, reverse)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        function: Any = _Run  # torch declares no types of `apply`
        results = list(function.apply(made, sizes, *tensors))
    else:
        results = _forward(made, sizes, tensors, keep=False)[0]
    return _output(made, layer, results, ready.outside)


def _folds(layer: EagerCell | StackedCell, tokens: Tokens) -> bool:
    """Whether hoisted values depend on the symbol alone, and symbols are fewer than rows."""
    clocked = any(n.op in ("step", "vertical") for n in layer.cell.nodes)
    return not clocked and bool(tokens.table.shape[-2] < tokens.index.shape[0])


def _output(
    made: Kernels,
    layer: EagerCell | StackedCell,
    results: Sequence[Tensor],
    outside: Sequence[Tensor],
) -> LayerOutput:
    plan = made.layout.plan
    if isinstance(layer, EagerCell):
        results, outside = [t.squeeze(0) for t in results], [t.squeeze(0) for t in outside]
    n_states = len(plan.state_places)
    inner, outer = iter(results[n_states:]), iter(outside)
    leaving = [
        next(inner if i in plan.depth else outer)
        for place, i in enumerate(plan.outputs)
        if place not in plan.state_places
    ]
    above = [v.expand(*v.shape[:-1], layer.hidden_size) for v in leaving[1:]]
    return leaving[0], list(results[:n_states]), above


@functools.lru_cache(maxsize=64)
def _on_device(rows: Rows, device: torch.device) -> tuple[Tensor, Tensor]:
    """The sequences at each step, and the first row of each step."""
    counts, firsts = rows.arrays
    as_tensor = functools.partial(torch.tensor, dtype=torch.int32, device=device)
    return as_tensor(counts), as_tensor(firsts)


def _start(
    made: Kernels, sizes: Sizes, name: str, tensors: dict[str, Tensor], *, keep: bool
) -> None:
    """Start a kernel with its pointers by name."""
    names = made.forward_names if name == "forward" else made.backward_names
    rows, like = sizes.rows, next(iter(tensors.values()))
    counts, firsts = _on_device(rows, like.device)
    falls = sizes.reverse == (name == "forward")
    order = (rows.n_steps - 1, -1) if falls else (0, 1)
    numbers = rows.total, rows.n_steps, rows.batch, *order, int(keep)
    kernel = getattr(made.module, name)[sizes.grid()]
    given = [tensors[n] for n in names]
    with torch.cuda.device(like.device) if like.is_cuda else nullcontext():
        kernel(*given, counts, firsts, *numbers, RAGGED=not rows.dense, **made.options)


def _forward(
    made: Kernels, sizes: Sizes, tensors: Sequence[Tensor], *, keep: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Final states and outputs; what the backward pass reads: values, hoisted rows, vectors and
    weights."""
    layout, plan = made.layout, made.layout.plan
    whole = [t.contiguous() for t in tensors]
    like = whole[-1]
    names = [f"base{g}" for g in range(len(layout.groups))]
    names += [*(f"row{i}" for i in layout.rows), "vectors", "weights"]
    names += [f"start{p}" for p in plan.state_places]
    members, rows = sizes.members, sizes.rows
    given = dict(zip(names, whole, strict=True))
    given["weights"] = in_blocks(layout, given["weights"])
    for p in plan.state_places:
        given[f"start{p}"] = padded(given[f"start{p}"], layout.columns(p))
    new = like.new_empty
    finals = {f"final{p}": new(members, rows.batch, layout.columns(p)) for p in plan.state_places}
    outs = {f"out{q}": new(members, rows.total, layout.columns(i)) for q, i in layout.outputs}
    kept = new(members, rows.total if keep else 0, width_of(layout.kept))
    _start(made, sizes, "forward", given | finals | outs | {"kept": kept}, keep=keep)
    read = [given[n] for n in names[len(layout.groups) :] if not n.startswith("start")]
    widths = [plan.sizes[i] for i in (*plan.state_places, *(i for _, i in layout.outputs))]
    results = zip((*finals.values(), *outs.values()), widths, strict=True)
    return [result[..., :width] for result, width in results], [kept, *read]


def in_blocks(layout: Layout, weights: Tensor) -> Tensor:
    """Weights with the zeros up to whole blocks."""
    sizes = [m.rows * m.columns for m in layout.matrices.values()]
    if sum(sizes) == layout.n_weights:
        return weights
    parts = []
    for matrix, part in zip(layout.matrices.values(), weights.split(sizes, 1), strict=True):
        missing = 0, matrix.stride - matrix.columns, 0, matrix.size // matrix.stride - matrix.rows
        parts.append(F.pad(part.view(-1, matrix.rows, matrix.columns), missing).flatten(1))
    return torch.cat(parts, 1)


class _Run(torch.autograd.Function):
    """The kernels: final states and outputs from all that the loop reads."""

    @staticmethod
    def forward(ctx: Any, made: Kernels, sizes: Sizes, *tensors: Tensor) -> Any:
        results, read = _forward(made, sizes, tensors, keep=True)
        ctx.call = (made, sizes)
        ctx.save_for_backward(*read)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise CellError(
                "the kernels of a GPU give no gradients of gradients (create_graph=True): take "
                'backend="eager".'
            )
        made, sizes = ctx.call
        kept, *saved = ctx.saved_tensors
        return None, None, *_backward(made, sizes, kept, saved, gradients)


def _backward(
    made: Kernels,
    sizes: Sizes,
    kept: Tensor,
    saved: Sequence[Tensor],
    gradients: Sequence[Tensor],
) -> list[Tensor]:
    """The gradients of a call's tensors, in their order."""
    layout, plan = made.layout, made.layout.plan
    members, rows = sizes.members, sizes.rows
    names = [*(f"row{i}" for i in layout.rows), "vectors", "weights"]
    tensors = {"kept": kept} | dict(zip(names, saved, strict=True))
    coming = [f"dfinal{p}" for p in plan.state_places]
    coming += [f"dout{place}" for place, _ in layout.outputs]
    nodes = [*plan.state_places, *(i for _, i in layout.outputs)]
    for name, i, gradient in zip(coming, nodes, gradients, strict=True):
        tensors[name] = padded(gradient, layout.columns(i)).contiguous()
    new = kept.new_empty
    drows = {f"drow{i}": new(members, rows.total, layout.columns(i)) for i in layout.rows}
    dstarts = {f"dstart{p}": new(members, rows.batch, layout.columns(p)) for p in plan.state_places}
    dsums = new(members, rows.total, width_of(layout.sums))
    dvectors = kept.new_zeros(members, sizes.grid()[1], layout.n_vectors)
    tensors |= drows | dstarts | {"dsums": dsums, "dvectors": dvectors}
    _start(made, sizes, "backward", tensors, keep=True)
    bases = []
    for group in layout.groups:
        first, last = (layout.sums[t.node] for t in (group.targets[0], group.targets[-1]))
        bases.append(dsums[..., first.first : last.first + last.width])
    weights = _weights(made, dsums, kept)
    starts = [dstarts[f"dstart{p}"][..., : plan.sizes[p]] for p in plan.state_places]
    return [*bases, *drows.values(), dvectors.sum(1), weights, *starts]


def _weights(made: Kernels, dsums: Tensor, kept: Tensor) -> Tensor:
    """The gradients of all matrices: a product over all rows for neighbouring maps of one value."""
    layout, parts = made.layout, dict[tuple[int, int], Tensor]()
    for stage in layout.plan.stages:
        for product in stage.products:
            first, last = (layout.sums[t.node] for t in (product.targets[0], product.targets[-1]))
            left = dsums[..., first.first : last.first + last.width]
            begin = layout.kept[product.arg].first
            right = kept[..., begin : begin + layout.plan.sizes[product.arg]]
            whole = left.mT @ right
            for target in product.targets:
                place = layout.sums[target.node].first - first.first
                parts[target.node, product.arg] = whole[:, place : place + target.width]
    flat = [parts[key].flatten(1) for key in layout.matrices]
    return torch.cat(flat, 1) if flat else dsums.new_empty(len(dsums), 0)
