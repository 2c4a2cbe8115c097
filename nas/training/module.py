"""The Lightning module that trains a stack of runs.

Members end at different times: one that diverges leaves the stack at that step, before it changes
anything; one that its schedule stops leaves at the end of that epoch. The gradient is that of the
loss summed over the steps of a window and averaged over the minibatch.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Self

import pytorch_lightning as pl
import torch
from torch import Tensor

from nas.nn.members import Members, MemberStates
from nas.protocol.evaluation import Epoch
from nas.tasks.base import Task
from nas.training.heads import head_of
from nas.training.objective import HeldOut, losses_and_gradients, passes, training_losses
from nas.training.optimizer import StackedOptimizer
from nas.training.schedule import advance
from nas.training.training_run import Run
from nas.training.window_tensors import Batch, TensorWindow, Totals


class Training(pl.LightningModule):
    """Trains runs of one cell, width, depth and optimizer; `runs` are those that still train."""

    def __init__(
        self,
        model: Members,
        task: Task,
        runs: Sequence[Run],
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """`watch` is called after each batch and epoch."""
        super().__init__()
        self.start_clock()  # the time in which loops are compiled counts
        self.watch = watch
        self.automatic_optimization = False
        self.model, self.task, self.runs = model, task, list(runs)
        self.head = head_of(task)
        self.passes = passes(model)
        settings = [run.settings for run in runs]
        self.optimizer = StackedOptimizer(list(model.parameters()), settings)
        self.state: MemberStates | None = None
        self.train_total = Totals(len(self.runs))
        self.held_out: HeldOut | None = None

    def configure_optimizers(self) -> None:
        """Return nothing: `StackedOptimizer` takes a step for all members at once."""

    def cpu(self) -> Self:
        """Stay on the device, which Lightning would leave after each `fit`: the parameters are
        views of the optimizer's memory, and the next `fit` goes on with them."""
        return self

    def training_step(self, batch: Batch, _: int) -> None:
        for window in batch:
            if self.runs:
                self._update(window)
        self.watch()

    def _update(self, window: TensorWindow) -> None:
        state = None if window.fresh else self.state
        found, self.state = self._differentiated(window, state)
        self.train_total.add(found, window)
        for run in self.runs:
            run.steps += 1
            run.tokens += window.n_tokens
        norms = self.optimizer.take_gradients()
        finite = torch.isfinite(norms + found)
        if not finite.all():
            for run, is_finite in zip(self.runs, finite.tolist(), strict=True):
                if not is_finite:
                    run.diverge()
            norms = norms[finite]
            self.share_time()
            self.drop_ended()
        if self.runs:
            self.optimizer.step(norms)

    def _differentiated(
        self, window: TensorWindow, state: MemberStates | None
    ) -> tuple[Tensor, MemberStates]:
        """The losses, (members,), and the states after the window; gradients are found too."""
        about = (self.model, window, state, self.head)
        if self.passes:
            return losses_and_gradients(*about, self.optimizer.place)
        found, state = training_losses(*about, self.runs[0].steps)
        self.manual_backward(found.sum())
        return found.detach(), [[tensor.detach() for tensor in layer] for layer in state]

    def on_validation_epoch_start(self) -> None:
        self.held_out = HeldOut(self.model, self.task)

    def validation_step(self, batch: Batch, _: int) -> None:
        for window in batch:
            if self.runs and self.held_out is not None:
                self.held_out.add(window)

    def on_validation_epoch_end(self) -> None:
        if not self.runs or self.held_out is None:
            return
        total, rates = self.held_out.total, [run.schedule.rate for run in self.runs]
        marks = self.held_out.marks
        parts = (self.train_total.losses, total.losses, total.accuracies, rates, marks)
        for place, (run, *epoch) in enumerate(zip(self.runs, *parts, strict=True)):
            self._follow(place, run, Epoch(*epoch))
        self.share_time()
        self.watch()
        self.drop_ended()
        self.train_total = Totals(len(self.runs))
        self.optimizer.set_rates([run.schedule.rate for run in self.runs])

    def _follow(self, place: int, run: Run, epoch: Epoch) -> None:
        """Add an epoch to a run's curve, and follow its schedule."""
        if not math.isfinite(epoch.loss):
            run.diverge()
            return
        run.curve.append(epoch)
        metric = self.task.metric
        value = epoch.value(metric)
        run.schedule = advance(run.schedule, value, metric, self.task.stop_at)
        if run.schedule.improved:
            state = self.model.member_state(place)
            run.best_weights = {name: tensor.clone() for name, tensor in state.items()}
        if run.schedule.finished:
            run.end("ok")

    def drop_ended(self) -> None:
        """Take runs that have ended out of the stack, and stop if none is left."""
        kept = [place for place, run in enumerate(self.runs) if not run.ended]
        everyone = len(kept) == len(self.runs)
        self.runs = [self.runs[place] for place in kept]
        if not kept:
            self.trainer.should_stop = True
        elif not everyone:
            self.model.keep(kept)
            self.optimizer.keep(kept)
            self.train_total.keep(kept)
            self.state = [[tensor[kept] for tensor in layer] for layer in self.state or []]

    def start_clock(self) -> None:
        """Measure time from now on."""
        self.clock_s = time.perf_counter()

    def share_time(self) -> None:
        """Divide the time since the last call, of this or `start_clock`, between the runs."""
        now = time.perf_counter()
        for run in self.runs:
            run.wall_s += (now - self.clock_s) / len(self.runs)
        self.clock_s = now

    def release(self) -> None:
        """Drop all tensors: Lightning's objects refer to one another and to this module."""
        del self.model, self.optimizer
        self.state = self.held_out = None
