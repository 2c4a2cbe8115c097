"""Training through Lightning: (cell, task, K settings, seed, fidelity) -> K outcomes.

The schedule is that of Jozefowicz et al. 2015, section 3.6: a fixed learning rate; after 3 epochs
without improvement on validation it is halved at each of 4 more epochs, then the run stops. The
gradient is that of the loss summed over the steps of a window and averaged over the minibatch.
"""

import copy
import dataclasses
import hashlib
import json
import logging
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from nas.budget import count_params, solve_width
from nas.cell.graph import Cell
from nas.cell.text import loads
from nas.evaluation import Cost, Epoch, Evaluation, Outcome, Result, Settings, Status
from nas.model import SequenceModel
from nas.rnn import States
from nas.tasks.base import Task
from nas.windows import TensorWindow, Totals, WindowData

PATIENCE = 3
"""Epochs without improvement before the learning rate falls (section 3.6)."""
DECAYS = 4
"""Epochs at each of which the learning rate is halved, before the run stops."""

logger = logging.getLogger(__name__)


def train(
    cell: Cell, task: Task, settings: Sequence[Settings], seed: int, fidelity: float = 1.0
) -> list[Outcome]:
    """Train a model of `cell` on `task` for each of the settings; outcomes in the same order.

    The same arguments on one CPU thread give bit-identical outcomes, apart from wall time. A run
    whose loss or gradient is not finite ends at that step and is an outcome, not an exception.

    Raises:
        UserError: if the parameter budget is too small for the cell.
    """
    return [member.outcome for member in train_members(cell, task, settings, seed, fidelity)]


def run(evaluation: Evaluation) -> Result:
    """What a worker does: train all settings, keep the best one's weights."""
    torch.set_num_threads(1)
    cell, task = loads(evaluation.cell), evaluation.task
    members = train_members(
        cell, task, evaluation.settings, evaluation.seed, evaluation.fidelity, evaluation.key
    )
    best: _Member | None = None
    for member in members:
        value = member.outcome.best
        if value is not None and (best is None or task.metric.better(value, _value(best.outcome))):
            best = member
    return Result(tuple(m.outcome for m in members), best.weights if best else None)


@dataclass(frozen=True)
class _Member:
    outcome: Outcome
    weights: bytes | None


def train_members(
    cell: Cell,
    task: Task,
    settings: Sequence[Settings],
    seed: int,
    fidelity: float = 1.0,
    key: str | None = None,
) -> list[_Member]:
    """`train`, with each member's best weights as safetensors."""
    return [_train_one(cell, task, one, seed, fidelity, key or cell.key) for one in settings]


def _value(outcome: Outcome) -> float:
    assert outcome.best is not None
    return outcome.best


def weight_seed(key: str, settings: Settings, seed: int) -> int:
    """Seed of the weights and of dropout: another for every cell and setting."""
    parts = json.dumps([key, dataclasses.asdict(settings), seed], sort_keys=True)
    return int.from_bytes(hashlib.sha256(parts.encode()).digest()[:7])


def _train_one(
    cell: Cell, task: Task, settings: Settings, seed: int, fidelity: float, key: str
) -> _Member:
    started = time.perf_counter()
    width = solve_width(cell, task.vocabulary_size, settings)
    with torch.random.fork_rng(devices=[]):
        model = SequenceModel(
            cell, task.vocabulary_size, width, settings.num_layers, settings.dropout
        )
        own_seed = weight_seed(key, settings, seed)
        torch.manual_seed(own_seed)  # dropout draws from the global generator
        model.reset_parameters(settings.init_scale, torch.Generator().manual_seed(own_seed))
        training = Training(model, task, settings)
        message = ""
        try:
            _fit(training, WindowData(task, seed), max(1, math.ceil(fidelity * task.epochs)))
        except RuntimeError as error:  # torch has no class of its own for this on the CPU
            if "allocate memory" not in str(error) and "out of memory" not in str(error):
                raise
            training.status, message = "out of memory", str(error).splitlines()[0]
    params = count_params(cell, task.vocabulary_size, width, settings.num_layers)
    cost = Cost(
        training.steps,
        training.tokens,
        3.0 * training.tokens * _forward_flops(model, cell),
        time.perf_counter() - started,
    )
    outcome = training.outcome(params, width, cost, message)
    return _Member(outcome, _weights(training, cell, task, settings, key))


def _forward_flops(model: SequenceModel, cell: Cell) -> float:
    """Of one symbol; a backward pass takes about twice as many."""
    rnn = model.rnn
    layers = cell.flops(rnn.input_size, rnn.hidden_size)
    layers += (rnn.num_layers - 1) * cell.flops(rnn.output_size, rnn.hidden_size)
    return layers + 2 * model.head.in_features * model.head.out_features


