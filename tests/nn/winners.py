"""Winners of three kinds of data, small and trained as a search trains them."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Outcome
from nas.protocol.judgement import best_outcome
from nas.tasks import Csv, Task, Text
from nas.training.train import run
from nas.zoo import ZOO
from tests.tasks.own_data import ramps, waves

Kind = Literal["forecast", "rides", "text"]
PROSE = "the cat sat on the mat and the dog sat on the log; "
SIZES = {"epochs": 3, "batches_per_epoch": 20, "validation_batches": 20, "batch_size": 8}


@dataclass(frozen=True)
class Winner:
    """A file of weights, and what training said of it."""

    path: Path
    task: Task
    outcome: Outcome


def forecast(folder: Path) -> Csv:
    """Heat three rows ahead, in other units than the load."""
    waves(folder / "waves.csv")
    names = ("load", "heat")
    return Csv(
        path=str(folder / "waves.csv"), time="when", columns=names, target=("heat",), horizon=3,
        window=12, warmup=2, **SIZES,
    )  # fmt: skip


def rides(folder: Path) -> Csv:
    """The class of sequences of unequal lengths."""
    ramps(folder / "ramps.csv")
    return Csv(
        path=str(folder / "ramps.csv"), goal="classify", columns=("value",), label="kind",
        group="id", validation_share=0.3, **SIZES,
    )  # fmt: skip


def text(folder: Path) -> Text:
    """The characters of a few words."""
    (folder / "prose.txt").write_text(PROSE * 80, encoding="utf-8")
    return Text(str(folder / "prose.txt"), window=16, **SIZES)


TASKS = {"forecast": forecast, "rides": rides, "text": text}


@functools.cache
def trained(kind: Kind, cell: str = "gru") -> tuple[bytes, Outcome]:
    """The weights of a kind and their outcome; they are trained once in a process."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        task = TASKS[kind](Path(folder))
        settings = (Settings(1500, learning_rate=0.2),)
        threads = torch.get_num_threads()
        result = run(Evaluation(str(ZOO[cell]), ZOO[cell].key, task, settings, 0))
        torch.set_num_threads(threads)
    assert result.weights is not None
    best = best_outcome(task, result.outcomes)
    assert best is not None
    return result.weights, best


def winner(kind: Kind, folder: Path, cell: str = "gru") -> Winner:
    """A winner in a folder, with its data beside it."""
    weights, outcome = trained(kind, cell)
    path = folder / f"{kind}.safetensors"
    path.write_bytes(weights)
    return Winner(path, TASKS[kind](folder), outcome)


def in_raw_units(task: Csv) -> tuple[np.ndarray, np.ndarray]:
    """The columns that are read and those that are forecast, as they are in the file."""
    import pandas

    frame = pandas.read_csv(task.path)
    return frame[list(task.columns)].to_numpy(), frame[list(task.target)].to_numpy()


def changed(task: Task, **fields: object) -> Task:
    return dataclasses.replace(task, **fields)  # type: ignore[arg-type]
