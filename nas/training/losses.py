"""The output layer and the loss of all members in one autograd function.

The gradient of the output layer's scores is found with the loss and goes through the layer at once:
no scores are kept. On the CPU `losses_in_c.py` does it, on a GPU `losses_at_once.py`. Here, on the
CPU, are losses of a user's own, large layers for several threads, and all losses where C does not
run: members take turns on operands that lie in memory as those of a member alone do, so that a
member's loss and gradients do not depend on the others.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.compile.layer_pass import Place
from nas.compile.stacked import aligned, is_aligned
from nas.nn.members import head as layer_of
from nas.training.heads import AnyHead, HeadFunctions, functions_of, name_of
from nas.training.losses_at_once import (
    differentiated_at_once,
    losses_of,
    rights_of,
    scores_at_once,
)
from nas.training.losses_in_c import Layer, losses_in_c, runs_in_c
from nas.training.window_tensors import TensorWindow


def losses(
    y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow, head: AnyHead = "categorical"
) -> Tensor:
    """Return the head's loss, summed over scored positions, a stream of the minibatch: (members,).

    y is (members, rows, width), weight (members, outputs, width), bias (members, outputs).
    """
    function: Any = _Losses  # torch declares no types of `apply`
    result: Tensor = function.apply(y, weight, bias, window, functions_of(head))
    return result


@torch.no_grad()
def differentiated(
    layer: Layer, window: TensorWindow, head: HeadFunctions, place: Place = lambda _: None
) -> tuple[Tensor, Layer]:
    """Return the same losses of (y, weight, bias), with the gradients of their sum; those of the
    latter two where `place` says."""
    y, weight, bias = layer
    if not y.is_cpu:
        found, gradients = differentiated_at_once(y, weight, bias, window, head)
        return found, gradients
    of_weight, of_bias = (place(tensor) for tensor in (weight, bias))
    gradients = (
        y.new_empty(y.shape),
        weight.new_empty(weight.shape) if of_weight is None else of_weight,
        bias.new_empty(bias.shape) if of_bias is None else of_bias,
    )
    name = name_of(head)
    if name and runs_in_c(y, weight, window):
        return losses_in_c(layer, window, name, gradients), gradients
    members = zip(zip(*layer, strict=True), zip(*gradients, strict=True), strict=True)
    return torch.stack([_differentiate(window, head, *member) for member in members]), gradients


@torch.no_grad()
def measure(
    y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow, head: AnyHead = "categorical"
) -> tuple[Tensor, Tensor]:
    """Return the same losses, and whether each guess is right: (members, scored positions)."""
    functions, losses, rights = functions_of(head), [], []
    if not y.is_cpu:
        scores = scores_at_once(y, weight, bias, window)
        found, _ = losses_of(scores, window, functions)
        return found / window.n_streams, rights_of(scores, window, functions)
    name = name_of(functions)
    if name and runs_in_c(y, weight, window):
        right = torch.empty(len(y), len(window.targets), dtype=torch.bool)
        return losses_in_c((y, weight, bias), window, name, right=right), right
    for scores in scores_of(y, weight, bias, window):
        rights.append(functions.right(scores, window.targets))
        losses.append(functions.loss(scores, window.targets)[0] / window.n_streams)
    return torch.stack(losses), torch.stack(rights)


@torch.no_grad()
def scores_of(y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> Iterator[Tensor]:
    """Yield each member's scores at the scored positions, (scored, outputs)."""
    for rows, *layer in zip(y, weight, bias, strict=True):
        yield layer_of(_scored(rows, window), *layer)


def _scored(y: Tensor, window: TensorWindow) -> Tensor:
    return aligned(y) if window.places is None else y.index_select(0, window.places)


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow, head: HeadFunctions
    ) -> Tensor:
        found, gradients = differentiated((y, weight, bias), window, head)
        ctx.save_for_backward(*gradients)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        of_y, of_weight, of_bias = ctx.saved_tensors
        # Of the sum of the losses: a pass over all of y less. A GPU would be waited for.
        if gradient.is_cpu and (gradient == 1).all():
            return of_y, of_weight, of_bias, None, None
        each = gradient.view(-1, 1, 1)
        return of_y * each, of_weight * each, of_bias * each[:, 0], None, None


def _differentiate(
    window: TensorWindow, head: HeadFunctions, member: Layer, gradients: Layer
) -> Tensor:
    """Return one member's loss, and write its gradients; the tensors of a member alone."""
    (y, weight, bias), (of_y, of_weight, of_bias) = member, gradients
    y, weight = _scored(y, window), aligned(weight)
    scores = layer_of(y, weight, bias)
    loss, of_scores = head.loss(scores, window.targets)
    of_scores /= window.n_streams
    if window.places is None and is_aligned(of_y):
        torch.mm(of_scores, weight, out=of_y)
    elif window.places is None:
        of_y.copy_(of_scores @ weight)
    else:
        of_y.zero_().index_copy_(0, window.places, of_scores @ weight)
    of_weight.copy_(of_scores.t() @ y)
    of_bias.copy_(of_scores.sum(0))
    return loss / window.n_streams
