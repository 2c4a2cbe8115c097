"""Images of digits as sequences of pixels, against scikit-learn's own arrays."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nas.errors import UserError
from nas.tasks.digits import Digits
from nas.testing import check_task

SMALL = {"batches_per_epoch": 5, "validation_batches": 5}


def read(task: Digits, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The pixels, (images, 64), and the classes of a split."""
    windows = list(task.windows(split, seed=0))
    for window in windows:
        assert window.fresh
        assert not window.scored[:-1].any()
        assert window.scored[-1].all()
    pixels = np.concatenate([window.inputs[..., 0].T for window in windows])
    return pixels, np.concatenate([window.targets[-1] for window in windows])


@pytest.mark.parametrize("permuted", [False, True])
def test_splits_are_the_images_in_their_order(permuted: bool) -> None:
    images = load_digits()
    order = np.random.RandomState(0).permutation(64) if permuted else np.arange(64)
    task = Digits(permuted)
    assert task.legend()["order"] == order.tolist()
    for split, which in (("validation", slice(1097, 1297)), ("test", slice(1297, 1797))):
        pixels, classes = read(task, split)
        restored = np.empty_like(pixels)
        restored[:, order] = pixels
        np.testing.assert_array_equal(restored * 16, images.images[which].reshape(-1, 64))
        np.testing.assert_array_equal(classes, images.target[which])
    pixels, classes = read(task, "train")
    assert len(pixels) == 1100
    drawn = {(one.tobytes(), int(label)) for one, label in zip(pixels, classes, strict=True)}
    known = {
        ((image.astype(np.float32) / 16)[order].tobytes(), int(label))
        for image, label in zip(images.data[:1097], images.target[:1097], strict=True)
    }
    assert drawn == known, "every training image once, and three twice"


def test_another_share_is_validation() -> None:
    pixels, _ = read(Digits(n_validation=297), "validation")
    np.testing.assert_array_equal(pixels * 16, load_digits().data[1000:1297])


def test_levels_are_those_of_the_classes() -> None:
    target = load_digits().target
    commonest = np.bincount(target[:1097]).argmax()
    share = np.mean(target[1097:1297] == commonest)
    assert Digits().baseline(0).value == max(0.1, share)
    assert Digits().chance() == 0.1


def test_the_order_of_pixels_and_the_images_are_in_the_version() -> None:
    assert Digits().content() != Digits(permuted=True).content()
    assert Digits().version != Digits(n_validation=100).version


@pytest.mark.parametrize("task", [Digits(**SMALL), Digits(True, 100, **SMALL)], ids=str)
def test_conforms(task: Digits) -> None:
    check_task(task)


@pytest.mark.parametrize("n", [0, 1297])
def test_a_split_without_images_is_an_error(n: int) -> None:
    with pytest.raises(UserError, match=rf"digits.n_validation must be in \[1, 1296\], got {n}\."):
        Digits(n_validation=n).check()
