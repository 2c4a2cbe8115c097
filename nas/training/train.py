"""Training through Lightning: (cell, task, K settings, seed, fidelity) -> K outcomes.

Settings of one width, depth and optimizer train as one stack on the same minibatches; what a
setting gives is, to the bit on one CPU thread, what it gives alone. `nas/training/` holds the
parts: the schedule of a run, the optimizer, the losses, the Lightning module, the groups.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import save

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.errors import UserError
from nas.nn.budget import count_params, forward_flops, solve_width
from nas.nn.model import described_interface
from nas.nn.settings import Settings, described, described_stacking
from nas.protocol.evaluation import DEVICE, Bar, Evaluation, Outcome, Result, Veto
from nas.tasks.base import Task
from nas.training.groups import Work, train_runs
from nas.training.measuring import measure_test
from nas.training.run import Run


def train(
    cell: Cell,
    task: Task,
    settings: Sequence[Settings],
    seed: int,
    fidelity: float = 1.0,
    halving: int = 0,
    device: str = "cpu",
    bar: Bar | None = None,
    veto: Veto = "off",
    *,
    on_test: bool = False,
) -> list[Outcome]:
    """Train a model of `cell` on `task` for each of the settings; outcomes in the same order.

    The same arguments on one CPU thread give bit-identical outcomes, apart from wall time, and
    without `halving` they are those of each setting alone. A run whose loss or gradient is not
    finite ends at that step and is an outcome, not an exception. With `halving`, the best
    1/halving of the runs go on at each rung of `nas.training.halving`, and the others are "cut".
    With a `bar`, all runs are "cut" after its epoch if none has reached it by then; if one has, or
    if the bar's epoch is not before the last, outcomes are those without a bar.
    With `veto` "end", runs that `nas.training.veto` finds dead or exploding before their first step
    are "vetoed"; the outcomes of the others are those without a veto, which `halving` prefers to
    them. With "note" they are trained, and their `doubt` says why they would have been ended.
    `on_test`: the best epoch's weights are measured on the test split as well (`Outcome.test`).
    On a `device` such as "cuda" cells run on the eager backend, all members of a stack in one
    operation; its sums depend on their number.

    Raises:
        UserError: if the parameter budget is too small for the cell, or the bar's epoch below 1.
    """
    trained = train_members(
        cell,
        task,
        settings,
        seed,
        fidelity,
        halving,
        device=device,
        bar=bar,
        veto=veto,
        on_test=on_test,
    )
    return [member.outcome for member in trained]


def run(evaluation: Evaluation) -> Result:
    """What a worker does: train all settings on its device, keep the best one's weights."""
    torch.set_num_threads(1)
    task = evaluation.task
    members = train_members(
        loads(evaluation.cell),
        task,
        evaluation.settings,
        evaluation.seed,
        evaluation.fidelity,
        evaluation.halving,
        evaluation.key,
        device=os.environ.get(DEVICE, "cpu"),
        bar=evaluation.bar,
        veto=evaluation.veto,
        on_test=evaluation.measure_test,
    )
    best: Member | None = None
    for member in members:
        value = member.outcome.best
        if value is not None and (best is None or task.metric.better(value, _value(best.outcome))):
            best = member
    return Result(tuple(m.outcome for m in members), best.weights if best else None)


@dataclass(frozen=True)
class Member:
    """A setting's outcome, and the weights of its best epoch as safetensors."""

    outcome: Outcome
    weights: bytes | None


def train_members(
    cell: Cell,
    task: Task,
    settings: Sequence[Settings],
    seed: int,
    fidelity: float = 1.0,
    halving: int = 0,
    key: str | None = None,
    device: str = "cpu",
    bar: Bar | None = None,
    veto: Veto = "off",
    *,
    on_test: bool = False,
) -> list[Member]:
    """`train`, with each member's best weights."""
    if bar and bar.epoch < 1:
        raise UserError(f"a bar's epoch must be at least 1, got {bar.epoch}.")
    key = key or cell.key
    runs = [_run(cell, task, one, weight_seed(key, one, seed)) for one in settings]
    n_epochs = max(1, math.ceil(fidelity * task.epochs))
    work = Work(cell, task, seed, device)
    train_runs(work, runs, n_epochs, halving, bar, veto=veto)
    members = []
    for one in runs:
        if on_test:
            measure_test(work, one)
        members.append(Member(one.outcome, _weights(one, cell, task, key)))
        one.best_weights = None  # once in memory is enough
    return members


def _value(outcome: Outcome) -> float:
    assert outcome.best is not None
    return outcome.best


def weight_seed(key: str, settings: Settings, seed: int) -> int:
    """Seed of the weights and of dropout: another for every cell and setting."""
    parts = json.dumps([key, described(settings), seed], sort_keys=True)
    return int.from_bytes(hashlib.sha256(parts.encode()).digest()[:7])


def _run(cell: Cell, task: Task, settings: Settings, seed: int) -> Run:
    width = solve_width(cell, task.interface, settings)
    sizes = (cell, task.interface, width, settings.num_layers)
    # A backward pass takes about twice as many as the forward pass.
    return Run(settings, seed, width, count_params(*sizes), 3.0 * forward_flops(*sizes))


def _weights(run: Run, cell: Cell, task: Task, key: str) -> bytes | None:
    if run.best_weights is None:
        return None
    described_as = {
        "cell": str(cell),
        "key": key,
        "task": task.name,
        "task_version": task.version,
        **described_interface(task.interface),
        "hidden_size": run.hidden_size,
        "num_layers": run.settings.num_layers,
        **described_stacking(run.settings.stacking),
        "settings": described(run.settings),
        **({"legend": legend} if (legend := task.legend()) else {}),
    }
    return save(run.best_weights, {"nas": json.dumps(described_as, sort_keys=True)})
