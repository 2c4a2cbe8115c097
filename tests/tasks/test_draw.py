"""Images for DRAW, against scikit-learn's own arrays and a made-up MNIST."""

import gzip
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nas.errors import UserError
from nas.nn.settings import Settings
from nas.tasks import Draw, Task, mnist
from nas.tasks.base import SPLITS, Split
from nas.testing import check_task
from nas.training.train import train as train_on
from nas.zoo import ZOO

small = partial(Draw, batches_per_epoch=4, batch_size=30)
IMAGES = load_digits().images.reshape(-1, 64)


def read(task: Draw, split: Split, epoch: int = 0) -> np.ndarray:
    windows = list(task.windows(split, 0, epoch))
    for window in windows:
        assert window.scored.all()
        assert window.scored.shape[0] == 1
        np.testing.assert_array_equal(window.inputs, window.targets)
    return np.concatenate([window.targets[0] for window in windows])


def test_held_out_images_are_those_of_scikit_learn_each_once() -> None:
    task = small()
    lit = (IMAGES > 8).astype(np.float32)
    parts = {split: read(task, split) for split in SPLITS}
    known = {image.tobytes() for image in lit}
    for split in ("validation", "test"):
        assert {image.tobytes() for image in parts[split]} <= known
        assert 150 < len(parts[split]) < 220
    held_out = {image.tobytes() for split in ("validation", "test") for image in parts[split]}
    many = np.concatenate([read(small(batches_per_epoch=60), "train", epoch) for epoch in (0, 1)])
    trained = {image.tobytes() for image in many}
    assert not trained & held_out
    assert len(trained) > 0.9 * len(known - held_out)


def test_sampled_bits_are_lit_as_often_as_they_are_bright() -> None:
    task = small(binarised="sampled", batches_per_epoch=200)
    lit = read(task, "train")
    assert not np.array_equal(lit[:30], read(task, "train", epoch=1)[:30])
    assert set(np.unique(lit)) == {0, 1}
    grey = IMAGES / 16
    assert lit.mean() == pytest.approx(grey.mean(), abs=0.01)
    assert not lit[:, grey.max(0) == 0].any()


@pytest.mark.parametrize("task", [small(), small(read=0, write=0, canvas="zeros")])
def test_conforms(task: Task) -> None:
    check_task(task)


def test_the_baseline_lights_each_pixel_as_often_as_in_training() -> None:
    task = small()
    lit, held_out = read(task, "train").astype(float), read(task, "validation")
    total = 0.0
    for pixel in range(64):
        share = (lit[:, pixel].sum() + 1) / (len(lit) + 2)
        for bit in held_out[:, pixel]:
            total -= np.log(share if bit else 1 - share)
    assert task.baseline(0).value == pytest.approx(total / len(held_out), rel=1e-5)
    assert task.chance() == pytest.approx(64 * np.log(2))


def test_mnist_is_found_in_the_folder_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = small(data="mnist", validation_batches=2, binarised="sampled")
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    assert task.missing() == "mnist.npz is not here (it is found in NAS_DATA_DIR)"
    with pytest.raises(UserError, match=r"MNIST is not here: .* or choose digits"):
        next(task.windows("train", 0))
    random = np.random.default_rng(0)
    train = random.integers(256, size=(10_050, 28, 28), dtype=np.uint8)
    test = random.integers(256, size=(40, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=train[:50], x_test=test)
    with pytest.raises(UserError, match=r"over 10,000 images of .*\(50, 28, 28\)"):
        next(task.windows("train", 0))
    np.savez(tmp_path / "mnist.npz", x_train=train, x_test=test)
    assert task.missing() == ""
    assert task.interface.outputs == 784
    lit = read(small(data="mnist"), "test")
    np.testing.assert_array_equal(lit, (test.reshape(40, -1) > 127.5))
    assert len(read(task, "validation")) == 60


def idx(images: np.ndarray) -> bytes:
    """The form in which MNIST was published: yann.lecun.com/exdb/mnist."""
    return struct.pack(">HBB3I", 0, 0x08, images.ndim, *images.shape) + images.tobytes()


def test_mnist_is_read_as_it_was_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As IDX files, one of them compressed; and an epoch of training and sampling on it."""
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    random = np.random.default_rng(1)
    train = random.integers(256, size=(10_030, 28, 28), dtype=np.uint8)
    test = random.integers(256, size=(7, 28, 28), dtype=np.uint8)
    first, second = (tmp_path / f"{name}-images-idx3-ubyte" for name in ("train", "t10k"))
    first.write_bytes(idx(train))
    task = replace(small(data="mnist"), glimpses=2, epochs=1, validation_batches=1)
    assert task.missing() == "mnist.npz is not here (it is found in NAS_DATA_DIR)"
    second.with_suffix(".gz").write_bytes(gzip.compress(idx(test)))
    assert task.missing() == ""
    mnist.images.cache_clear()
    np.testing.assert_array_equal(read(task, "test"), test.reshape(7, -1) > 127.5)
    lit = {row.tobytes() for row in train[:30].reshape(30, -1) > 127.5}
    assert {row.tobytes() for row in read(task, "train").astype(np.bool_)} <= lit
    setting = Settings(20_000, learning_rate=0.01, optimizer="adamw")
    (outcome,) = train_on(ZOO["gru"], task, [setting], seed=0)
    assert outcome.status == "ok"
    assert outcome.best is not None
    assert 0 < outcome.best < 3 * 784 * np.log(2)
    first.write_bytes(idx(train)[4:])
    mnist.images.cache_clear()
    with pytest.raises(UserError, match="does not begin with the bytes 00 00 08 03"):
        next(task.windows("train", 0))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (small(glimpses=0), r"tasks.draw.glimpses must be in \[1, 256\], got 0"),
        (small(latent_size=0), r"tasks.draw.latent_size must be in \[1, 1024\], got 0"),
        (small(read=29), r"tasks.draw.read must be in \[0, 28\], got 29"),
        (small(data="faces"), r"tasks.draw.data must be one of digits, mnist, got \"faces\""),
        (small(binarised="no"), r"tasks.draw.binarised must be one of threshold, sampled"),
    ],
)
def test_fields_out_of_range_are_errors(task: Task, message: str) -> None:
    with pytest.raises(UserError, match=message):
        task.check()
