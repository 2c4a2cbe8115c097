"""Runs in groups, each trained as one stack by Lightning; cuts are made across all groups.

The result of a run depends on no other run, so groups may be split to fit into memory.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from nas.cell.cell import Cell
from nas.cell.count import size
from nas.compile.graphs import forget
from nas.nn.kinds import members_of
from nas.nn.layout import layout
from nas.nn.members import Members
from nas.protocol.evaluation import Bar, Veto
from nas.tasks.base import Metric, Task
from nas.tasks.kinds import LatentKind, RegionsKind
from nas.training.dead_or_exploding import vetoes
from nas.training.device_memory import OF_PROCESS, must_hold
from nas.training.module import Training
from nas.training.successive_halving import rungs, survivors
from nas.training.training_run import Run
from nas.training.window_tensors import WindowData, extent


@dataclass(frozen=True)
class Work:
    """The cell, task, seed and device that all runs of an evaluation share."""

    cell: Cell
    task: Task
    seed: int
    """The seed of the data."""
    device: str = "cpu"
    watch: Callable[[], None] = lambda: None
    """It is called after each batch and epoch."""


@dataclass
class _Group:
    """Runs that train as one stack, from `epoch` on; None where nothing was trained yet."""

    runs: list[Run]
    training: Training | None = None
    epoch: int = 0

    def release(self) -> None:
        """Free the memory of the stack."""
        if self.training is not None:
            self.training.release()
            self.training = None


def train_runs(
    work: Work,
    runs: Sequence[Run],
    n_epochs: int,
    halving: int = 0,
    bar: Bar | None = None,
    *,
    veto: Veto = "off",
) -> None:
    """Train every run to its end. With `halving`, only the best 1/halving pass each rung.

    With a `bar`, no run goes on after its epoch if none has reached it. With `veto` "end", runs
    that are dead or explode at their start do not begin; halving ranks them last.
    """
    if veto != "off":
        for members in _grouped(work, runs):
            _veto(work, members, veto)
    groups = [_Group(members) for members in _grouped(work, [r for r in runs if not r.ended])]
    rivals = list(runs)
    cuts = rungs(n_epochs, len(runs), halving)
    looks = [bar.epoch] if bar and bar.epoch < n_epochs else []
    for epoch in sorted({*cuts, *looks}):
        groups = [part for group in groups for part in _advanced(work, group, epoch)]
        if bar and epoch in looks:
            _look(runs, work.task.metric, bar)
        if epoch in cuts:
            rivals = _cut(rivals, work.task, halving, epoch)
        for group in groups:
            if group.training is not None:
                group.training.drop_ended()
    for group in groups:
        _advanced(work, group, n_epochs, is_end=True)
    _note_savings(work, runs, n_epochs)


def _look(runs: Sequence[Run], metric: Metric, bar: Bar) -> None:
    """End all runs unless one, perhaps ended, has reached the bar."""
    best = [run.schedule.best for run in runs]
    if any(value is not None and not metric.better(bar.value, value) for value in best):
        return
    for run in runs:
        if not run.ended:
            message = f"no setting had reached {metric.name} {bar.value:.4g} by epoch {bar.epoch}"
            run.end("cut", message)


def _note_savings(work: Work, runs: Sequence[Run], n_epochs: int) -> None:
    """Note how many tokens each run that was cut or vetoed did not read."""
    for run in runs:
        if run.status in ("cut", "vetoed"):
            n_tokens = n_epochs * extent(work.task, work.seed).n_tokens
            run.saved_tokens = n_tokens - run.tokens


def _cut(rivals: list[Run], task: Task, halving: int, epoch: int) -> list[Run]:
    """End all runs but the best; a run that has ended by itself keeps its place."""
    best = [run.schedule.best for run in rivals]
    kept = survivors(best, task.metric, halving)
    for place, run in enumerate(rivals):
        if place not in kept and not run.ended:
            run.end("cut", f"not among the best {len(kept)} of {len(rivals)} at epoch {epoch}")
    return [rivals[place] for place in kept]


def _grouped(work: Work, runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Yield runs of one width, depth, stacking and optimizer, as many as a stack may have."""
    groups: dict[tuple[int, int, str, str], list[Run]] = {}
    for run in runs:
        settings = run.settings
        kind = (run.hidden_size, settings.num_layers, settings.stacking, settings.optimizer)
        groups.setdefault(kind, []).append(run)
    for group in groups.values():
        most = OF_PROCESS.members(work.device, _member_bytes(work, group[0]))
        for first in range(0, len(group), most):
            yield group[first : first + most]


