"""The output layer and the loss of all members in one autograd function.

Members run in turn on operands that lie in memory as those of a member alone do, so that a member's
loss and gradients do not depend on the others. The gradient of the logits is found with the loss
and goes through the output layer at once: no logits are kept.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.compile.eager import aligned
from nas.stack import head
from nas.windows import TensorWindow


def losses(y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> Tensor:
    """Cross entropy in nats, summed over the scored positions: (members,).

    y is (members, rows, width), weight (members, vocabulary, width), bias (members, vocabulary).
    """
    result: Tensor = _Losses.apply(y, weight, bias, window)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def measure(y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> tuple[Tensor, Tensor]:
    """The same losses, and whether the likeliest symbol is right: (members, scored positions)."""
    found = []
    for one in zip(y, weight, bias, strict=True):
        logits = head(_scored(one[0], window), *one[1:])
        right = logits.argmax(1) == window.targets
        found.append((_loss(torch.log_softmax(logits, 1), window), right))
    return torch.stack([loss for loss, _ in found]), torch.stack([right for _, right in found])


def _scored(y: Tensor, window: TensorWindow) -> Tensor:
    return aligned(y) if window.places is None else y.index_select(0, window.places)


def _loss(logs: Tensor, window: TensorWindow) -> Tensor:
    return -logs.gather(1, window.targets.unsqueeze(1)).sum()


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> Tensor:
        found, gradients = [], []
        for rows, w, b in zip(y, weight, bias, strict=True):
            loss, of_rows, of_weight, of_bias = _with_gradients(_scored(rows, window), w, b, window)
            found.append(loss)
            if window.places is not None:
                of_rows = torch.zeros_like(rows).index_copy_(0, window.places, of_rows)
            gradients.append((of_rows, of_weight, of_bias))
        ctx.save_for_backward(*(torch.stack(parts) for parts in zip(*gradients, strict=True)))
        return torch.stack(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        of_rows, of_weight, of_bias = ctx.saved_tensors
        each = gradient.view(-1, 1, 1)
        return of_rows * each, of_weight * each, of_bias * each[:, 0], None


def _with_gradients(
    rows: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One member's loss, and its gradients by rows, weight and bias."""
    weight = aligned(weight)
    logs = torch.log_softmax(head(rows, weight, bias), 1)
    loss = _loss(logs, window)
    # Of -log softmax(z)[target] the gradient by z is softmax(z), less 1 at the target.
    of_logits = logs.exp_()
    targets = window.targets.unsqueeze(1)
    of_logits.scatter_add_(1, targets, of_logits.new_full((), -1.0).expand(targets.shape))
    return loss, of_logits @ weight, of_logits.t() @ rows, of_logits.sum(0)
