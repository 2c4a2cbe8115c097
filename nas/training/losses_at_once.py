"""The output layer and the loss of all members in one operation each, for GPUs.

On the CPU members run in turn (`losses.py`), so that none depends on the others by a bit. On a GPU
that would be hundreds of launches a minibatch, and a wait for each member.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.training.heads import HEADS, HeadFunctions
from nas.training.window_tensors import TensorWindow


def scores_at_once(y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> Tensor:
    """Return the scores of all members at the scored positions, (members, scored, outputs)."""
    return torch.baddbmm(bias.unsqueeze(1), _scored(y, window), weight.mT)


def differentiated_at_once(
    y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow, head: HeadFunctions
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return the losses, summed over scored positions, a stream, (members,), and the gradients of
    their sum by y, weight and bias."""
    losses, of_scores = losses_of(scores_at_once(y, weight, bias, window), window, head)
    of_scores = of_scores / window.n_streams
    of_y = torch.bmm(of_scores, weight)
    if window.places is not None:
        of_y = torch.zeros_like(y).index_copy_(1, window.places, of_y)
    of_weight = torch.bmm(of_scores.mT, _scored(y, window))
    return losses / window.n_streams, (of_y, of_weight, of_scores.sum(1))


def losses_of(scores: Tensor, window: TensorWindow, head: HeadFunctions) -> tuple[Tensor, Tensor]:
    """Return the head's loss of each member, (members,), and its gradient by the scores."""
    loss = _loss_of_all(head)
    if loss is not None:
        losses, gradients = torch.vmap(loss, in_dims=(0, None))(scores, window.targets)
        return losses, gradients
    found = [head.loss(one, window.targets) for one in scores]  # a function of the user's own
    return torch.stack([one for one, _ in found]), torch.stack([one for _, one in found])


def rights_of(scores: Tensor, window: TensorWindow, head: HeadFunctions) -> Tensor:
    """Return whether each guess is right, (members, scored)."""
    rights: Tensor = torch.vmap(head.right, in_dims=(0, None))(scores, window.targets)
    return rights


def _scored(y: Tensor, window: TensorWindow) -> Tensor:
    return y if window.places is None else y.index_select(1, window.places)


def _loss_of_all(
    head: HeadFunctions,
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """The loss of a head as a function without branches; None for a user's own."""
    if head.loss is HEADS["categorical"].loss:
        return _categorical
    return head.loss if any(head.loss is known.loss for known in HEADS.values()) else None


def _categorical(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """-ln softmax(logits)[target]; its gradient is softmax(logits), less 1 at the target."""
    logs, places = torch.log_softmax(logits, 1), targets.unsqueeze(1)
    at_target = torch.zeros_like(logs).scatter(1, places, 1.0)
    return -logs.gather(1, places).sum(), logs.exp() - at_target
