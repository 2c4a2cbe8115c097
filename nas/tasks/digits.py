"""Digits: say which digit an image shows, after its pixels were read one by one."""

import functools
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nas.errors import UserError
from nas.tasks import sequences
from nas.tasks.base import Interface, Metric, Split
from nas.tasks.sequences import Data, Pieces, SequenceTask

N_PIXELS, N_CLASSES = 64, 10
MOST = 16
"""The brightest pixel."""
N_TRAIN = 1297
"""Images before the test split, which is the last 500."""


@dataclass(frozen=True)
class Digits(SequenceTask):
    """The 1,797 images of 8 x 8 pixels that come with scikit-learn (`load_digits`), as 64 steps.

    The class is scored at the last step. The last 500 images are the test split and the
    `n_validation` before them validation; writers are not told apart. Pixels are divided by 16. All
    are read at every epoch: 55 x 20 are the training images once. The field `window` is not used.
    """

    name: ClassVar[str] = "digits"

    permuted: bool = False
    """Whether pixels come in one random order instead of row by row."""
    n_validation: int = 200
    """Images of the validation split."""
    epochs: int = field(default=15, kw_only=True)
    batches_per_epoch: int = field(default=55, kw_only=True)
    validation_batches: int = field(default=1000, kw_only=True)

    @property
    def metric(self) -> Metric:
        return sequences.metric_of("categorical", "accuracy")

    @property
    def data(self) -> Data:
        """The images; they are read once in a process."""
        return _data(self.permuted, self.n_validation)

    def check(self) -> None:
        super().check()
        if not 1 <= self.n_validation < N_TRAIN:
            raise UserError(
                f"tasks.{self.name}.n_validation must be 1 to {N_TRAIN - 1}, "
                f"got {self.n_validation}."
            )


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
    bounds = [0, N_TRAIN - n_validation, N_TRAIN, n]
    parts: dict[Split, Pieces] = {}
    for place, split in enumerate(sequences.SPLITS):
        starts = np.arange(bounds[place], bounds[place + 1]) * N_PIXELS
        parts[split] = Pieces(*rows, starts, np.full(len(starts), N_PIXELS))
    legend: dict[str, object] = {"pixels": "0 to 1", "order": order.tolist()}
    interface = Interface(1, N_CLASSES, tokens=False)
    return Data(interface, parts, sequences.digest(pixels, classes), legend)
