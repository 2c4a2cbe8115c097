"""The output layer and the loss of all members in one autograd function.

Members run in turn on operands that lie in memory as those of a member alone do, so that a member's
loss and gradients do not depend on the others. The gradient of the logits is found with the loss
and goes through the output layer at once: no logits are kept.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.compile.eager import aligned, is_aligned
from nas.stack import head
from nas.windows import TensorWindow

SMALL = 1e-30
"""Shares below this are near what float32 cannot hold, and their logarithm is found otherwise."""


def losses(y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> Tensor:
    """Cross entropy in nats, summed over scored positions, a stream of the minibatch: (members,).

    y is (members, rows, width), weight (members, vocabulary, width), bias (members, vocabulary).
    """
    result: Tensor = _Losses.apply(y, weight, bias, window)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def measure(y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> tuple[Tensor, Tensor]:
    """The same losses, and whether the likeliest symbol is right: (members, scored positions)."""
    found = []
    for rows, *layer in zip(y, weight, bias, strict=True):
        logits = head(_scored(rows, window), *layer)
        right = logits.argmax(1) == window.targets
        found.append((_loss(logits, torch.softmax(logits, 1), window), right))
    return torch.stack([loss for loss, _ in found]), torch.stack([right for _, right in found])


def _scored(y: Tensor, window: TensorWindow) -> Tensor:
    return aligned(y) if window.places is None else y.index_select(0, window.places)


def _loss(logits: Tensor, shares: Tensor, window: TensorWindow) -> Tensor:
    """One member's loss, from its logits and their softmax."""
    targets = window.targets.unsqueeze(1)
    chosen = shares.gather(1, targets)
    logs = chosen.log()
    if len(chosen) and chosen.min() < SMALL:  # a second pass over the logits, where it is needed
        exact = torch.log_softmax(logits, 1).gather(1, targets)
        logs = torch.where(chosen < SMALL, exact, logs)
    return logs.sum() / -window.n_streams


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> Tensor:
        gradients = [torch.empty_like(of) for of in (y, weight, bias)]
        members = zip(y, weight, bias, *gradients, strict=True)
        found = [_differentiate(window, *member) for member in members]
        ctx.save_for_backward(*gradients)
        return torch.stack(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        of_y, of_weight, of_bias = ctx.saved_tensors
        if (gradient == 1).all():  # of the sum of the losses: a pass over all of y less
            return of_y, of_weight, of_bias, None
        each = gradient.view(-1, 1, 1)
        return of_y * each, of_weight * each, of_bias * each[:, 0], None


def _differentiate(
    window: TensorWindow,
    y: Tensor,
    weight: Tensor,
    bias: Tensor,
    of_y: Tensor,
    of_weight: Tensor,
    of_bias: Tensor,
) -> Tensor:
    """One member's loss; its gradients are written to the last three."""
    y, weight = _scored(y, window), aligned(weight)
    logits = head(y, weight, bias)
    shares = torch.softmax(logits, 1)
    loss = _loss(logits, shares, window)
    # Of -log softmax(z)[target] the gradient by z is softmax(z), less 1 at the target.
    of_logits = shares
    targets = window.targets.unsqueeze(1)
    of_logits.scatter_add_(1, targets, of_logits.new_full((), -1.0).expand(targets.shape))
    of_logits /= window.n_streams
    if window.places is None and is_aligned(of_y):
        torch.mm(of_logits, weight, out=of_y)
    elif window.places is None:
        of_y.copy_(of_logits @ weight)
    else:
        of_y.zero_().index_copy_(0, window.places, of_logits @ weight)
    of_weight.copy_(of_logits.t() @ y)
    of_bias.copy_(of_logits.sum(0))
    return loss
