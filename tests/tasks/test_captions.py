"""Images of several digits and their captions: windows read back, against scikit-learn's images."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nas.errors import UserError
from nas.tasks import Captions, Task
from nas.tasks.base import SPLITS, Split, Window
from nas.tasks.captions import END, N_SYMBOLS, START
from nas.testing import check_task

small = partial(Captions, batches_per_epoch=5, validation_batches=5, batch_size=20)
TASKS = [
    small(),
    small(attention="none", positions="none"),
    small(min_digits=1, max_digits=4, jitter=3, patch=4, stride=3),
    small(jitter=2, columns=3, patch=10, stride=5, attention="general"),
]
IMAGES = load_digits()


def found(canvas: np.ndarray, task: Captions) -> list[int]:
    """The images on a canvas, by their places in scikit-learn's data, in reading order of slots:
    whichever image, at whichever place, leaves nothing of its slot over."""
    side, places = 8 + task.jitter, []
    pixels = IMAGES.images / 16
    for row in range(task.rows):
        for column in range(task.columns):
            corner = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
            slot = canvas[corner]
            if slot.any():
                places.append(only_match(slot, pixels, task.jitter))
    return places


def only_match(slot: np.ndarray, pixels: np.ndarray, jitter: int) -> int:
    matches = set()
    for y in range(jitter + 1):
        for x in range(jitter + 1):
            inside = slot[y : y + 8, x : x + 8]
            if inside.sum() == slot.sum():
                matches |= set(np.flatnonzero((pixels == inside).all((1, 2))).tolist())
    assert len({IMAGES.target[place] for place in matches}) == 1
    return min(matches)


def texts(task: Captions, window: Window) -> Iterator[tuple[list[int], list[int]]]:
    """The symbols that each caption reads, and those that it writes."""
    n = task.n_regions
    assert not window.scored[:n].any()
    assert not window.inputs[:n, :, :N_SYMBOLS].any()
    assert not window.inputs[n:, :, N_SYMBOLS:].any()
    for stream in range(window.targets.shape[1]):
        scored = window.scored[n:, stream]
        length = int(scored.sum())
        assert scored[:length].all()
        read = window.inputs[n:, stream, :N_SYMBOLS]
        assert not read[length:].any()
        assert (read[:length].sum(1) == 1).all()
        yield read[:length].argmax(1).tolist(), window.targets[n:, stream][scored].tolist()


@pytest.mark.parametrize("task", TASKS)
def test_captions_name_the_images_that_are_on_the_canvas(task: Captions) -> None:
    """And no image of a split is in another one, whatever the seed."""
    seen: dict[Split, set[int]] = {}
    lengths = []
    for split in SPLITS:
        seen[split] = set()
        for window in task.windows(split, seed=0):
            pairs = zip(task.canvases_of(window), texts(task, window), strict=True)
            for canvas, (read, written) in pairs:
                images = found(canvas, task)
                assert written == [*IMAGES.target[images], END]
                assert read == [START, *written[:-1]]
                seen[split] |= set(images)
                lengths.append(len(images))
    assert not seen["train"] & (seen["validation"] | seen["test"])
    assert not seen["validation"] & seen["test"]
    counts = np.bincount(lengths, minlength=task.max_digits + 1)[task.min_digits :]
    share = 1 / len(counts)
    spread = np.sqrt(share * (1 - share) / len(lengths))
    assert counts / len(lengths) == pytest.approx(share, abs=5 * spread + 1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_regions_are_the_squares_of_the_canvas_with_their_rows_and_columns(task: Captions) -> None:
    drawn = task.drawn("train", np.random.default_rng(1), 7)
    window = task.laid_out(drawn)
    np.testing.assert_array_equal(task.canvases_of(window), drawn.canvases)
    height, width = task.grid
    for row in range(height):
        for column in range(width):
            y, x = row * task.stride, column * task.stride
            features = window.inputs[row * width + column, :, N_SYMBOLS:]
            square = drawn.canvases[:, y : y + task.patch, x : x + task.patch]
            np.testing.assert_array_equal(features[:, : task.patch**2], square.reshape(7, -1))
            place = features[:, task.patch**2 :]
            if task.positions == "none":
                assert place.shape == (7, 0)
                continue
            expected = np.zeros((7, height + width))
            expected[:, [row, height + column]] = 1
            np.testing.assert_array_equal(place, expected)


@pytest.mark.parametrize("task", TASKS)
def test_conforms(task: Task) -> None:
    check_task(task)


def test_the_baseline_is_the_most_frequent_symbol_of_each_place() -> None:
    task = small(min_digits=1, max_digits=3, validation_batches=40)
    value = task.baseline(0).value
    assert value == task.baseline(0).value
    # 1, 2 or 3 names and an end: of 9 symbols of 3 captions, a guess of a name has 1 in 10, the
    # second place is an end in 1 of 3, the third in 1 of 2, and the fourth always.
    assert value == pytest.approx((3 * 0.1 + 1 + 1 + 1) / 9, abs=0.02)
    assert task.chance() == 1 / 11


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (small(min_digits=3), r"captions.max_digits must be at least min_digits, 3, got 2"),
        (small(max_digits=5), r"captions.max_digits must be at most rows \* columns, 4, got 5"),
        (small(patch=32), r"regions of 32 pixels, one every 8, do not cover .* 16 pixels high"),
        (small(stride=3), r"cover a canvas that is 16 pixels high: choose .* 16 - patch is a mul"),
        (small(columns=3, rows=1, stride=7), r"do not cover a canvas that is 24 pixels wide"),
        (small(attention="much"), r"captions.attention must be one of additive, general, none"),
        (small(start="end"), r"captions.start must be one of mean, initial"),
        (small(penalty=-1.0), r"captions.penalty must be in \[0, 100\], got -1"),
    ],
)
def test_fields_out_of_range_are_errors(task: Task, message: str) -> None:
    with pytest.raises(UserError, match=message):
        task.check()


def wrong(window: Window) -> Window:
    scored = np.ones_like(window.scored)
    return replace(window, scored=scored)


def test_windows_of_another_kind_do_not_conform() -> None:
    class Wrong(Captions):
        def windows(self, split: Split, seed: int, epoch: int = 0) -> Iterator[Window]:
            return map(wrong, super().windows(split, seed, epoch))

    with pytest.raises(AssertionError, match="with regions, windows must be fresh"):
        check_task(Wrong(batches_per_epoch=5, validation_batches=5))
