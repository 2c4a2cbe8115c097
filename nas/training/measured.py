"""A winner's errors in the data's units, and with the state carried on over a whole series."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nas.nn.layers import States
from nas.nn.loading import load_model
from nas.nn.model import SequenceModel
from nas.protocol.measured import Measured
from nas.tasks.base import Window
from nas.tasks.named import Named
from nas.tasks.sequences import SequenceTask
from nas.training.heads import HEADS

Pair = tuple[NDArray[np.float32], NDArray[np.generic]]
"""Scores and targets of the same positions."""
CHUNK = 4096
"""Rows that are read at once."""


@torch.no_grad()
def measure_winner(path: Path, task: SequenceTask) -> Measured:
    """Measure the weights in a file on the validation split, and note it in their description."""
    model = _network(path)
    windows = list(task.windows("validation", seed=0))
    found, wanted = _in_pieces(model, windows)
    carried = _carried(model, task)
    metric, is_number = task.metric, task.interface.head == "gaussian"
    measured = Measured(
        task.name,
        metric.unit,
        metric.higher_is_better,
        _value(found, wanted, task),
        0 if carried is None else max(len(window.inputs) for window in windows),
        None if carried is None else _value(*carried, task),
        _in_units(task, (found, wanted), carried) if is_number else None,
    )
    _note(path, measured)
    return measured


@torch.no_grad()
def answers_of(path: Path, task: SequenceTask) -> Pair:
    """Scores and targets of the validation split by the weights in a file, in order: each series is
    read from its first row, where pieces are cut from series."""
    model = _network(path)
    return _carried(model, task) or _in_pieces(model, list(task.windows("validation", seed=0)))


def _network(path: Path) -> SequenceModel:
    model = load_model(path)
    assert isinstance(model, SequenceModel), "other kinds are not measured so"
    return model


def _in_pieces(model: SequenceModel, windows: Sequence[Window]) -> Pair:
    scores = [model(torch.from_numpy(window.inputs))[0].numpy() for window in windows]
    found = np.concatenate([s[w.scored] for s, w in zip(scores, windows, strict=True)])
    return found, np.concatenate([window.targets[window.scored] for window in windows])


def _value(scores: NDArray[np.float32], targets: NDArray[np.generic], task: SequenceTask) -> float:
    """The task's metric of some positions."""
    head, metric = HEADS[task.interface.head], task.metric
    if isinstance(task, Named) and metric.is_own:
        return task.measured(scores, np.asarray(targets))
    asked = torch.from_numpy(scores).double(), torch.from_numpy(targets)
    if metric.name == "accuracy":
        return float(head.right(*asked).double().mean())
    return float(head.loss(*asked)[0]) / len(targets)


def _in_units(
    task: SequenceTask, pieces: Pair, carried: Pair | None
) -> dict[str, tuple[float, float | None]]:
    """The mean squared error of each number, in the data's units."""
    legend, n = task.legend(), task.interface.outputs
    names = legend.get("targets") or [f"output_{k}" for k in range(n)]
    squares = np.square(legend.get("target_scales", [1.0] * n))

    def errors(pair: Pair) -> list[float]:
        apart = pair[0].astype(np.float64) - pair[1].astype(np.float64)
        return [float(error) for error in np.square(apart).mean(0) * squares]

    after = [None] * n if carried is None else errors(carried)
    return dict(zip(names, zip(errors(pieces), after, strict=True), strict=True))


def _carried(model: SequenceModel, task: SequenceTask) -> Pair | None:
    """Scores and targets of the rows that the pieces score, each series read from its first row.

    None where a piece is a whole sequence.
    """
    data = task.data
    if data.edges is None:
        return None
    pieces = data.parts["validation"]
    rows = np.unique(np.concatenate([pieces.scored_rows(p) for p in task.held_out("validation")]))
    series = np.searchsorted(data.edges, rows, side="right") - 1
    scores = [
        _series(model, pieces.inputs, int(data.edges[one]), rows[series == one])
        for one in np.unique(series)
    ]
    return np.concatenate(scores), pieces.targets[rows]


def _series(
    model: SequenceModel, inputs: NDArray[np.generic], first: int, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The scores of some rows of a series that begins at row `first`."""
    state: States | None = None
    found: list[Tensor] = []
    end = int(rows[-1]) + 1
    for start in range(first, end, CHUNK):
        part = torch.from_numpy(inputs[start : min(start + CHUNK, end)]).unsqueeze(1)
        scores, state = model(part, state)
        here = rows[(rows >= start) & (rows < start + CHUNK)] - start
        found.append(scores[torch.from_numpy(here), 0])
    return torch.cat(found).numpy()


def _note(path: Path, measured: Measured) -> None:
    """Add what was measured to the description of weights."""
    with safe_open(path, "pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
        described = json.loads(stored.metadata()["nas"])
    described["measured"] = measured.described()
    save_file(tensors, path, {"nas": json.dumps(described, sort_keys=True)})
