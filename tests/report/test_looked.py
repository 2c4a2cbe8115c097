"""What the pictures of attention and of DRAW show, from weights of short trainings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.errors import UserError
from nas.export.source import find
from nas.nn.draw import Window
from nas.nn.loading import load, load_model
from nas.nn.regions import RegionModel
from nas.nn.settings import Settings
from nas.nn.trained import TrainedModel
from nas.report.looked import drawing, over_pixels
from nas.session.winner import write_pictures
from nas.tasks import Adding, Captions, Draw, Task
from nas.tasks.captions import END
from nas.training.looked import Box, box_of, glimpses_of, samples_of
from nas.training.train import train_members
from nas.zoo import ZOO
from tests.training.evaluations import evaluation

CAPTIONS = Captions(
    min_digits=1, max_digits=3, columns=2, stride=4, epochs=1, batches_per_epoch=20, batch_size=20,
    validation_batches=2,
)  # fmt: skip
DRAW = Draw(glimpses=2, epochs=1, batches_per_epoch=2, batch_size=20, validation_batches=1)


def weights(task: Task, folder: Path) -> Path:
    settings = (Settings(8_000, learning_rate=0.03, optimizer="adamw"),)
    (member,) = train_members(evaluation(ZOO["gru"], task, settings, 1))
    assert member.weights is not None
    path = folder / f"{task.name}.safetensors"
    path.write_bytes(member.weights)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights(CAPTIONS, tmp_path_factory.mktemp("captions"))


def test_a_model_writes_what_it_gives_when_it_reads_its_own_words(written: Path) -> None:
    """Each caption, given back as the words before, has the same likeliest symbols and weights."""
    with pytest.raises(UserError, match=r"a model with attention has no plain file, graph or sig"):
        find(str(written))
    model = load_model(written)
    assert isinstance(model, RegionModel)
    window = next(iter(CAPTIONS.windows("validation", 0)))
    inputs, n = torch.from_numpy(window.inputs), CAPTIONS.n_regions
    found, maps = model.captions(inputs)
    assert len(found.unique()) > 1
    again = inputs.clone()
    again[n:] = 0
    again[n, :, END] = 1
    for step, symbols in enumerate(found[:-1]):
        again[n + 1 + step, torch.arange(len(symbols)), symbols] = 1
    with torch.no_grad():
        assert torch.equal(model(again)[0][n:].argmax(-1), found)
        torch.testing.assert_close(model.weights(again), maps)


def test_the_share_of_whole_captions_is_that_of_all_that_are_right_to_their_end(
    written: Path,
) -> None:
    model, right = load_model(written), []
    assert isinstance(model, RegionModel)
    for window in CAPTIONS.windows("validation", 0):
        found, _ = model.captions(torch.from_numpy(window.inputs))
        for stream in range(found.shape[1]):
            scored = window.scored[CAPTIONS.n_regions :, stream]
            true = window.targets[CAPTIONS.n_regions :, stream][scored].tolist()
            right.append(found[: len(true), stream].tolist() == true)
    told = write_pictures(written.parent, [Adding(), CAPTIONS], "gru")
    share = f"Of all 40 captions, written by the model alone, {np.mean(right):.1%} are wholly right"
    assert share in told
    # The picture stands beside the weights of the winner; other tasks have none.
    assert "![attention_captions](attention_captions.png)" in told
    assert (written.parent / "attention_captions.png").read_bytes().startswith(b"\x89PNG")
    assert {path.suffix for path in written.parent.iterdir()} == {".png", ".safetensors"}
    assert not write_pictures(written.parent, [Adding(), replace(CAPTIONS, attention="none")], "")


def test_a_pixel_has_the_weights_of_the_regions_that_it_lies_in() -> None:
    shares = np.arange(1.0, 10.0)
    found = over_pixels(CAPTIONS, shares)
    for y in range(16):
        for x in range(16):
            inside = [
                share
                for place, share in enumerate(shares)
                if 0 <= y - place // 3 * 4 < 8 and 0 <= x - place % 3 * 4 < 8
            ]
            assert found[y, x] * (5 + 6 + 8 + 9) == pytest.approx(sum(inside))


def test_glimpses_and_samples_are_drawn(tmp_path: Path) -> None:
    path = weights(DRAW, tmp_path)
    with pytest.raises(UserError, match=r"a model with latent variables has no plain file, graph"):
        find(str(path))
    looking, made_up = drawing(path, DRAW, "gru")
    assert (looking.name, made_up.name) == ("glimpses_draw", "samples_draw")
    assert "gru makes up" in made_up.caption
    model = load(path)
    assert isinstance(model, TrainedModel)
    assert model.sample(5).shape == (5, 1, 64), "images, each drawn in all glimpses"
    bits = next(iter(DRAW.windows("validation", 0))).targets[0]
    for k, one in enumerate(glimpses_of(path, DRAW, 3)):
        assert one.image is not None
        np.testing.assert_array_equal(one.image.reshape(-1), bits[k])
        assert len(one.read) == len(one.written) == len(one.canvases) == DRAW.glimpses
        assert ((one.canvases > 0) & (one.canvases < 1)).all()
    samples = samples_of(path, DRAW, 5)
    assert len({one.canvases[-1].tobytes() for one in samples}) == 5
    assert not any(one.read for one in samples)


def test_a_box_goes_through_the_centres_of_the_outer_filters() -> None:
    """Of 3 filters, 2 pixels apart, around the fourth column and the third row."""
    of = Window(*(torch.tensor([row]) for row in ([4.0, 3.0], [2.0], [0.25], [1.0])))
    assert box_of(of, 0, 3) == Box(left=1.0, top=0.0, edge=4.0, spread=0.5)
