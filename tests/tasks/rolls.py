"""Made-up tunes in a file like those of the literature."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from nas.tasks import music
from nas.tasks.files import Pinned
from nas.tasks.music import N_KEYS

LENGTHS = {"traindata": [9, 4, 30, 12, 7], "validdata": [5, 11, 8], "testdata": [6, 3]}


def made_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[np.ndarray]]:
    """Write the file, and let tasks read it in place of the chorales."""
    draw = np.random.default_rng(0)
    made = {
        name: [(draw.random((n, N_KEYS)) < 0.1).astype(np.uint8) for n in lengths]
        for name, lengths in LENGTHS.items()
    }
    cells = {name: np.empty((1, len(of)), dtype=object) for name, of in made.items()}
    for name, of in made.items():
        for place, tune in enumerate(of):
            cells[name][0, place] = tune
    savemat(folder / "made_up.mat", cells)
    sha256 = hashlib.sha256((folder / "made_up.mat").read_bytes()).hexdigest()
    monkeypatch.setitem(music.PINNED, "jsb", Pinned("made_up.mat", "https://h/x", sha256))
    monkeypatch.setenv("NAS_DATA_DIR", str(folder))
    music._data.cache_clear()
    return made
