"""Training through Lightning: (cell, task, K settings, seed, fidelity) -> K outcomes.

Settings of one width, depth and optimizer train as one stack on the same minibatches; a setting
gives, to the bit on one CPU thread, what it gives alone.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from safetensors.torch import save

from nas.cell.cell import Cell
from nas.cell.reader import loads
from nas.errors import UserError
from nas.nn.budget import count_params, forward_flops, solve_width
from nas.nn.model import described_interface
from nas.nn.settings import Settings, described_stacking
from nas.protocol.device import DEVICE
from nas.protocol.evaluation import Bar, Epoch, Evaluation, Outcome, Result, Veto
from nas.protocol.judgement import best_outcome
from nas.protocol.statistic import planned_epochs
from nas.tasks.base import Task
from nas.tasks.fields import described
from nas.tasks.resolution import scored_steps
from nas.training.device_memory import begin
from nas.training.folds import pooled
from nas.training.objective import HeldOut
from nas.training.run_groups import Work, model_of, train_runs
from nas.training.step_time import step_time
from nas.training.training_run import Run
from nas.training.watcher import Watcher
from nas.training.window_tensors import windows_of


@dataclass(frozen=True)
class Member:
    """A setting's outcome, and the weights of its best epoch as safetensors."""

    outcome: Outcome
    weights: bytes | None


def run(evaluation: Evaluation) -> Result:
    """Train all settings of an evaluation on the worker's device; keep the best one's weights."""
    torch.set_num_threads(1)
    device = os.environ.get(DEVICE, "cpu")
    begin(device)
    members = train_members(evaluation, device)
    outcomes = [member.outcome for member in members]
    best = best_outcome(evaluation.task, outcomes)
    weights = next((m.weights for m in members if m.outcome is best), None)
    if evaluation.time_step and best is not None:
        place = next(k for k, outcome in enumerate(outcomes) if outcome is best)
        outcomes[place] = _timed(evaluation, place, best)
    return Result(tuple(outcomes), weights)


def _timed(evaluation: Evaluation, place: int, outcome: Outcome) -> Outcome:
    """The outcome with the time of a step of its model, measured when training has ended."""
    num_layers = evaluation.settings[place].num_layers
    seconds = step_time(loads(evaluation.cell), outcome.hidden_size, num_layers)
    return replace(outcome, cost=replace(outcome.cost, step_s=seconds))


def train(
    cell: Cell,
    task: Task,
    settings: Sequence[Settings],
    seed: int,
    *,
    fidelity: float = 1.0,
    halving: int = 0,
    device: str = "cpu",
    bar: Bar | None = None,
    veto: Veto = "off",
    on_test: bool = False,
) -> list[Outcome]:
    """Train a model of `cell` on `task` for each of the settings; outcomes in the same order.

    `train_members` says what the arguments do.
    """
    about = (str(cell), cell.key, task, tuple(settings), seed, fidelity, halving, bar, veto)
    evaluation = Evaluation(*about, measure_test=on_test)
    return [member.outcome for member in train_members(evaluation, device)]


