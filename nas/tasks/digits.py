"""Digits: say which digit an image shows, after its pixels were read one by one."""

import functools
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np

from nas.tasks.base import SPLITS, Interface, Metric
from nas.tasks.sequences import Data, Pieces, SequenceTask, digest

N_PIXELS, N_CLASSES = 64, 10
MOST = 16
"""The value of the brightest pixel."""
N_TRAIN = 1297
"""Images before the test split, which is the last 500."""


@dataclass(frozen=True)
class Digits(SequenceTask):
    """The 1,797 images of 8 x 8 pixels that come with scikit-learn (`load_digits`), as 64 steps.

    The class is scored at the last step. The last 500 images are the test split and the
    `n_validation` before them validation; writers are not kept apart. Pixels are divided by 16. An
    epoch reads 55 x 20 images, which are the training images once. The field `window` is not used.
    """

    name: ClassVar[str] = "digits"
    metric = Metric("accuracy", "share of right labels", higher_is_better=True)

    permuted: bool = False
    """Whether pixels come in one random order instead of row by row."""
    n_validation: Annotated[int, f"in [1, {N_TRAIN - 1}]"] = 200
    """Images of the validation split."""
    epochs: int = field(default=15, kw_only=True)
    batches_per_epoch: int = field(default=55, kw_only=True)
    validation_batches: int = field(default=1000, kw_only=True)

    @property
    def data(self) -> Data:
        """The images; they are read once in a process."""
        return _data(self.permuted, self.n_validation)


@functools.lru_cache(maxsize=4)
def _data(permuted: bool, n_validation: int) -> Data:
    from sklearn.datasets import load_digits

    images = load_digits()
    order = np.random.RandomState(0).permutation(N_PIXELS) if permuted else np.arange(N_PIXELS)
    pixels = (images.data[:, order] / MOST).astype(np.float32)
    classes = images.target.astype(np.int64)
    n = len(classes)
    scored = np.zeros((n, N_PIXELS), dtype=np.bool_)
    scored[:, -1] = True
    rows = (pixels.reshape(-1, 1), classes.repeat(N_PIXELS), scored.reshape(-1))
    starts = np.split(np.arange(n) * N_PIXELS, [N_TRAIN - n_validation, N_TRAIN])
    parts = {
        split: Pieces(*rows, first, np.full(len(first), N_PIXELS))
        for split, first in zip(SPLITS, starts, strict=True)
    }
    legend: dict[str, object] = {"pixels": "0 to 1", "order": order.tolist()}
    interface = Interface(1, N_CLASSES, tokens=False)
    return Data(interface, parts, digest(pixels, classes), legend)
