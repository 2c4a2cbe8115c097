"""What is wrong with a task, in sentences: `nas.check_task("my_tasks:digits")`."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from nas.errors import UserError
from nas.tasks.base import Task, scored_rows
from nas.tasks.config import TasksConfig
from nas.tasks.labelled import Array
from nas.tasks.named import Named
from nas.tasks.own import Scores
from nas.testing.tasks import Examples, broken_rules, columns

SURE = 10.0
"""The size of the scores of certain answers."""


def check_task(task: str | Task, examples: Examples = columns) -> list[str]:
    """Return what is wrong with a task, one sentence each; an empty list if nothing is.

    `task` is the import path of a `nas.Task`, "module:name", the name of a task that comes with
    nas, or a task of a class of your own. Of a `nas.Task` these are looked at: the shapes and types
    of what its loaders yield; whether it gives the same data when it is read again, also by another
    process, which imports it as a worker does; that no sequence is in two splits; that the metric
    is a number of at least 0, the same each time, and better for right answers than for guesses in
    the direction that is given; that a constant guess does not do as well as right answers; that
    the loss is one number a position, the same each time, with a finite gradient, and smaller for
    right answers. `examples` is as of `nas.testing.check_task`.
    """
    try:
        if not isinstance(task, str | Task):
            raise UserError(
                f'check_task takes the import path of a task, such as "my_tasks:digits", got '
                f"{type(task).__name__}: workers find it by that alone."
            )
        known = TasksConfig(use=(task,)) if isinstance(task, str) else None
        if known:
            known.check()
        made = known.task(known.use[0]) if known else task
        assert isinstance(made, Task), "a name was looked up"
        faults = [f"{made.name}: {fault}" for fault in broken_rules(made, examples)]
        if isinstance(made, Named):
            faults += [f"{made.name}: {fault}" for fault in _own_faults(made)]
    except UserError as error:
        return [str(error)]
    return faults


def _own_faults(task: Named) -> Iterator[str]:
    targets, _ = scored_rows(task.windows("validation", seed=0))
    right = right_scores(task, targets)
    if task.function:
        yield from _in_metric(task, right, targets)
    if task.definition.loss is not None:
        from nas.training.own_loss import loss_faults  # torch

        yield from loss_faults(task, right, targets)
    yield from _in_process(task)


def right_scores(task: Named, targets: Array) -> Scores:
    """Scores that are certain of the right answers, (n, outputs)."""
    ends = task.interface
    if ends.head == "gaussian":
        return np.asarray(targets, dtype=np.float32)
    if ends.head == "bernoulli":
        return np.asarray(SURE * (2 * targets - 1), dtype=np.float32)
    return SURE * np.eye(ends.outputs, dtype=np.float32)[targets]


def _in_metric(task: Named, right: Scores, targets: Array) -> Iterator[str]:
    reached, metric = task.measured(right, targets), task.metric
    if task.measured(right, targets) != reached:
        yield f"the metric {metric.name} must give the same number each time for the same scores."
    chance, simple = task.chance(), task.baseline(0)
    if not metric.better(reached, than=chance):
        yield (
            f"the metric {metric.name} of right answers must be better than that of blind guesses, "
            f"got {reached:.4g} and {chance:.4g}: is higher_is_better={metric.higher_is_better} "
            "the wrong way round, or does the metric take scores for something else?"
        )
    elif not metric.better(reached, than=simple.value):
        yield (
            f"a {simple.name} reaches the {metric.name} {simple.value:.4g} of right answers, so "
            "that no cell can be better."
        )
    if task.best is not None and metric.better(reached, than=task.best):
        yield f"perfect is {task.best:.4g}, which right answers surpass: they reach {reached:.4g}."


def _in_process(task: Named) -> Iterator[str]:
    """Compare with what a process of its own reads, as a worker is."""
    script = (
        f"import sys; sys.path[:] = {sys.path!r}; from nas.tasks.named import named; "
        f"print(named({task.path!r}).version)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        yield f"a worker cannot read it: {reason}"
    elif (there := done.stdout.split()[-1]) != task.version:
        yield (
            f"another process must read the same data and code, got the versions {task.version} "
            f"and {there}: fix the seeds of what it draws, and sort what comes from sets."
        )
