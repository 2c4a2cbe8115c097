"""What is wrong with a loss of a user's own, in sentences."""

from collections.abc import Iterator

import numpy as np
import torch

from nas.tasks.labelled import Array
from nas.tasks.named import Named
from nas.tasks.own import Scores
from nas.training.heads import head_of


def loss_faults(task: Named, right: Scores, targets: Array) -> Iterator[str]:
    """Yield a sentence for each rule that the loss of a task breaks; `right` are scores (n,
    outputs) that are certain of the targets.

    Raises:
        UserError: if the loss has another shape, or no gradient.
    """
    loss, wanted = head_of(task).loss, torch.from_numpy(targets)
    scores = np.random.default_rng(0).standard_normal(right.shape, dtype=np.float32)
    (first, gradient), (again, _) = (loss(torch.from_numpy(scores), wanted) for _ in range(2))
    if not (torch.isfinite(first) and torch.isfinite(gradient).all()):
        yield f"the loss and its gradient must be finite for finite scores, got {float(first):g}."
        return
    if float(first) != float(again):
        yield "the loss must be the same each time for the same scores."
    of_right = float(loss(torch.from_numpy(right), wanted)[0])
    if not of_right < float(first):
        n = len(targets)
        yield (
            "the loss must be smaller for right answers than for guesses, got "
            f"{of_right / n:.4g} and {float(first) / n:.4g} a position."
        )