def _weights(
    training: "Training", cell: Cell, task: Task, settings: Settings, key: str
) -> bytes | None:
    if training.best_weights is None:
        return None
    described = {
        "cell": str(cell),
        "key": key,
        "task": task.name,
        "task_version": task.version,
        "vocabulary_size": task.vocabulary_size,
        "hidden_size": training.model.rnn.hidden_size,
        "num_layers": settings.num_layers,
        "settings": dataclasses.asdict(settings),
    }
    return save(training.best_weights, {"nas": json.dumps(described, sort_keys=True)})


def _fit(training: "Training", data: WindowData, epochs: int) -> None:
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about loader workers, loggers and checkpoints
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # Not the batch system's environment, whose variables it would read.
            plugins=[LightningEnvironment()],
        )
        trainer.fit(training, datamodule=data)


class Training(pl.LightningModule):
    """One training run: plain SGD with clipping, or AdamW, under the schedule of the module."""

    def __init__(self, model: SequenceModel, task: Task, settings: Settings) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.task = task
        self.settings = settings
        self.status: Status = "ok"
        self.steps = 0
        self.tokens = 0
        self.curve: list[Epoch] = []
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_weights: dict[str, Tensor] | None = None
        self.state: States | None = None
        self.train_total = Totals()
        self.validation_total = Totals()
        self.waited = 0

    def outcome(self, params: int, width: int, cost: Cost, message: str) -> Outcome:
        if self.status == "diverged":
            message = f"the loss or its gradient was not finite at step {self.steps}"
        return Outcome(
            self.status,
            self.best,
            self.best_epoch,
            tuple(self.curve),
            params,
            width,
            cost,
            message,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters, rate = self.model.parameters(), self.settings.learning_rate
        if self.settings.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=rate)
        return torch.optim.AdamW(parameters, lr=rate)

    def training_step(self, window: TensorWindow, _: int) -> None:
        optimizer = self.optimizers()
        assert isinstance(optimizer, pl.core.optimizer.LightningOptimizer)
        losses, right, state = self._predict(window)
        self.steps += 1
        self.tokens += window.inputs.numel()
        self.train_total.add(losses, right, window, {})
        loss = losses.sum() / window.inputs.shape[1]
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        if not torch.isfinite(norm + loss.detach()):
            self.status = "diverged"
            self.trainer.should_stop = True
            return
        optimizer.step()
        self.state = _detached(state)

    def _predict(self, window: TensorWindow) -> tuple[Tensor, Tensor, States]:
        """Losses and hits at the scored positions, and the state after the window."""
        logits, state = self.model(window.inputs, None if window.fresh else self.state)
        scored, targets = logits[window.scored], window.targets[window.scored]
        right = scored.detach().argmax(-1) == targets
        return F.cross_entropy(scored, targets, reduction="none"), right, state

    def on_validation_epoch_start(self) -> None:
        self.train_state, self.state = self.state, None
        self.validation_total = Totals()

    def validation_step(self, window: TensorWindow, _: int) -> None:
        if self.status != "ok":
            return
        losses, right, self.state = self._predict(window)
        self.validation_total.add(losses, right, window, window.marks)

    def on_validation_epoch_end(self) -> None:
        self.state = self.train_state
        if self.status != "ok":
            return
        total, optimizer = self.validation_total, self.trainer.optimizers[0]
        rate = optimizer.param_groups[0]["lr"]
        epoch = Epoch(self.train_total.loss, total.loss, total.accuracy, rate, total.marks)
        self.train_total = Totals()
        if not math.isfinite(epoch.loss):
            self.status = "diverged"
            self.trainer.should_stop = True
            return
        self.curve.append(epoch)
        self._follow_schedule(epoch, optimizer)

    def _follow_schedule(self, epoch: Epoch, optimizer: torch.optim.Optimizer) -> None:
        metric = self.task.metric
        value = epoch.accuracy if metric.name == "accuracy" else epoch.loss
        if self.best is None or metric.better(value, self.best):
            self.best, self.best_epoch = value, len(self.curve) - 1
            self.best_weights = copy.deepcopy(self.model.state_dict())
            self.waited = 0 if self.waited < PATIENCE else self.waited + 1
        else:
            self.waited += 1
        if self.waited >= PATIENCE:
            for group in optimizer.param_groups:
                group["lr"] /= 2
        goal = self.task.stop_at
        reached = goal is not None and (value == goal or metric.better(value, goal))
        if reached or self.waited >= PATIENCE + DECAYS:
            self.trainer.should_stop = True


def _detached(state: States) -> States:
    return state.detach() if isinstance(state, Tensor) else tuple(s.detach() for s in state)