def _member_bytes(work: Work, run: Run) -> int:
    """Estimate the bytes of a member: each node's value and gradient, parameters, their moments.

    With attention come three values for each unit of each step of a source at each written step,
    of which each has at most half of all steps, and likewise for regions. With latent variables
    each stack counts, and what each map gives.
    """
    width, task = run.hidden_size, work.task
    values = run.settings.num_layers * sum(size(w, width, width) for w in work.cell.widths)
    rows = task.window * task.batch_size
    pairs, kind = 0, task.interface.kind
    if isinstance(kind, LatentKind):
        output = size(work.cell.widths[work.cell.y], width, width)
        parts = layout(task.interface, width, output)
        maps = sum(one.outputs for one in parts.maps.values())
        values = parts.times * (len(parts.stacks) * values + maps)
    if task.interface.attention is not None or isinstance(kind, RegionsKind):
        pairs = task.batch_size * (extent(task, work.seed).n_steps // 2) ** 2
    return 4 * (2 * rows * values + 2 * rows * width + 3 * pairs * width + 6 * run.n_params)


def _advanced(work: Work, group: _Group, epoch: int, *, is_end: bool = False) -> list[_Group]:
    """Train a group up to an epoch, and return it; if memory runs out, its halves begin anew.

    At the end, the memory of each stack is freed before the next begins.
    """
    try:
        _train(work, group, epoch)
        if is_end:
            group.release()
        return [group]
    except (RuntimeError, MemoryError) as error:
        if not _is_full(error):
            raise
        message = str(error).split("\n")[0] or "memory ran out"
    group.release()
    forget()
    left = [run for run in group.runs if not run.ended]
    member_bytes = _member_bytes(work, left[0])
    if len(left) == 1:
        if must_hold(member_bytes):
            raise MemoryError(message)
        left[0].end("out of memory", message)
        return []
    OF_PROCESS.too_many(work.device, len(left), member_bytes)
    for run in left:
        run.begin()
    middle = len(left) // 2
    halves = (_Group(left[:middle]), _Group(left[middle:]))
    return [part for half in halves for part in _advanced(work, half, epoch, is_end=is_end)]


def _is_full(error: BaseException) -> bool:
    # On the CPU torch has no exception of its own for this, and cuBLAS says it in its own way.
    known = ("allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(text in str(error) for text in known)


def _train(work: Work, group: _Group, epoch: int) -> None:
    if group.training is None:
        group.training = Training(_fresh(work, group.runs), work.task, group.runs, work.watch)
    else:
        group.training.start_clock()
    if group.training.runs:
        fit(group.training, WindowData(work.task, work.seed, group.epoch), epoch - group.epoch)
        group.training.share_time()
    group.epoch = epoch


def _veto(work: Work, runs: list[Run], veto: Veto) -> None:
    """End or note the runs that are not worth beginning; all may train if memory runs out."""
    began = time.perf_counter()
    try:
        seeds = [run.seed for run in runs]
        reasons = vetoes(_fresh(work, runs), seeds, extent(work.task, work.seed).n_steps)
        for run, reason in zip(runs, reasons, strict=True):
            run.wall_s += (time.perf_counter() - began) / len(runs)
            if reason and veto == "end":
                run.end("vetoed", reason)
            elif reason:
                run.doubt = reason
        return
    except (RuntimeError, MemoryError) as error:
        if not _is_full(error):
            raise
    middle = len(runs) // 2
    for half in (runs[:middle], runs[middle:]):
        if 0 < len(half) < len(runs):
            _veto(work, half, veto)


def model_of(work: Work, runs: Sequence[Run], dropouts: Sequence[float]) -> Members:
    """Make a model of the size of these runs."""
    settings, interface = runs[0].settings, work.task.interface
    kind = members_of(interface)
    sizes = (runs[0].hidden_size, settings.num_layers)
    with torch.device(work.device):  # from the start: the optimizer's parameters are views
        return kind(work.cell, interface, *sizes, dropouts, stacking=settings.stacking)


def _fresh(work: Work, runs: Sequence[Run]) -> Members:
    """Make the model of the runs before their first step."""
    model = model_of(work, runs, [run.settings.dropout for run in runs])
    scales, seeds = [run.settings.init_scale for run in runs], [run.seed for run in runs]
    model.reset_parameters(scales, seeds)
    return model


@contextmanager
def _no_advice() -> Iterator[None]:
    """Lightning gives none about loader workers, loggers and checkpoints in this block."""
    logs = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def fit(training: Training, data: WindowData, n_epochs: int) -> None:
    """Let Lightning train on the model's device for some epochs, fewer if no run is left."""
    device = training.model.embedding.device
    with _no_advice(), torch.random.fork_rng(devices=[]):
        trainer = pl.Trainer(
            accelerator="cpu" if device.type == "cpu" else "gpu",
            devices=1 if device.index is None else [device.index],
            max_epochs=n_epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # Not the batch system's environment, whose variables it would read.
            plugins=[LightningEnvironment()],
        )
        trainer.fit(training, datamodule=data)
