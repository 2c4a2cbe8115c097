"""The heads: the loss of the output layer's numbers, with its gradient, and which are right.

A new head is a name in `nas.tasks.base.Head` and a row of `HEADS`; the tests compare every row with
torch's own loss and autograd.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.errors import UserError
from nas.tasks.base import Head, Task
from nas.tasks.named import Named
from nas.tasks.own import LossFunction

SMALL = 1e-30
"""Shares below this are almost too small for float32: log_softmax gives their logarithm."""


@dataclass(frozen=True)
class HeadFunctions:
    """Functions of a member's scores, (scored, outputs), and targets, (scored,) or like scores."""

    loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """The loss, summed over the positions, and its gradient by the scores."""
    right: Callable[[Tensor, Tensor], Tensor]
    """Which positions are right, (scored,)."""


def _categorical(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """-ln softmax(logits)[target]."""
    shares, places = torch.softmax(logits, 1), targets.unsqueeze(1)
    chosen = shares.gather(1, places)
    logs = chosen.log()
    if len(chosen) and chosen.min() < SMALL:  # a second pass over the logits, where it is needed
        exact = torch.log_softmax(logits, 1).gather(1, places)
        logs = torch.where(chosen < SMALL, exact, logs)
    # The gradient is softmax(logits), less 1 at the target.
    shares.scatter_add_(1, places, shares.new_full((), -1.0).expand(places.shape))
    return -logs.sum(), shares


def _likeliest(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.argmax(1) == targets


def _bernoulli(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """-ln P(bits), summed over the bits of a position."""
    targets = targets.to(logits)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return loss, torch.sigmoid(logits).sub_(targets)


def _all_bits(logits: Tensor, targets: Tensor) -> Tensor:
    return ((logits > 0) == (targets > 0)).all(1)


def _gaussian(means: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The squared error, the mean over the numbers of a position."""
    apart = means - targets.to(means)
    n_numbers = means.shape[1]
    return apart.square().sum() / n_numbers, apart * (2 / n_numbers)


def _none_is(means: Tensor, _: Tensor) -> Tensor:
    """Return that no guess is right: numbers are near or far."""
    return torch.zeros(len(means), dtype=torch.bool, device=means.device)


HEADS: dict[Head, HeadFunctions] = {
    "categorical": HeadFunctions(_categorical, _likeliest),
    "bernoulli": HeadFunctions(_bernoulli, _all_bits),
    "gaussian": HeadFunctions(_gaussian, _none_is),
}

AnyHead = Head | HeadFunctions


def functions_of(head: AnyHead) -> HeadFunctions:
    """The functions of a head that is named."""
    return head if isinstance(head, HeadFunctions) else HEADS[head]


def name_of(functions: HeadFunctions) -> Head | None:
    """The name of a head's functions; None for a loss of a user's own."""
    return next((name for name, known in HEADS.items() if known is functions), None)


def head_of(task: Task) -> HeadFunctions:
    """The functions of a task's head, with the loss of a user's own if it has one."""
    usual = HEADS[task.interface.head]
    if not isinstance(task, Named) or task.definition.loss is None:
        return usual
    return HeadFunctions(differentiated(task.definition.loss, task.where), usual.right)


def differentiated(
    function: LossFunction, where: str
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A user's loss, of each position or their sum, with its gradient by autograd."""

    def loss(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = scores.detach().requires_grad_()
            value = function(leaf, targets)
            if not isinstance(value, Tensor) or value.shape not in ((), (len(scores),)):
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise UserError(
                    f"{where}: the loss must be a tensor of one number a position, "
                    f"({len(scores)},), or their sum, (), got {got}."
                )
            total = value.sum()
            if not total.requires_grad:
                raise UserError(
                    f"{where}: the loss must depend on the scores by torch's operations alone, "
                    "which autograd differentiates."
                )
            (gradient,) = torch.autograd.grad(total, leaf)
        return total.detach(), gradient

    return loss
