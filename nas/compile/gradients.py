"""Gradients of matrices, biases and inputs after the loop: one product each over all steps."""

import torch
from torch import Tensor

from nas.compile.buffers import gather_rows
from nas.compile.call import Call
from nas.compile.plan import Stage, Target


def matrix_gradients(call: Call, wanted: set[str], found: dict[str, Tensor]) -> None:
    """Add to `found`, by name, the gradients that are wanted of weights, biases and inputs."""
    for s, stage in enumerate(call.plan.stages):
        sums = call.layout.back_view(call.back, f"grad sums {s}")
        _biases(call, stage, sums, wanted, found)
        symbols = _by_symbol(call, stage, sums)
        parts: dict[tuple[int, int], Tensor] = {}
        for product in stage.inputs:
            values = call.given[f"input {product.arg}"]
            assert values is not None
            columns = slice(product.first, product.first + product.count)
            part = symbols[:, columns].t() @ values
            _cut(parts, product.arg, product.targets, part, product.first)
            if f"input {product.arg}" in wanted:
                gradient = symbols[:, columns] @ _matrix(call, product.arg, product.targets)
                name = f"input {product.arg}"
                found[name] = found[name] + gradient if name in found else gradient
        for product in stage.products:
            columns = slice(product.first, product.first + product.count)
            part = sums[:, columns].t() @ _argument(call, product.arg)
            _cut(parts, product.arg, product.targets, part, product.first)
        for target in stage.targets:
            if f"weight {target.node}" in wanted:
                args = call.plan.args(target.node)
                pieces = [parts[target.node, arg] for arg in args]
                whole = torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]
                found[f"weight {target.node}"] = whole


def _cut(
    parts: dict[tuple[int, int], Tensor],
    arg: int,
    targets: tuple[Target, ...],
    part: Tensor,
    first: int,
) -> None:
    for target in targets:
        start = target.column - first
        parts[target.node, arg] = part[start : start + target.width]


def _biases(
    call: Call, stage: Stage, sums: Tensor, wanted: set[str], found: dict[str, Tensor]
) -> None:
    if any(f"bias of {target.node}" in wanted for target in stage.targets):
        totals = sums.sum(0)
        for target in stage.targets:
            start = target.column
            found[f"bias of {target.node}"] = totals[start : start + target.width]


def _by_symbol(call: Call, stage: Stage, sums: Tensor) -> Tensor:
    """Gradients of the sums a row of input: with tokens, added up for each symbol."""
    if call.tokens is None or not stage.inputs:
        return sums
    table = sums.new_zeros(call.n_inputs, stage.columns)
    return table.index_add_(0, call.tokens, sums)


def _matrix(call: Call, arg: int, targets: tuple[Target, ...]) -> Tensor:
    """A product's matrix as (columns, width of arg), zero in padded columns."""
    plan, rows = call.plan, []
    for target in targets:
        weight = call.given[f"weight {target.node}"]
        assert weight is not None
        places = [k for k, a in enumerate(plan.args(target.node)) if a == arg]
        starts = [plan.columns_before(target.node, k) for k in places]
        pieces = [weight[:, start : start + plan.sizes[arg]] for start in starts]
        whole = pieces[0] if len(pieces) == 1 else torch.stack(pieces).sum(0)
        missing = target.padded - target.width
        rows.append(torch.nn.functional.pad(whole, (0, 0, 0, missing)) if missing else whole)
    return torch.cat(rows) if len(rows) > 1 else rows[0]


def _argument(call: Call, i: int) -> Tensor:
    """The values of the loop that a product multiplied, (rows of all steps, width)."""
    plan, size = call.plan, call.plan.sizes[i]
    if plan.node(i).op == "state":
        history = call.buffer(f"state {i}").view(-1, call.rows.batch, plan.padded(i))
        before = history[1:] if call.reverse else history[:-1]
        return gather_rows(before, call.rows)[:, :size]
    for s, stage in enumerate(plan.stages):
        for target in stage.targets:
            if target.node == i:
                return call.buffer(f"sums {s}")[:, target.column : target.column + size]
    return call.buffer(f"value {i}")[:, :size]
