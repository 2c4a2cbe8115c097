"""The unit of work of a search: (cell, task, K settings, seed, fidelity) -> K outcomes.

Plain data without torch: the coordinator makes evaluations and stores outcomes, only workers train.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from nas.nn.settings import Settings
from nas.tasks.base import Metric, Task
from nas.tasks.fields import described

Status = Literal[
    "ok", "cut", "vetoed", "diverged", "failed", "crashed", "out of memory", "timed out"
]
"""The status of a training run: "cut" if others were preferred to it before its end, "vetoed" if it
was not begun because the cell is dead or explodes at its initialisation, "crashed" if the worker of
its evaluation died each time."""

Veto = Literal["off", "end", "note"]


@dataclass(frozen=True)
class Cost:
    """The cost of a training run. Wall time is not compared: it is the only part that varies."""

    steps: int = 0
    tokens: int = 0
    flops: float = 0.0
    wall_s: float = dataclasses.field(default=0.0, compare=False)
    saved_flops: float = 0.0
    """Operations, at most, that a run which was cut or vetoed did not do up to its last epoch."""
    step_s: float = dataclasses.field(default=0.0, compare=False)
    """Seconds of one step of one sequence with the layers of this run's model, if that was measured
    (`nas/training/step_time.py`); else 0."""


@dataclass(frozen=True)
class Epoch:
    """Measurements on the validation split after one epoch; losses a scored position, in the unit
    of the task."""

    train_loss: float
    loss: float
    accuracy: float
    """The share of scored positions that are right; 0 for a Gaussian head, which has none."""
    learning_rate: float
    marks: dict[str, float] = dataclasses.field(default_factory=dict)
    """Accuracy on further named sets of positions, such as the closing tags of XML; or the value of
    a metric of a user's own, by its name."""

    def value(self, metric: Metric) -> float:
        """Return the measurement that is compared."""
        if metric.mark or metric.is_own:
            return self.marks[metric.mark or metric.name]
        return self.accuracy if metric.name == "accuracy" else self.loss


@dataclass(frozen=True)
class Outcome:
    """The result of one training run."""

    status: Status
    best: float | None = None
    """Best value of the task's metric on validation; None if no epoch was finished."""
    best_epoch: int | None = None
    curve: tuple[Epoch, ...] = ()
    n_params: int = 0
    hidden_size: int = 0
    cost: Cost = Cost()
    message: str = ""
    doubt: str = ""
    """Why a veto would have ended the run, where vetoes are only noted."""
    test: float | None = None
    """The metric on the test split with the weights of the best epoch, if it was measured."""
    test_marks: dict[str, float] = dataclasses.field(default_factory=dict)
    """`Epoch.marks` on the test split, and the tighter bound of a model with latent variables."""

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Outcome":
        curve = tuple(Epoch(**epoch) for epoch in data["curve"])
        return Outcome(**{**data, "curve": curve, "cost": Cost(**data["cost"])})


@dataclass(frozen=True)
class Bar:
    """The condition of an early look: a metric that one of the settings must have reached."""

    epoch: int
    """After how many epochs, at least 1."""
    value: float
    """The value of the task's metric on validation."""


@dataclass(frozen=True)
class Evaluation:
    """One unit of work. The same evaluation gives the same outcomes on the same kind of device."""

    cell: str
    """The cell as text."""
    key: str
    """The cell's key: two texts of one key share their outcomes."""
    task: Task
    settings: tuple[Settings, ...]
    seed: int
    """The seed of weights, dropout and data; all cells of a study share the data."""
    fidelity: float = 1.0
    """Share of the task's epochs to train, in (0, 1]."""
    halving: int = 0
    """Successive halving: the best 1/halving of the settings go on at each rung; 0: all do."""
    bar: Bar | None = None
    """If none of the settings reaches it in time, all are cut there."""
    veto: Veto = "off"
    """Whether settings with which the cell is dead or explodes at its start are not trained (end),
    or trained with a note of that; see `Outcome.doubt`."""
    measure_test: bool = False
    """Whether the best epoch of each run, chosen on validation, is measured on the test split."""
    repeat: int = 0
    """1 for the second measurement of what was measured with another seed. It only says why: the
    seed tells the two apart."""
    time_step: bool = False
    """Whether a step of the best setting's model is timed after training. It is no part of the
    digest, as no time is."""

    def digest(self) -> str:
        """Return the index of the cache of outcomes: it has the cell's key, not its text."""
        parts = [
            self.key,
            self.task.version,
            [described(settings) for settings in self.settings],
            self.seed,
            self.fidelity,
            *([self.halving] if self.halving else []),
            *([dataclasses.asdict(self.bar)] if self.bar else []),
            *([f"veto {self.veto}"] if self.veto != "off" else []),
            *(["test"] if self.measure_test else []),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Result:
    """The answer of a worker: an outcome for each setting, in order, and the best one's weights."""

    outcomes: tuple[Outcome, ...]
    weights: bytes | None = None
    """The best member's model as safetensors, described in its metadata."""
