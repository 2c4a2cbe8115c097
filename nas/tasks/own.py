"""What users write for a task of their own, `nas.Task`: loaders, a head, a loss and a metric."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.labelled import Array, DeclaredHead

Scores = NDArray[np.float32]
MetricFunction = Callable[[Scores, Array], float]
"""From scores, (n, outputs), and targets at all scored positions of a split to one number, at least
0. Scores are of the classes, or logits of bits, or numbers; targets are classes, (n,), or bits or
numbers, (n, outputs)."""
LossFunction = Callable[[Any, Any], Any]
"""From the scores and targets of a minibatch, torch tensors as above, to the loss of each position,
(n,), or their sum, (), which autograd differentiates."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnTask:
    """A task of your own, `nas.Task`, in a module that workers can import.

        # my_tasks.py
        digits = nas.Task(train=train_loader, validation=val_loader, test=test_loader, metric=f1,
                          higher_is_better=True)

        nas.search(tasks=["my_tasks:digits"])

    Each split is a DataLoader, or any iterable of batches, a Dataset of single sequences, or a
    tuple of arrays; or a function without arguments that returns one of these, which reads nothing
    before it is needed. A batch is (x, y) or (x, y, lengths), or x alone with a `horizon`: x are
    tokens (batch, time) or features (batch, time, features), y goes with the head. The sequences
    are read once, whatever their order; a task's own seeds batch and shuffle them.
    `nas.check_task("my_tasks:digits")` says what is wrong with it.
    """

    train: Any
    validation: Any
    test: Any
    head: DeclaredHead = "class"
    """class: one of several a sequence, y (batch,); categorical: at each step, (batch, time);
    bernoulli: bits, and gaussian: numbers, (batch, time, outputs) or (batch, outputs)."""
    metric: MetricFunction | Literal["accuracy", "loss"] | None = None
    """A function of scores (n, outputs) and targets; None: accuracy for classes, else the loss."""
    higher_is_better: bool | None = None
    """The direction of a metric function, which needs one."""
    unit: str = ""
    """What a metric function's numbers are, such as "share of sequences"."""
    perfect: float | None = None
    """The metric that no predictor surpasses, if it is known."""
    loss: LossFunction | None = None
    """What is minimised, in torch, instead of the head's -ln P or squared error."""
    horizon: int = 0
    """If above 0, x so many steps later is predicted, in place of y."""
    batch_first: bool = True
    """Whether x is (batch, time, …); else (time, batch, …)."""
    normalise: bool = True
    """Whether features and numbers are scaled to mean 0 and deviation 1 of the training split."""
    folds: int = 0
    """At least 2: cross-validation, as of the task `arrays`."""
    n_params: int | Sequence[int] = 25_000
    """Parameter budgets."""
    epochs: int = 10
    batches_per_epoch: int = 100
    validation_batches: int = 20
    batch_size: int = 20
    stop_at: float | None = None
    """A training run stops once validation reaches this value of the metric."""

    def __post_init__(self) -> None:
        if callable(self.metric):
            if self.higher_is_better is None:
                raise UserError(
                    "nas.Task: higher_is_better must be True or False for a metric function."
                )
            if (name := name_of(self.metric)) in ("accuracy", "loss", "<lambda>"):
                raise UserError(
                    f"nas.Task: the metric function is shown by its name, which cannot be {name}: "
                    "give it another one, with def."
                )
        elif self.metric not in (None, "accuracy", "loss"):
            raise UserError(
                f'nas.Task: metric must be a function, "accuracy" or "loss", got {self.metric!r}.'
            )
        is_class = self.head in ("class", "categorical")
        if self.loss is not None and (self.metric == "loss" or not (self.metric or is_class)):
            raise UserError(
                "nas.Task: with a loss of your own the metric must be a function or accuracy: no "
                "simple predictor can be measured by that loss."
            )


def name_of(function: object) -> str:
    """The name of a function, or of the class of a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))
