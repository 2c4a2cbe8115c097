"""Training on a bound: alone as together, what is measured, and the weights sent back."""

from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from nas.errors import UserError
from nas.export.source import find
from nas.nn.latent import bound, importance_weighted, log_weights
from nas.nn.latent_model import HELD_OUT, LatentModel, generators, noise_of
from nas.nn.loading import load, load_model
from nas.nn.settings import Settings
from nas.nn.trained import TrainedModel
from nas.session.winner import write_pictures
from nas.tasks import Storn, Vrnn
from nas.tasks.base import Split
from nas.tasks.music import N_KEYS, Rolls
from nas.training.objective import N_DRAWS, TIGHTER
from nas.training.train import Member, train_members
from nas.training.window_tensors import windows_of
from nas.zoo import ZOO
from tests.tasks.rolls import LENGTHS, made_up
from tests.tolerances import OTHER_KERNEL_32
from tests.training.evaluations import evaluation

SEED = 3
KINDS: dict[str, Callable[..., Rolls]] = {"storn": Storn, "vrnn": Vrnn}
SMALL = {"epochs": 2, "batches_per_epoch": 3, "batch_size": 4, "window": 8, "latent_size": 3}
MANY = tuple(
    Settings(
        (5000, 7000)[k % 2],
        num_layers=1 + k // 4,
        learning_rate=(0.05, 0.01)[k // 2 % 2] * (1e38 if k == 5 else 1),
        optimizer=("sgd", "adamw")[k // 2 % 2],
        dropout=0.2 * (k % 3),
        stacking=("plain", "residual_norm")[k // 4],
    )
    for k in (0, 1, 4, 5)
)


@pytest.fixture(params=KINDS)
def task(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rolls:
    made_up(tmp_path, monkeypatch)
    return KINDS[request.param](**SMALL, annealing=4)


def members(task: Rolls, settings: tuple[Settings, ...]) -> list[Member]:
    asked = evaluation(ZOO["lstm"], task, settings, SEED, veto="note", measure_test=True)
    return train_members(asked)


def test_settings_together_give_what_each_gives_alone(task: Rolls) -> None:
    together = members(task, MANY)
    assert together == [members(task, (one,))[0] for one in MANY]
    assert [one.outcome.status for one in together] == ["ok"] * 3 + ["diverged"]
    for one in together:
        assert 0 < one.outcome.n_params <= 7000
        assert not one.outcome.doubt, "its layers are alive"


def test_weights_come_back_with_what_was_measured(task: Rolls, tmp_path: Path) -> None:
    (member,) = members(task, MANY[:1])
    assert member.weights is not None
    path = tmp_path / f"{task.name}.safetensors"
    path.write_bytes(member.weights)
    network, model = load_model(path), load(path)
    assert isinstance(network, LatentModel)
    assert network.interface == task.interface
    outcome = member.outcome
    assert outcome.best == pytest.approx(of_split(network, task, "validation", 1), abs=1e-4)
    assert outcome.test == pytest.approx(of_split(network, task, "test", 1), abs=1e-4)
    tighter = of_split(network, task, "test", N_DRAWS)
    assert outcome.test_marks == {TIGHTER: pytest.approx(tighter, abs=1e-4)}
    assert isinstance(model, TrainedModel)
    asked_of(model, path, task)


@torch.no_grad()
def of_split(network: LatentModel, task: Rolls, split: Split, draws: int) -> float:
    """The bound in nats a frame, or with several draws the tighter one, by the network alone."""
    total, n_frames = 0.0, sum(LENGTHS[{"validation": "validdata", "test": "testdata"}[split]])
    noise = noise_of(generators([HELD_OUT], torch.device("cpu")), torch.float32)
    for window in windows_of(task, split, SEED, 0):
        inputs, targets, scored = window.inputs, window.laid_out, window.scored
        batch = inputs.shape[1]
        wide = scored.repeat(1, draws)
        found = network.terms(inputs.repeat(1, draws, 1), targets.repeat(1, draws, 1), noise)
        if draws == 1:
            total += float(bound(found, scored))
        else:
            weights = log_weights(found, wide).view(draws, batch)
            total += float(importance_weighted(weights).sum())
    return total / n_frames


def asked_of(model: TrainedModel, path: Path, task: Rolls) -> None:
    rolls = [np.eye(N_KEYS)[:6], np.zeros((4, N_KEYS))]
    found = model.bound(rolls)
    assert found.shape == (2,)
    np.testing.assert_allclose(model.bound(rolls[1:]), found[1:], **OTHER_KERNEL_32)
    made = model.sample(2, 5, seed=1)
    assert made.shape == (2, 5, N_KEYS)
    np.testing.assert_array_equal(made, model.sample(2, 5, seed=1))
    with pytest.raises(UserError, match=r"predicts no next step: model\.bound"):
        model.predict(rolls)
    with pytest.raises(UserError, match="bound needs at least 1 draw, got 0"):
        model.bound(rolls, draws=0)
    with pytest.raises(UserError, match="sample needs n and length of at least 1, got 0 and 100"):
        model.sample(0)
    assert model.sample().shape == (1, 100, N_KEYS)
    with pytest.raises(UserError, match="a model with latent variables has no plain file"):
        find(str(path))
    if task.name == "storn":  # a drawing takes long
        looked_at(model, path, task)


def looked_at(model: TrainedModel, path: Path, task: Rolls) -> None:
    told = write_pictures(path.parent, [task], "mine")
    heard = mido.MidiFile(path.parent / "samples_storn.mid")
    n_on = sum(message.type == "note_on" for message in heard)
    roll = model.sample(1, 100, seed=0)[0].astype(np.int8)
    assert n_on == int((np.diff(roll, axis=0, prepend=0) == 1).sum())
    assert (path.parent / "samples_storn.png").read_bytes().startswith(b"\x89PNG")
    assert "what mine makes up, drawn with the seeds 0 to 2" in told
    for name in ("![samples_storn](samples_storn.png)", "[samples_storn.mid](samples_storn.mid)"):
        assert name in told
