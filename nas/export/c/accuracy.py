"""What a number format costs: the task's metric on the test split, by the compiled C."""

import ctypes
from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.export.c.compiled import Compiled
from nas.export.c.files import raw_inputs
from nas.export.c.network import Network, Running, Values
from nas.nn.meaning import Meaning
from nas.tasks.base import Task, Window
from nas.tasks.named import Named
from nas.training.heads import head_of

Scores = Callable[[Window], Values]
"""The scores of a window, (time, batch, outputs), which goes on where the one before ended unless
it is fresh."""


def pieces(task: Task) -> Iterable[tuple[Tensor, bool]]:
    """The validation split, by which the ranges of values are found."""
    for window in task.windows("validation", seed=0):
        yield torch.from_numpy(window.inputs), window.fresh


def metric_of(task: Task, scores: Scores) -> float:
    """The task's metric on the test split."""
    found, targets, marked = [], [], []
    name = task.metric.mark
    for window in task.windows("test", seed=0):
        found.append(scores(window)[window.scored])
        targets.append(window.targets[window.scored])
        marked.append((window.marks[name] if name else window.scored)[window.scored])
    return _value(task, np.concatenate(found), np.concatenate(targets), np.concatenate(marked))


def _value(
    task: Task, scores: Values, targets: NDArray[np.generic], marked: NDArray[np.bool_]
) -> float:
    if isinstance(task, Named) and task.metric.is_own:
        return task.measured(scores.astype(np.float32), targets)
    head, asked = head_of(task), (torch.from_numpy(scores), torch.from_numpy(targets))
    if task.metric.name == "accuracy":
        return float(head.right(*asked)[torch.from_numpy(marked)].double().mean())
    return float(head.loss(*asked)[0]) / len(targets)


def exact_scores(network: Network) -> Scores:
    """Scores in float64."""
    running: list[Running] = []

    def scores(window: Window) -> Values:
        if window.fresh or not running:
            running[:] = [Running(network, window.inputs.shape[1])]
        found: Values = running[0].read(torch.from_numpy(window.inputs)).numpy()
        return found

    return scores


def compiled_scores(compiled: Compiled) -> Scores:
    """Scores that the C gives, from its probabilities or numbers."""
    network = compiled.written.model.network
    known = network.meaning
    assert known is not None
    states: list[ctypes.Array[ctypes.c_double]] = []

    def scores(window: Window) -> Values:
        batch = window.inputs.shape[1]
        if window.fresh or not states:
            states[:] = [compiled.fresh() for _ in range(batch)]
        found = []
        for stream, state in enumerate(states):
            raw = raw_inputs(network, torch.from_numpy(window.inputs[:, stream]))
            found.append(compiled.run(raw, state))
        return _as_scores(known, np.stack(found, axis=1))

    return scores


def _as_scores(known: Meaning, answers: Values) -> Values:
    tiny = float(np.finfo(np.float32).tiny)
    scores: Values = answers
    if known.interface.head == "gaussian":
        scores = (answers - np.array(known.outputs.means)) / np.array(known.outputs.scales)
    elif known.interface.head == "categorical":
        scores = np.log(answers.clip(tiny, 1))
    else:
        scores = np.log(answers.clip(tiny, 1)) - np.log((1 - answers).clip(tiny, 1))
    return scores