def train_members(evaluation: Evaluation, device: str = "cpu") -> list[Member]:
    """Train a model for each of an evaluation's settings; members in the same order.

    The same evaluation on one CPU thread gives bit-identical outcomes, apart from wall time, and
    without `halving` they are those of each setting alone. A run whose loss or gradient is not
    finite ends at that step and is an outcome, not an exception. With `halving`, the best
    1/halving of the runs go on at each rung of `nas.training.successive_halving`, and the others
    are "cut". With a `bar`, all runs are "cut" after its epoch if none has reached it by then; if
    one has, or if the bar's epoch is not before the last, outcomes are those without a bar.
    With `veto` "end", runs that `nas.training.dead_or_exploding` finds before their first step are
    "vetoed"; the outcomes of the others are those without a veto, which `halving` prefers to
    them. With "note" they are trained, and their `doubt` says why they would have been ended.
    With `measure_test` the best epoch's weights are measured on the test split as well
    (`Outcome.test`). Of a cross-validated task each fold is trained so, to its end, without cuts,
    and an outcome is that of all folds (`nas.training.folds`); weights are the first fold's. On a
    device such as "cuda" cells run on the eager backend, all members of a stack in one operation;
    its sums depend on their number.

    Raises:
        UserError: if the parameter budget is too small for the cell, or the bar's epoch below 1.
        MemoryError: if memory runs out for what every machine has room for; a model that is too
            large for this one is an outcome.
    """
    bar, task, key = evaluation.bar, evaluation.task, evaluation.key
    if bar and bar.epoch < 1:
        raise UserError(f"a bar's epoch must be at least 1, got {bar.epoch}.")
    work = Work(loads(evaluation.cell), task, evaluation.seed, device)
    folds = [replace(work, task=fold) for fold in task.in_folds()]
    if len(folds) > 1:  # what is cut in one of them and not in others could not be pooled
        evaluation = replace(evaluation, halving=0, bar=None)
    trained = [_trained(fold, evaluation, place, len(folds)) for place, fold in enumerate(folds)]
    weights = [scored_steps(fold.task, work.seed) for fold in folds] if len(folds) > 1 else [1]
    members = []
    for first, *others in zip(*trained, strict=True):
        outcome = pooled([run.outcome for run in (first, *others)], weights)
        members.append(Member(outcome, _weights(first, work, key)))
        for finished in (first, *others):
            finished.best_weights = None  # once in memory is enough
    return members


def _trained(work: Work, evaluation: Evaluation, fold: int, n_folds: int) -> list[Run]:
    """Train a run for each of an evaluation's settings, on a fold of so many."""
    runs = [
        _run(work.cell, work.task, settings, weight_seed(evaluation.key, settings, work.seed))
        for settings in evaluation.settings
    ]
    n_epochs = planned_epochs(work.task, evaluation.fidelity)
    watched = replace(work, watch=Watcher(work.task, runs, n_epochs, fold, n_folds))
    train_runs(watched, runs, n_epochs, evaluation.halving, evaluation.bar, veto=evaluation.veto)
    for finished in runs if evaluation.measure_test else ():
        measure_test(work, finished)
    return runs


def weight_seed(key: str, settings: Settings, seed: int) -> int:
    """Return the seed of the weights and of dropout: another for every cell and setting."""
    parts = json.dumps([key, described(settings), seed], sort_keys=True)
    return int.from_bytes(hashlib.sha256(parts.encode()).digest()[:7])


def _run(cell: Cell, task: Task, settings: Settings, seed: int) -> Run:
    width = solve_width(cell, task.interface, settings)
    sizes = (cell, task.interface, width, settings.num_layers)
    # A backward pass takes about twice as many as the forward pass.
    return Run(settings, seed, width, count_params(*sizes), 3.0 * forward_flops(*sizes))


def measure_test(work: Work, run: Run) -> None:
    """Note the metric of a run's best weights on the test split; nothing if it has none.

    The test split is read once, with the weights that validation chose, and nothing of it goes back
    into training, so that no choice depends on it.
    """
    if run.best_weights is None:
        return
    began = time.perf_counter()
    model = model_of(work, [run], [0.0]).eval()
    with torch.no_grad():
        for name, view in model.member_state(0).items():
            view.copy_(run.best_weights[name])
    held_out = HeldOut(model, work.task, is_test=True)
    for window in windows_of(work.task, "test", work.seed, 0):
        held_out.add(window.to(torch.device(work.device)))
    total, (marks,) = held_out.total, held_out.marks
    measured = Epoch(0.0, total.losses[0], total.accuracies[0], 0.0, marks)
    run.test = measured.value(work.task.metric)
    run.test_marks = measured.marks
    run.wall_s += time.perf_counter() - began


def _weights(run: Run, work: Work, key: str) -> bytes | None:
    if run.best_weights is None:
        return None
    described_as = {
        "cell": str(work.cell),
        "key": key,
        "task": work.task.name,
        "task_version": work.task.version,
        **described_interface(work.task.interface),
        "hidden_size": run.hidden_size,
        "num_layers": run.settings.num_layers,
        **described_stacking(run.settings.stacking),
        "settings": described(run.settings),
        "weight_seed": run.seed,
        "answers": work.task.answers,
        **({"legend": legend} if (legend := work.task.legend()) else {}),
    }
    return save(run.best_weights, {"nas": json.dumps(described_as, sort_keys=True)})
