"""Training whose layers run as on a GPU: `Again` stands for the recorder of CUDA, and Triton's
interpreter for its kernels."""

import dataclasses
from typing import Any

import pytest
import torch

import nas.compile.layer
import nas.training.module
from nas.compile import graphs
from nas.compile.capture import Device
from nas.compile.gpu import fit
from nas.compile.gpu import run as kernels
from nas.tasks import Xml
from nas.tasks.base import Task
from nas.training.train import train
from nas.zoo import ZOO
from tests.compile.recorder import Again
from tests.training.plain import LSTM, SEED, SETTINGS, XML, Endless

MUT1 = ZOO["mut1"]


@pytest.mark.parametrize(
    "task", [XML, Endless(epochs=2, batches_per_epoch=5, batch_size=4, window=8)], ids=["xml", "on"]
)
def test_replayed_members_learn_as_others_do(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers of one shape, whose members leave: one diverges, one is cut."""
    rates = (0.5, 0.1, 1e38, 0.3)
    settings = [dataclasses.replace(SETTINGS, learning_rate=rate) for rate in rates]
    expected = train(LSTM, task, settings, SEED, halving=2)
    recorder = Again()
    monkeypatch.setattr(graphs, "_devices", {torch.device("cpu"): Device(recorder)})
    monkeypatch.setattr(nas.compile.layer, "choose", lambda *_: graphs.run_layer)
    monkeypatch.setattr(nas.training.module, "passes", lambda *_: False)  # as on a GPU
    for one, other in zip(train(LSTM, task, settings, SEED, halving=2), expected, strict=True):
        assert (one.status, len(one.curve)) == (other.status, len(other.curve))
        found: list[Any] = [(epoch.train_loss, epoch.loss) for epoch in one.curve]
        assert found == [pytest.approx((e.train_loss, e.loss), rel=1e-4) for e in other.curve]
    assert recorder.n_recorded >= 3, "forward, backward, and validation"
    assert recorder.n_replayed > 10


@pytest.mark.process  # the interpreter takes seconds
def test_kernels_learn_what_c_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers, tokens folded into the products, a member that diverges."""
    task = Xml(epochs=2, batches_per_epoch=2, validation_batches=1, batch_size=4, window=5)
    rates = (0.5, 0.1, 1e38)
    settings = [dataclasses.replace(SETTINGS, learning_rate=rate) for rate in rates]
    expected, obstacles = train(MUT1, task, settings, SEED), set[str]()

    def chosen(backend: object, *about: Any) -> Any:
        obstacles.add(fit.obstacle(*about))
        return kernels.run_layer

    monkeypatch.setattr(nas.compile.layer, "choose", chosen)
    for one, other in zip(train(MUT1, task, settings, SEED), expected, strict=True):
        assert one.status == other.status
        found: list[Any] = [(epoch.train_loss, epoch.loss) for epoch in one.curve]
        assert found == [pytest.approx((e.train_loss, e.loss), rel=1e-5) for e in other.curve]
    assert obstacles == {""}
