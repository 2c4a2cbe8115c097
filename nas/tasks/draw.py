"""Draw: images of digits are modelled by looking at them and drawing them in several glimpses."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.tasks import files, mnist
from nas.tasks.base import (
    SPLITS,
    Baseline,
    Interface,
    Metric,
    Split,
    Task,
    Window,
    generator,
    scored_rows,
    split_of,
)
from nas.tasks.kinds import DrawKind
from nas.tasks.sequences import digest

Images = NDArray[np.uint8]
"""Images, (images, rows, columns), from 0 to the brightest value."""
BRIGHTEST = {"digits": 16, "mnist": 255}
"""The value of the brightest pixel of each data set."""


@dataclass(frozen=True)
class Draw(Task):
    """Model images of digits as DRAW does (Gregor et al. 2015, arXiv:1502.04623).

    One stack of the cell reads a window of the image and of what the canvas lacks, and gives q(z),
    a normal distribution of independent numbers, whose prior is N(0, 1); another reads z and adds
    to the canvas at a window of its own; after `glimpses` such steps the canvas gives the
    probability that each pixel is lit. The loss is the bound on -ln p(image) in nats, of one draw
    of z, with the divergence computed exactly; on test it comes with the importance-weighted bound
    of 64 draws.

    The images are the 1,797 of 8 x 8 pixels that come with scikit-learn, of which a hash of the lit
    pixels gives each to one split; or the 28 x 28 of MNIST, found in `NAS_DATA_DIR` as Keras's
    file or as the published ones (`nas/tasks/mnist.py`), where the last 10,000 of the training part
    are validation. The field `window` is not used.
    """

    name: ClassVar[str] = "draw"
    forced: ClassVar[bool] = False
    metric = Metric("loss", "nats an image", higher_is_better=False)

    data: Literal["digits", "mnist"] = "digits"
    """Which images."""
    binarised: Literal["threshold", "sampled"] = "threshold"
    """How grey becomes black or white: lit above half of the brightest, or drawn anew each time
    with the brightness as its probability (Salakhutdinov & Murray 2008)."""
    glimpses: Annotated[int, "in [1, 256]"] = 8
    """Steps in each of which the image is looked at and drawn on."""
    latent_size: Annotated[int, "in [1, 1024]"] = 8
    """Numbers of z at each glimpse."""
    read: Annotated[int, "in [0, 28]"] = 4
    """Filters along an edge of the window that is read; 0: no window, the whole image is read."""
    write: Annotated[int, "in [0, 28]"] = 4
    """Filters along an edge of the window that is written; 0: no window, the whole canvas is."""
    canvas: Literal["learned", "zeros"] = "learned"
    """The canvas before the first glimpse."""
    annealing: Annotated[int, "at least 0"] = 0
    """Minibatches over which the weight of the divergence rises from 0 to 1; 0: it is always 1."""

    n_params: tuple[int, ...] = field(default=(50_000,), kw_only=True)
    epochs: int = field(default=40, kw_only=True)
    batches_per_epoch: int = field(default=50, kw_only=True)
    validation_batches: int = field(default=1000, kw_only=True)
    batch_size: int = field(default=50, kw_only=True)

    @property
    def side(self) -> int:
        """Pixels along an edge of an image."""
        return 8 if self.data == "digits" else 28

    @property
    def interface(self) -> Interface:
        how = (self.side, self.glimpses, self.read, self.write, self.canvas)
        kind = DrawKind(self.latent_size, self.annealing, *how)
        return Interface(self.side**2, self.side**2, "bernoulli", tokens=False, kind=kind)

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        random = generator(self, split, seed, epoch)
        images = self._images()[split]
        if split == "train":
            for _ in range(self.batches_per_epoch):
                which = random.integers(len(images), size=self.batch_size)
                yield self._laid_out(images[which], random)
            return
        most = self.validation_batches * self.batch_size
        for first in range(0, min(len(images), most), self.batch_size):
            yield self._laid_out(images[first : first + self.batch_size], random)

    def _laid_out(self, images: Images, random: np.random.Generator) -> Window:
        """Make the window of some images, each of which is one step of one stream."""
        grey = images.reshape(1, len(images), -1) / BRIGHTEST[self.data]
        least = 0.5 if self.binarised == "threshold" else random.random(grey.shape, np.float32)
        bits = (grey > least).astype(np.float32)
        return Window(bits, bits.copy(), np.ones(bits.shape[:2], dtype=np.bool_), fresh=True)

    def baseline(self, seed: int, split: Split = "validation") -> Baseline:
        """Light each pixel as often as in training, whatever the others are."""
        lit, _ = scored_rows(self.windows("train", seed))
        shares = (lit.sum(0) + 1) / (len(lit) + 2)
        bits, _ = scored_rows(self.windows(split, seed))
        losses = -(bits * np.log(shares) + (1 - bits) * np.log(1 - shares)).sum(1)
        return Baseline("independent pixels", float(losses.mean()))

    def _images(self) -> dict[Split, Images]:
        return _digits() if self.data == "digits" else mnist.images(files.folder())

    def missing(self) -> str:
        if self.data == "digits" or mnist.found(files.folder()):
            return ""
        return f"{mnist.ARRAYS} is not here (it is found in {files.DATA_FOLDER})"

    def content(self) -> str:
        return _content(self.data, files.folder())

    def legend(self) -> dict[str, Any]:
        return {"side": self.side, "pixels": "1 is lit"}


@functools.lru_cache(maxsize=2)
def _content(data: str, folder: str) -> str:
    images = _digits() if data == "digits" else mnist.images(folder)
    return digest(*(images[split] for split in SPLITS))


@functools.lru_cache(maxsize=1)
def _digits() -> dict[Split, Images]:
    """scikit-learn's images by split, read once in a process; equal ones are in one split, also
    where only their lit pixels are equal."""
    from sklearn.datasets import load_digits

    images = load_digits().images.astype(np.uint8)
    lit = images > BRIGHTEST["digits"] / 2
    splits = np.array([split_of(image.tobytes()) for image in lit])
    return {split: images[splits == split] for split in SPLITS}
