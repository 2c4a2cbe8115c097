"""What the winner answers on data of a user's own: forecasts, classes, text; and what it makes up.

The weights are those of the winner's folder, the data those of the validation split. A report of a
study of other tasks does not import torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError, counted
from nas.report import looked
from nas.report.document import Code, Figure, Part, Section, Text
from nas.report.facts import Facts
from nas.report.figures import BLUE, INK, figure
from nas.tasks.base import Task
from nas.tasks.captions import Captions
from nas.tasks.corpus import SharesOfText
from nas.tasks.draw import Draw
from nas.tasks.kinds import LatentKind
from nas.tasks.midi import LOWEST, midi
from nas.tasks.music import Rolls
from nas.tasks.sequences import SequenceTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from nas.training.measured import Pair

MOST_STEPS = 200
"""Steps of a forecast that are drawn."""
MOST_NUMBERS = 3
"""Numbers of a forecast that are drawn, a panel each."""
MOST_CLASSES = 30
MOST_FRAMES, N_SAMPLES = 100, 3
"""Frames of music that are drawn, and how many samples."""
PROMPT, N_SYMBOLS = 60, 240
"""Characters of validation that a text goes on from, and symbols that are written."""


def own_data(facts: Facts, against: Facts | None) -> Section:
    """The winner's answers on each task of such data; without parts if there is no such task."""
    parts = [part for task in facts.protocol.tasks for part in _parts(facts, task)]
    return Section("What the winner answers", parts)


def pictures(folder: Path, tasks: Sequence[Task], name: str) -> Iterator[Figure]:
    """Draw what models with more around the cell look at and make up, from the weights in a folder;
    nothing of other tasks, or where the data are not here."""
    for task in tasks:
        if task.interface.kind is not None:
            found = _answered(folder / f"{task.name}.safetensors", task, name)
            yield from (part for part in found if isinstance(part, Figure))


def _parts(facts: Facts, task: Task) -> Iterator[Part]:
    if facts.winner is not None:
        folder = facts.seen.folder / "winner"
        yield from _answered(folder / f"{task.name}.safetensors", task, facts.winner.name)


def _answered(weights: Path, task: Task, name: str) -> Iterator[Part]:
    if not isinstance(task, SharesOfText | SequenceTask | Captions | Draw):
        return
    if not weights.is_file():
        return
    try:
        if why := task.missing():
            yield Text(f"{task.name}: {why}")
        elif isinstance(task, SharesOfText):
            yield from _text(weights, task)
        elif isinstance(task, Draw):
            yield from looked.drawing(weights, task, name)
        elif isinstance(task, Captions):
            if task.attention != "none":
                yield looked.captions(weights, task, name)
        elif isinstance(task, Rolls) and isinstance(task.interface.kind, LatentKind):
            yield music_samples(weights, task, name)
        elif isinstance(task, SequenceTask) and task.interface.kind is None:
            yield from _answers(weights, task, name)
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


def music_samples(weights: Path, task: Task, name: str) -> Figure:
    """Rolls that the winner makes up, beside one of the data; the first is a MIDI file too."""
    from nas.nn.loading import load  # torch
    from nas.nn.trained import TrainedModel

    model = load(weights)
    assert isinstance(model, TrainedModel), "a search writes whole models"
    window = next(iter(task.windows("validation", seed=0)))
    true = window.targets[window.scored[:, 0], 0][:MOST_FRAMES]
    made = [model.sample(1, MOST_FRAMES, seed=seed)[0] for seed in range(N_SAMPLES)]
    return rolls(task, name, true, made)


def rolls(
    task: Task, name: str, true: NDArray[np.generic], made: Sequence[NDArray[np.generic]]
) -> Figure:
    """Draw a roll of the data and those that were made up, (frames, keys) each."""
    caption = (
        f"{task.name}: the first {len(true)} frames of the validation split, and what {name} makes "
        f"up, drawn with the seeds 0 to {len(made) - 1}; a mark is a key that sounds. "
        f"samples_{task.name}.mid beside the picture is the sample of seed 0 as a MIDI file."
    )
    titles = ["validation", *(f"sample {seed}" for seed in range(len(made)))]

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(len(titles), 1, sharex=True, sharey=True)
        for panel, title, roll in zip(panels, titles, (true, *made), strict=True):
            frames, keys = np.nonzero(roll)
            colour = INK if title == "validation" else BLUE
            panel.hlines(keys + LOWEST, frames, frames + 1, color=colour, linewidth=2)
            panel.set_title(title, loc="left", fontsize="small")
            panel.set_ylabel("MIDI note")
        panels[-1].set_xlabel("frame")
        panels[-1].set_xlim(0, max(len(roll) for roll in (true, *made)))

    drawn = figure(f"samples_{task.name}", caption, (9.5, 1.7 * len(titles)), draw)
    return replace(drawn, files={**drawn.files, "mid": midi(made[0])})


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
