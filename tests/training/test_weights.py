"""What a worker sends back: the weights of the best epoch of the best setting."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas.nn.loading import load_model
from nas.nn.model import SequenceModel
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation
from nas.tasks import Memorization, Task, Text
from nas.tasks.base import ACCURACY
from nas.training.train import run, train
from nas.zoo import ZOO
from tests.training.plain import ENDLESS, LSTM, SEED, SETTINGS, XML, nll


def measured(model: SequenceModel, task: Task) -> tuple[float, float]:
    """Loss and accuracy on validation of a model that is ready for use."""
    losses: list[Tensor] = []
    hits: list[Tensor] = []
    state = None
    with torch.no_grad():
        for window in task.windows("validation", SEED):
            scored = torch.from_numpy(window.scored)
            logits, state = model(torch.from_numpy(window.inputs), None if window.fresh else state)
            losses.append(nll(logits, window))
            right = logits.argmax(-1) == torch.from_numpy(window.targets)
            hits.append(right[scored])
    return float(torch.cat(losses).mean()), float(torch.cat(hits).double().mean())


TEXT = Text(epochs=3, batches_per_epoch=4, validation_batches=3, batch_size=4, window=8)
MEMORIZATION = Memorization(epochs=3, batches_per_epoch=4, validation_batches=3, batch_size=4)


@pytest.mark.parametrize("name", ["lstm", "gru", "mut1"])
@pytest.mark.parametrize("task", [TEXT, MEMORIZATION], ids=["text", "memorization"])
def test_the_weights_sent_back_have_the_best_metric(tmp_path: Path, name: str, task: Task) -> None:
    cell = ZOO[name]
    settings = tuple(Settings(4000, learning_rate=r, dropout=0.2) for r in (0.1, 4.0, 1e30))
    result = run(Evaluation(str(cell), cell.key, task, settings, SEED))
    assert result.outcomes == tuple(train(cell, task, settings, SEED))
    best = [o for o in result.outcomes if o.best is not None]
    assert result.weights is not None
    path = tmp_path / f"{task.name}.safetensors"
    path.write_bytes(result.weights)
    model = load_model(path)
    loss, accuracy = measured(model, task)
    values = [o.best for o in best if o.best is not None]
    if task.metric is ACCURACY:
        assert accuracy == max(values)
    else:
        assert loss == pytest.approx(min(values), rel=1e-6)
    assert model.rnn.cell.key == cell.key
    assert not model.training


def test_the_best_epoch_need_not_be_the_last(tmp_path: Path) -> None:
    task, settings = dataclasses.replace(ENDLESS, epochs=5), (Settings(4000, learning_rate=3.0),)
    result = run(Evaluation(str(LSTM), LSTM.key, task, settings, SEED))
    (outcome,) = result.outcomes
    assert outcome.best_epoch is not None
    assert outcome.best_epoch < task.epochs - 1, "the case that is tested"
    assert result.weights is not None
    path = tmp_path / "w.safetensors"
    path.write_bytes(result.weights)
    assert measured(load_model(path), task)[0] == pytest.approx(outcome.best, rel=1e-6)


def test_nothing_is_sent_back_where_no_epoch_was_finished() -> None:
    settings = (dataclasses.replace(SETTINGS, learning_rate=math.inf),)
    result = run(Evaluation(str(LSTM), LSTM.key, XML, settings, SEED))
    assert result.weights is None
