"""What training minimises and what is measured on held-out data: the head's loss of a model's
scores, or the loss that a model has of its own."""

import torch
from torch import Tensor

from nas.compile.layer_pass import Place
from nas.nn.latent_model import HELD_OUT, LatentMembers, generators
from nas.nn.members import Members, MemberStates, ScoringMembers, SequenceMembers
from nas.tasks.base import Task
from nas.training.heads import HeadFunctions, head_of
from nas.training.losses import differentiated, losses, measure
from nas.training.own_metric import OwnMetric
from nas.training.window_tensors import TensorWindow, Totals

N_DRAWS = 64
"""The draws of the importance-weighted bound."""
TIGHTER = f"importance-weighted bound of {N_DRAWS} draws"
"""The mark under which that bound is reported on the test split."""


def training_losses(
    model: Members,
    window: TensorWindow,
    state: MemberStates | None,
    head: HeadFunctions,
    step: int,
) -> tuple[Tensor, MemberStates]:
    """Return the loss, summed over scored positions, a stream of the minibatch, (members,), and
    the states after the window; `step` counts the minibatches before."""
    if isinstance(model, LatentMembers):
        return model.losses(window.inputs, window.laid_out, window.scored, step), []
    assert isinstance(model, ScoringMembers)
    y, state = model.outputs(window.inputs, state)
    found = losses(y, model.head_weight, model.head_bias, window, head)
    added = model.added_loss()
    return found if added is None else found + added, state


def passes(model: Members) -> bool:
    """Whether `losses_and_gradients` knows the model."""
    return isinstance(model, SequenceMembers) and model.passes


def losses_and_gradients(
    model: Members,
    window: TensorWindow,
    state: MemberStates | None,
    head: HeadFunctions,
    place: Place,
) -> tuple[Tensor, MemberStates]:
    """Return what `training_losses` does, with the gradients of the parameters where `place` says
    or in their `grad`: no graph is kept, which takes as long as the C of a small model."""
    assert isinstance(model, SequenceMembers), "`passes` was asked"
    layers = model.passed(window.inputs, state)
    read = (layers[-1].y, model.head_weight, model.head_bias)
    found, (of_y, *_) = differentiated(read, window, head, place)
    layers[-1].back(of_y, place)
    for layer in layers[-2::-1]:
        if layer.y.grad is None:  # a layer above reads no input
            break
        layer.back(layer.y.grad, place)
    return found, [layer.states for layer in layers]


class HeldOut:
    """One pass over the windows of a held-out split."""

    def __init__(self, model: Members, task: Task, *, is_test: bool = False) -> None:
        """On the test split, models with a bound of their own are measured by a tighter one too."""
        self.model, self.head = model, head_of(task)
        self.total, self.own_metric = Totals(model.members), OwnMetric(task)
        self.tighter = Totals(model.members) if is_test else None
        self.state: MemberStates | None = None
        device = model.embedding.device
        seeds = [HELD_OUT] * model.members
        self.noise, self.more_noise = generators(seeds, device), generators(seeds, device)

    @torch.no_grad()
    def add(self, window: TensorWindow) -> None:
        """Measure a window, the next one of the split."""
        if isinstance(self.model, LatentMembers):
            self._add_bound(self.model, window)
            return
        assert isinstance(self.model, ScoringMembers)
        y, self.state = self.model.outputs(window.inputs, None if window.fresh else self.state)
        layer = (self.model.head_weight, self.model.head_bias)
        found, right = measure(y, *layer, window, self.head)
        self.own_metric.add(y, *layer, window)
        self.total.add(found, window, right)

    def _add_bound(self, model: LatentMembers, window: TensorWindow) -> None:
        of_window = (window.inputs, window.laid_out, window.scored)
        self.total.add(model.measured(*of_window, self.noise), window)
        if self.tighter is not None:
            found = model.importance_weighted(*of_window, self.more_noise, N_DRAWS)
            self.tighter.add(found, window)

    @property
    def marks(self) -> list[dict[str, float]]:
        """What is measured beside the metric, of each member by its name."""
        marks = self.own_metric.into(self.total.marks)
        if self.tighter is None or not isinstance(self.model, LatentMembers):
            return marks
        each = zip(marks, self.tighter.losses, strict=True)
        return [{**mark, TIGHTER: value} for mark, value in each]
