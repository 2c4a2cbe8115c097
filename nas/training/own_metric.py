"""A metric of a user's own: a function of all scores of a split, of each member of a stack."""

import numpy as np
import torch
from torch import Tensor

from nas.tasks.base import Task
from nas.tasks.named import Named
from nas.training.losses import scores_of
from nas.training.window_tensors import TensorWindow


class OwnMetric:
    """The scores of the members at a split's scored positions; nothing for tasks without a metric
    function."""

    def __init__(self, task: Task) -> None:
        self.task = task if isinstance(task, Named) and task.function else None
        self.scores: list[Tensor] = []
        """Of each window, (members, scored, outputs)."""
        self.targets: list[Tensor] = []

    def add(self, y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow) -> None:
        """Add a window: y is (members, rows, width), the layer as in `nas.training.losses`."""
        if self.task is not None:
            self.scores.append(torch.stack(list(scores_of(y, weight, bias, window))).cpu())
            self.targets.append(window.targets.cpu())

    def into(self, marks: list[dict[str, float]]) -> list[dict[str, float]]:
        """Add the metric of each member to its marks, by its name; a member whose scores are not
        finite, and whose run so diverged, has none."""
        if self.task is None:
            return marks
        scores, targets = torch.cat(self.scores, 1).numpy(), torch.cat(self.targets).numpy()
        return [
            {**mark, self.task.function: self.task.measured(np.ascontiguousarray(each), targets)}
            if np.isfinite(each).all()
            else mark
            for mark, each in zip(marks, scores, strict=True)
        ]
