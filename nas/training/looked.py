"""What a winner looks at, as plain numbers: the captions that it writes with their attention, and
the glimpses and samples of DRAW."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas.nn.draw import Glimpse, Window, glimpses
from nas.nn.latent_model import LatentModel
from nas.nn.loading import load_model
from nas.nn.regions import RegionModel
from nas.tasks.captions import Captions
from nas.tasks.draw import Draw

Numbers = NDArray[np.floating[Any]]
Symbols = NDArray[np.int64]


@dataclass(frozen=True)
class Caption:
    """A caption that a model wrote by itself."""

    canvas: Numbers
    """The image, (rows, columns)."""
    true: Symbols
    """The symbols that are right, with the end."""
    found: Symbols
    """The symbols that were written, up to the first end."""
    weights: Numbers
    """How much each symbol attends to each region, (symbols, regions)."""

    @property
    def is_right(self) -> bool:
        """Whether all of it is."""
        return np.array_equal(self.true, self.found)


def captions_of(path: Path, task: Captions) -> list[Caption]:
    """Return what the weights in a file write of each image of the validation split."""
    model, n = load_model(path), task.n_regions
    assert isinstance(model, RegionModel), "captions without attention have no weights"
    captions = []
    for window in task.windows("validation", seed=0):
        written, looked = model.captions(torch.from_numpy(window.inputs))
        found, weights = written.numpy(), looked.numpy()
        for k, canvas in enumerate(task.canvases_of(window)):
            true = window.targets[n:, k][window.scored[n:, k]].astype(np.int64)
            ends = np.flatnonzero(found[:, k] == true[-1])
            length = int(ends[0]) + 1 if len(ends) else len(found)
            captions.append(Caption(canvas, true, found[:length, k], weights[:length, k]))
    return captions


@dataclass(frozen=True)
class Box:
    """The window of a glimpse, through the centres of its outer filters; the first pixel is 0."""

    left: float
    top: float
    edge: float
    spread: float
    """The standard deviation of the filters, in pixels."""


@dataclass(frozen=True)
class Drawn:
    """An image that DRAW drew."""

    canvases: Numbers
    """The probability that each pixel is lit after each glimpse, (glimpses, side, side)."""
    read: list[Box]
    """The window that is read at each glimpse; empty without windows, or if nothing was read."""
    written: list[Box]
    image: Numbers | None
    """The image that was looked at, (side, side)."""


@torch.no_grad()
def glimpses_of(path: Path, task: Draw, n: int) -> list[Drawn]:
    """Return how the weights in a file look at the first images of validation and draw them."""
    window = next(iter(task.windows("validation", seed=0)))
    images = torch.from_numpy(window.targets[0, :n])
    shape = (task.glimpses, len(images), task.latent_size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return _drawn(task, glimpses(_drawer(path), images, [noise]), images.numpy())


@torch.no_grad()
def samples_of(path: Path, task: Draw, n: int) -> list[Drawn]:
    """Return so many images that the weights in a file make up."""
    shape = (task.glimpses, n, task.latent_size)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return _drawn(task, glimpses(_drawer(path), None, [z]), [None] * n)


def _drawer(path: Path) -> LatentModel:
    model = load_model(path)
    assert isinstance(model, LatentModel), "DRAW has latent variables"
    return model


def _drawn(
    task: Draw, steps: Sequence[Glimpse], images: Sequence[Numbers | None] | Numbers
) -> list[Drawn]:
    side = task.side
    canvases = torch.stack([torch.sigmoid(step.canvas[0]) for step in steps], 1).numpy()
    return [
        Drawn(
            canvases[k].reshape(-1, side, side),
            [box_of(of, k, task.read) for step in steps for of in step.read],
            [box_of(of, k, task.write) for step in steps for of in step.written],
            None if image is None else image.reshape(side, side),
        )
        for k, image in enumerate(images)
    ]


def box_of(of: Window, k: int, n: int) -> Box:
    """Return the window of image k, of n filters along an edge."""
    x, y = (of.centre[k] - 1).tolist()
    edge = (n - 1) * float(of.stride[k])
    return Box(x - edge / 2, y - edge / 2, edge, float(of.variance[k]) ** 0.5)
