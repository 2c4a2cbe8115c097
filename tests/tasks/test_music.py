"""Piano rolls: splits, shapes and the losses that others measured."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks import Music, Storn, Vrnn, music
from nas.tasks.base import Split, Window
from nas.tasks.music import N_KEYS, Rolls
from nas.testing import check_task
from tests.tasks.rolls import LENGTHS, made_up

CHORALES = Path(os.environ.get("NAS_DATA_DIR", "")) / "JSB_Chorales.mat"
needs_chorales = pytest.mark.skipif(
    not CHORALES.is_file(), reason="NAS_DATA_DIR names no folder with JSB_Chorales.mat"
)
SMALL = {"batch_size": 4, "batches_per_epoch": 3, "validation_batches": 2}


@pytest.fixture
def tunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[np.ndarray]]:
    """A file like those of the network, in place of the chorales."""
    return made_up(tmp_path, monkeypatch)


@pytest.mark.usefixtures("tunes")
@pytest.mark.parametrize("kind", [Music, Storn, Vrnn])
def test_it_conforms(kind: type[Rolls]) -> None:
    check_task(kind(**SMALL))


def test_validation_and_test_read_whole_tunes_in_order(tunes: dict[str, list[np.ndarray]]) -> None:
    for split, name in (("validation", "validdata"), ("test", "testdata")):
        (window,) = Music(**SMALL).windows(split, seed=0)
        assert window.fresh
        for stream, tune in enumerate(tunes[name]):
            n = len(tune)
            assert window.scored[:, stream].tolist() == [
                step < n for step in range(len(window.scored))
            ]
            np.testing.assert_array_equal(window.targets[:n, stream], tune)
            np.testing.assert_array_equal(window.inputs[1:n, stream], tune[:-1])
            assert not window.inputs[0, stream].any()


def test_training_cuts_tunes_and_each_piece_sees_the_frame_before_it(
    tunes: dict[str, list[np.ndarray]],
) -> None:
    task = Music(window=8, **{**SMALL, "batch_size": 3})
    pieces = [-(-n // 8) for n in LENGTHS["traindata"]]
    known = {
        tune[start : start + 8].tobytes(): tune[start - 1] if start else np.zeros(N_KEYS)
        for tune in (one.astype(np.float32) for one in tunes["traindata"])
        for start in range(0, len(tune), 8)
    }
    seen = set()
    for epoch in range(2):  # 3 batches of 3 pieces: all of them within two epochs
        for window in task.windows("train", seed=0, epoch=epoch):
            for stream in range(3):
                n = int(window.scored[:, stream].sum())
                piece = window.targets[:n, stream].tobytes()
                np.testing.assert_array_equal(window.inputs[0, stream], known[piece])
                seen.add(piece)
    assert len(seen) <= sum(pieces) == len(known)


def test_the_baseline_is_the_likelihood_of_shares_by_laplace(
    tunes: dict[str, list[np.ndarray]],
) -> None:
    known = np.concatenate(tunes["traindata"]).astype(float)
    held = np.concatenate(tunes["validdata"]).astype(float)
    expected = 0.0
    for key in range(N_KEYS):
        share = (known[:, key].sum() + 1) / (len(known) + 2)
        for bit in held[:, key]:
            expected -= np.log(share if bit else 1 - share) / len(held)
    task = Music(**SMALL)
    assert task.baseline(seed=0).value == pytest.approx(expected, rel=1e-12)
    assert task.chance() == pytest.approx(88 * np.log(2))


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(
        UserError, match='path must be one of jsb, nottingham, piano_midi, got "bach"'
    ):
        Music("bach").check()


@pytest.mark.usefixtures("tunes")
def test_another_file_of_that_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "made_up.mat").write_bytes(b"something else")
    with pytest.raises(UserError, match="is not the jsb that is pinned: its SHA-256 must be"):
        Music().check()


class OnTest(Music):
    """The test split as validation."""

    def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
        return super().windows("test" if split == "validation" else split, seed, epoch)


@needs_chorales
def test_chorales_are_those_of_the_literature() -> None:
    """229 / 76 / 77 tunes of 13,807 / 4,602 / 4,725 frames, and 11.06 nats a frame of test for keys
    that are independent of the past, as an independent script found."""
    music._data.cache_clear()
    task = Music()
    counts = {
        split: (len(part.starts), int(part.lengths.sum()))
        for split, part in task.data.parts.items()
    }
    assert counts == {"train": (229, 13_807), "validation": (76, 4_602), "test": (77, 4_725)}
    check_task(task)
    assert OnTest().baseline(seed=0).value == pytest.approx(11.06, abs=0.005)
