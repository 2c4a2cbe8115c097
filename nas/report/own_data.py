"""What the winner answers on data of a user's own: forecasts, classes, text.

The weights are those of the winner's folder, the data those of the validation split. A report of a
study of other tasks does not import torch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError, counted
from nas.report.document import Code, Figure, Part, Section, Text
from nas.report.facts import Facts
from nas.report.figures import BLUE, INK, figure
from nas.tasks.base import Task
from nas.tasks.corpus import SharesOfText
from nas.tasks.sequences import SequenceTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from nas.training.measured import Pair

MOST_STEPS = 200
"""Steps of a forecast that are drawn."""
MOST_NUMBERS = 3
"""Numbers of a forecast that are drawn, a panel each."""
MOST_CLASSES = 30
PROMPT, N_SYMBOLS = 60, 240
"""Characters of validation that a text goes on from, and symbols that are written."""


def own_data(facts: Facts, against: Facts | None) -> Section:
    """The winner's answers on each task of such data; without parts if there is no such task."""
    parts = [part for task in facts.protocol.tasks for part in _parts(facts, task)]
    return Section("What the winner answers", parts)


def _parts(facts: Facts, task: Task) -> Iterator[Part]:
    weights = facts.seen.folder / "winner" / f"{task.name}.safetensors"
    is_text = isinstance(task, SharesOfText)
    if not is_text and not isinstance(task, SequenceTask):
        return
    if facts.winner is None or not weights.is_file():
        return
    try:
        if why := task.missing():
            yield Text(f"{task.name}: {why}")
        elif isinstance(task, SharesOfText):
            yield from _text(weights, task)
        elif isinstance(task, SequenceTask):
            yield from _answers(weights, task, facts.winner.name)
    except UserError as error:
        yield Text(f"{task.name}: the winner's answers are not shown: {error}")


def _answers(weights: Path, task: SequenceTask, name: str) -> Iterator[Part]:
    from nas.training.measured import answers_of  # torch

    pair = answers_of(weights, task)
    head = task.interface.head
    if head == "gaussian":
        yield forecast(task, pair, name)
    elif head == "categorical" and task.interface.outputs <= MOST_CLASSES:
        yield confusion(task, pair, name)


def forecast(task: SequenceTask, pair: "Pair", name: str) -> Figure:
    """The first steps of validation: what was predicted, and what was true."""
    found, true, names = in_units(task, pair)
    found, true = found[:MOST_STEPS], true[:MOST_STEPS]
    n = min(MOST_NUMBERS, found.shape[1])
    left = f", {found.shape[1] - n} more numbers are left out" if found.shape[1] > n else ""
    horizon = task.legend().get("horizon")
    ahead = f", {counted(int(horizon), 'step')} ahead" if horizon else ""
    caption = (
        f"{task.name}: what {name} predicts of the validation split{ahead}, and what was true, in "
        f"the data's units; the first {len(found):,} answers{left}."
    )

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(n, 1, squeeze=False, sharex=True).flat
        for k, panel in enumerate(panels):
            panel.plot(true[:, k], color=INK, linewidth=1.1, label="true")
            panel.plot(found[:, k], color=BLUE, linewidth=1.1, label="predicted")
            panel.set_ylabel(names[k])
        canvas.axes[-1].set_xlabel("step")
        handles, labels = canvas.axes[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside upper right", ncols=2, fontsize="small")

    return figure(f"forecast_{task.name}", caption, (9.5, 0.7 + 2.1 * n), draw)


def in_units(
    task: SequenceTask, pair: "Pair"
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Predictions and truth in the data's units, (answers, numbers), and the numbers' names."""
    legend, n = task.legend(), task.interface.outputs
    names = list(legend.get("targets") or [f"output {k}" for k in range(n)])
    scales = np.array(legend.get("target_scales", [1.0] * n))
    means = np.array(legend.get("target_means", [0.0] * n))
    found, true = (means + scales * np.asarray(part, dtype=np.float64) for part in pair)
    return found, true, names


def confusion_of(pair: "Pair", n: int) -> NDArray[np.int64]:
    """How often each true class, a row, was answered as each class, a column."""
    scores, targets = pair
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (np.asarray(targets, dtype=np.int64), scores.argmax(axis=1)), 1)
    return counts


def confusion(task: SequenceTask, pair: "Pair", name: str) -> Figure:
    """The confusion matrix of validation."""
    n = task.interface.outputs
    counts = confusion_of(pair, n)
    names = [str(c) for c in task.legend().get("classes") or range(n)]
    caption = (
        f"{task.name}: what {name} answers on the validation split, n = {counts.sum():,}, of which "
        f"{np.trace(counts):,} are right; shades are shares of each true class."
    )
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))

    def draw(canvas: "Canvas") -> None:
        panel = canvas.subplots()
        panel.grid(visible=False)
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(n, n) if n <= 15 else ():
            colour = "white" if shares[row, column] > 0.6 else INK
            text: dict[str, Any] = {"ha": "center", "va": "center", "color": colour}
            panel.text(column, row, f"{counts[row, column]:,}", fontsize="small", **text)
        panel.set_xticks(range(n), labels=names, rotation=60 if n > 6 else 0)
        panel.set_yticks(range(n), labels=names)
        panel.set_xlabel("answer")
        panel.set_ylabel("true")

    side = max(3.2, min(8.0, 1.6 + 0.5 * n))
    return figure(f"confusion_{task.name}", caption, (side + 0.6, side), draw)


def _text(weights: Path, task: SharesOfText) -> Iterator[Part]:
    from nas.nn.loading import load  # torch
    from nas.nn.trained import TrainedModel

    model = load(weights)
    assert isinstance(model, TrainedModel), "a search writes whole models"
    window = next(iter(task.windows("validation", seed=0)))
    prompt = model.meaning.text_of(window.inputs[:PROMPT, 0].tolist())
    yield Text(
        f"{task.name}: what the winner writes after the beginning of the validation split, at two "
        "temperatures; the same seed writes the same."
    )
    for temperature in (0.5, 1.0):
        written = model.generate(prompt, N_SYMBOLS, temperature=temperature, seed=0)
        yield Text(f"Temperature {temperature:g}, after the bar:")
        yield Code(f"{prompt} ▌{written}")
