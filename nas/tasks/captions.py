"""Captions: the names of the digits of an image, written in reading order."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.attended import Attended
from nas.tasks.base import (
    ACCURACY,
    SPLITS,
    Baseline,
    Interface,
    Split,
    Task,
    Window,
    generator,
    split_of,
)
from nas.tasks.kinds import Annotation, RegionsKind, Start

SIDE, MOST = 8, 16
"""Pixels along an edge of a digit, and the value of the brightest one."""
N_NAMES = 10
END = START = N_NAMES
"""The symbol after the names: written at the end, and read before the first name."""
N_SYMBOLS = N_NAMES + 1

Images = NDArray[np.float32]
"""Images, (images, rows, columns), 0 to 1."""


@dataclass(frozen=True)
class Drawn:
    """Some canvases, and what they show."""

    canvases: Images
    names: NDArray[np.int64]
    """The digits in reading order, (canvases, max_digits); `END` where there are no more."""


@dataclass(frozen=True)
class Captions(Task):
    """Look at an image of several digits, and write their names, and an end, in reading order.

    The digits are the 1,797 images of 8 x 8 pixels that come with scikit-learn, of which a hash
    gives each to one split: digits of validation and test are never seen in training. A canvas has
    `rows` x `columns` slots of 8 + `jitter` pixels; from `min_digits` to `max_digits` digits, all
    numbers equally frequent, are put into different slots, anywhere inside them, and read row by
    row. The canvas is cut into regions of `patch` x `patch` pixels, one every `stride` pixels,
    which are the features of the first steps; then come the steps that write, whose features are
    the name before. A caption is written as in Xu et al. 2015, arXiv:1502.03044, whose regions were
    those of a trained convolutional network. The field `window` is not used.
    """

    name: ClassVar[str] = "captions"
    forced: ClassVar[bool] = False
    metric = replace(ACCURACY, unit="share of written symbols")

    min_digits: Annotated[int, "at least 1"] = 2
    """Fewest digits of an image."""
    max_digits: Annotated[int, "at least 1"] = 2
    """Most digits of an image."""
    rows: Annotated[int, "in [1, 8]"] = 2
    """Rows of slots for digits."""
    columns: Annotated[int, "in [1, 8]"] = 2
    """Slots of a row."""
    jitter: Annotated[int, "in [0, 8]"] = 0
    """Pixels by which a slot is wider and higher than a digit, which lies anywhere in it;
    with any at all, 1,434 images are few to learn digits from."""
    patch: Annotated[int, "in [1, 128]"] = 8
    """Pixels along an edge of a region."""
    stride: Annotated[int, "in [1, 128]"] = 8
    """Pixels from a region to the next; fewer than `patch` where regions overlap."""
    positions: Literal["rows_and_columns", "none"] = "rows_and_columns"
    """Whether a region has its row and its column as features, one-hot, beside its pixels; without
    them nothing says which digit comes first."""
    attention: Attended = "additive"
    """How a model attends: additive (its context is an input of the cell, as in the paper), general
    (computed from the output of the cell), or none, for a model that reads all regions in order."""
    start: Start = "mean"
    """Where states begin: after a step in which the cell reads the mean of all annotations, or at
    the cell's own initial values."""
    annotation: Annotation = "relu"
    """What follows the matrix that makes a region an annotation: relu, since annotations of the
    paper come from rectified layers, or nothing (linear)."""
    penalty: Annotated[float, "in [0, 100]"] = 0.0
    """The weight of the doubly stochastic penalty, of the squares of 1 less the sum of a region's
    weights over all steps. The paper has no number (its code has 1); 0 here, for with more regions
    than words the sums cannot all be 1."""

    n_params: tuple[int, ...] = field(default=(100_000,), kw_only=True)
    epochs: int = field(default=20, kw_only=True)
    batches_per_epoch: int = field(default=60, kw_only=True)
    batch_size: int = field(default=50, kw_only=True)

    @property
    def interface(self) -> Interface:
        sizes = N_SYMBOLS + self.patch**2 + self._n_places, N_SYMBOLS
        if self.attention == "none":
            return Interface(*sizes, tokens=False)
        how = (self.start, self.annotation, self.penalty)
        kind = RegionsKind(self.attention, self.n_regions, N_SYMBOLS, *how)
        return Interface(*sizes, tokens=False, kind=kind)

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns of pixels of an image."""
        slot = SIDE + self.jitter
        return self.rows * slot, self.columns * slot

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of regions."""
        height, width = ((size - self.patch) // self.stride + 1 for size in self.canvas)
        return height, width

    @property
    def n_regions(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def _n_places(self) -> int:
        return sum(self.grid) if self.positions == "rows_and_columns" else 0

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        random = generator(self, split, seed, epoch)
        for _ in range(self.n_windows(split)):
            yield self.laid_out(self.drawn(split, random, self.batch_size))

    def drawn(self, split: Split, random: np.random.Generator, count: int) -> Drawn:
        """Draw so many canvases of digits of a split."""
        images, classes = digit_images()[split]
        n_digits = random.integers(self.min_digits, self.max_digits + 1, size=count)
        n_slots = self.rows * self.columns
        slots = random.permuted(np.tile(np.arange(n_slots), (count, 1)), axis=1)
        which = random.integers(len(images), size=(count, self.max_digits))
        moves = random.integers(self.jitter + 1, size=(count, self.max_digits, 2))
        canvases = np.zeros((count, *self.canvas), dtype=np.float32)
        names = np.full((count, self.max_digits), END)
        for one, n in enumerate(n_digits):
            for place, slot in enumerate(np.sort(slots[one, :n])):
                corner = np.array(divmod(slot, self.columns)) * (SIDE + self.jitter)
                y, x = corner + moves[one, place]
                canvases[one, y : y + SIDE, x : x + SIDE] = images[which[one, place]]
                names[one, place] = classes[which[one, place]]
        return Drawn(canvases, names)

    def laid_out(self, drawn: Drawn) -> Window:
        """Make the window of some canvases: their regions, then their captions."""
        n, batch, n_written = self.n_regions, len(drawn.names), self.max_digits + 1
        inputs = np.zeros((n + n_written, batch, self.interface.inputs), dtype=np.float32)
        pixels = slice(N_SYMBOLS, N_SYMBOLS + self.patch**2)
        inputs[:n, :, pixels] = self.regions(drawn.canvases)
        if self._n_places:
            inputs[:n, :, pixels.stop :] = self._places()[:, None]
        texts = np.concatenate([drawn.names, np.full((batch, 1), END)], axis=1).T
        before = np.concatenate([np.full((1, batch), START), texts[:-1]])
        written = np.ones(texts.shape, dtype=np.bool_)
        written[1:] = texts[:-1] != END
        one_hot = np.eye(N_SYMBOLS, dtype=np.float32)[before]
        inputs[n:, :, :N_SYMBOLS] = one_hot * written[..., None]
        targets = np.zeros(inputs.shape[:2], dtype=np.int64)
        targets[n:] = np.where(written, texts, 0)
        scored = np.zeros(targets.shape, dtype=np.bool_)
        scored[n:] = written
        names = scored & (targets != END)
        return Window(inputs, targets, scored, fresh=True, marks={"names": names})

    def regions(self, canvases: Images) -> Images:
        """Cut canvases into regions, row by row: (regions, canvases, pixels of a region)."""
        views = np.lib.stride_tricks.sliding_window_view(canvases, (self.patch,) * 2, axis=(1, 2))
        cut = views[:, :: self.stride, :: self.stride]
        flat = cut.reshape(len(canvases), self.n_regions, self.patch**2)
        return np.ascontiguousarray(flat.transpose(1, 0, 2))

    def canvases_of(self, window: Window) -> Images:
        """Put the regions of a window together again: (images, rows, columns)."""
        flat = window.inputs[: self.n_regions, :, N_SYMBOLS : N_SYMBOLS + self.patch**2]
        canvases = np.zeros((flat.shape[1], *self.canvas), dtype=np.float32)
        for place, region in enumerate(flat):
            y, x = np.array(divmod(place, self.grid[1])) * self.stride
            part = region.reshape(-1, self.patch, self.patch)
            canvases[:, y : y + self.patch, x : x + self.patch] = part
        return canvases

    def _places(self) -> NDArray[np.float32]:
        """The row and the column of each region, one-hot, (regions, rows + columns)."""
        height, width = self.grid
        rows, columns = np.divmod(np.arange(self.n_regions), width)
        return np.concatenate([np.eye(height)[rows], np.eye(width)[columns]], axis=1)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Write what is most frequent at each place of a caption in training."""
        counts = np.zeros((self.max_digits + 1, N_SYMBOLS))
        for texts in self._texts("train", seed):
            np.add.at(counts, (np.arange(len(counts))[:, None], texts), texts >= 0)
        guesses = counts.argmax(1)[:, None]
        texts = np.concatenate(list(self._texts(split, seed)), axis=1)
        share = (texts == guesses).sum() / (texts >= 0).sum()
        return Baseline("one symbol for each place", float(share))

    def _texts(self, split: Split, seed: int) -> Iterator[NDArray[np.int64]]:
        """Yield the captions of each window, (symbols, captions), -1 where nothing is scored."""
        for window in self.windows(split, seed):
            texts = np.where(window.scored, window.targets, -1)
            yield texts[self.n_regions :]

    def legend(self) -> dict[str, Any]:
        return {"pixels": "0 to 1", "grid": list(self.grid), "start": START, "end": END}

    def check(self) -> None:
        super().check()
        if self.max_digits < self.min_digits:
            rule = f"at least min_digits, {self.min_digits}"
            raise self.refused("max_digits", rule, self.max_digits)
        n_slots = self.rows * self.columns
        if self.max_digits > n_slots:
            raise self.refused("max_digits", f"at most rows * columns, {n_slots}", self.max_digits)
        for name, size in zip(("high", "wide"), self.canvas, strict=True):
            if size < self.patch or (size - self.patch) % self.stride:
                raise UserError(
                    f"tasks.{self.name}: regions of {self.patch} pixels, one every {self.stride}, "
                    f"do not cover a canvas that is {size} pixels {name}: choose patch and stride "
                    f"such that {size} - patch is a multiple of stride."
                )


@functools.lru_cache(maxsize=1)
def digit_images() -> dict[Split, tuple[Images, NDArray[np.int64]]]:
    """The images and classes of each split, read once in a process."""
    from sklearn.datasets import load_digits

    images = load_digits()
    pixels, classes = images.images.astype(np.uint8), images.target.astype(np.int64)
    splits = np.array([split_of(image.tobytes()) for image in pixels])
    return {
        split: ((pixels[splits == split] / MOST).astype(np.float32), classes[splits == split])
        for split in SPLITS
    }
