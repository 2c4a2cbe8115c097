"""The images of MNIST (LeCun et al. 1998), from files in the folder of data: never fetched."""

import functools
import gzip
from pathlib import Path
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.tasks.base import Split
from nas.tasks.files import DATA_FOLDER

Images = NDArray[np.uint8]
"""(images, 28, 28), 0 to 255."""
ARRAYS = "mnist.npz"
"""Keras's file, with the arrays x_train and x_test."""
IDX = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
"""The files as they were published, as they are or compressed with gzip."""
MAGIC = bytes([0, 0, 8, 3])
"""The first bytes of an IDX file of whole numbers from 0 to 255 in three dimensions."""
N_VALIDATION = 10_000
"""The last images of the training part, which are validation."""


def found(folder: str) -> tuple[Path, ...]:
    """Return the file of arrays, or the IDX files of training and test; nothing if neither is
    there."""
    home = Path(folder).expanduser()
    if (home / ARRAYS).is_file():
        return (home / ARRAYS,)
    pair = [home / f"{name}{suffix}" for name in IDX for suffix in ("", ".gz")]
    here = [path for path in pair if path.is_file()]
    first = {path.name.removesuffix(".gz"): path for path in reversed(here)}
    return tuple(first[name] for name in IDX) if len(first) == len(IDX) else ()


@functools.lru_cache(maxsize=1)
def images(folder: str) -> dict[Split, Images]:
    """Return the images of each split, read once in a process.

    Raises:
        UserError: if there are no files, or they are not of MNIST's form.
    """
    way_out = (
        f"name a folder in {DATA_FOLDER} with {ARRAYS}, which has the arrays x_train and x_test, "
        f"(images, 28, 28), 0 to 255, or with {' and '.join(IDX)}, also as .gz, or choose digits."
    )
    paths = found(folder)
    if not paths:
        raise UserError(f"tasks.draw.data: MNIST is not here: {way_out}")
    named = " and ".join(map(str, paths))
    try:
        train, test = map(_idx, paths) if len(paths) > 1 else _arrays(paths[0])
    except (OSError, KeyError, ValueError, EOFError, ZlibError) as error:
        raise UserError(f"tasks.draw.data: {named} cannot be read ({error}): {way_out}") from None
    fit = all(part.dtype == np.uint8 and part.shape[1:] == (28, 28) for part in (train, test))
    n = len(train) - N_VALIDATION
    if not fit or n < 1 or not len(test):
        raise UserError(
            f"tasks.draw.data: {named} must have over {N_VALIDATION:,} images of 28 x 28 for "
            f"training and some for test, got {train.shape} of {train.dtype} and {test.shape}: "
            f"{way_out}"
        )
    return {"train": train[:n], "validation": train[n:], "test": test}


def _arrays(path: Path) -> tuple[Images, Images]:
    with np.load(path, allow_pickle=False) as stored:
        return stored["x_train"], stored["x_test"]


def _idx(path: Path) -> Images:
    """Read an IDX file: its kind, the three sizes as 32-bit numbers, the highest byte first, and a
    byte for each pixel."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    if data[:4] != MAGIC:
        raise ValueError(f"{path.name} does not begin with the bytes {MAGIC.hex(' ')}")
    sizes = np.frombuffer(data, ">i4", count=3, offset=4)
    return np.frombuffer(data, np.uint8, offset=16).reshape(sizes)
