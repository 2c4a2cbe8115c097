"""Training on tasks with attention: alone as together, weights sent back, and what it is for."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas.errors import UserError
from nas.export.source import find
from nas.nn.attention import AttentionModel
from nas.nn.loading import load, load_model
from nas.nn.model import described_interface
from nas.nn.settings import Settings
from nas.protocol.evaluation import Evaluation, Outcome
from nas.tasks import ArithmeticAttention, CopyAttention, Task
from nas.tasks.attended import Attended
from nas.tasks.base import Interface
from nas.training.train import Member, run, train, train_members
from nas.zoo import ZOO
from tests.training.evaluations import evaluation

SEED = 3
SMALL = {"epochs": 2, "batches_per_epoch": 3, "validation_batches": 2, "batch_size": 4}
COPY = CopyAttention(min_symbols=4, max_symbols=6, **SMALL)
SUMS = ArithmeticAttention(max_digits=3, max_distractors=1, attention="general", **SMALL)
MANY = tuple(
    Settings(
        (4000, 6000)[k % 2],
        num_layers=1 + k // 4,
        learning_rate=(0.5, 0.01)[k // 2 % 2] * (1e38 if k == 5 else 1),
        optimizer=("sgd", "adamw")[k // 2 % 2],
        dropout=0.2 * (k % 3),
        stacking=("plain", "residual_norm")[k // 4],
    )
    for k in range(8)
)


def members(task: Task, settings: tuple[Settings, ...], veto: bool = False) -> list[Member]:
    noted = "note" if veto else "off"
    return train_members(evaluation(ZOO["gru"], task, settings, SEED, veto=noted))


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(COPY, id="additive", marks=pytest.mark.process),
        pytest.param(SUMS, id="general"),
    ],
)
def test_settings_together_give_what_each_gives_alone(task: Task) -> None:
    together = members(task, MANY, veto=True)
    assert together == [members(task, (one,), veto=True)[0] for one in MANY]
    assert [one.outcome.status for one in together] == ["ok"] * 5 + ["diverged"] + ["ok"] * 2
    for one in together:
        assert 0 < one.outcome.n_params <= 6000
        assert not one.outcome.doubt, "its layers are alive"


@pytest.mark.parametrize("task", [COPY, SUMS], ids=["additive", "general"])
def test_the_weights_sent_back_have_the_best_metric(tmp_path: Path, task: Task) -> None:
    cell = ZOO["lstm"]
    evaluation = Evaluation(str(cell), cell.key, task, MANY[:2], SEED, measure_test=True)
    result = run(evaluation)
    assert result.weights is not None
    path = tmp_path / f"{task.name}.safetensors"
    path.write_bytes(result.weights)
    model = load_model(path)
    assert isinstance(model, AttentionModel)
    best = max(result.outcomes, key=lambda outcome: outcome.best or 0.0)
    assert accuracy(model, task, "validation") == best.best
    assert accuracy(model, task, "test") == best.test
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(load(path).rnn.parameters(), model.rnn.parameters(), strict=True)
    )
    with pytest.raises(UserError, match=r"a model with attention has no plain file, graph or sig"):
        find(str(path))


@torch.no_grad()
def accuracy(model: AttentionModel, task: Task, split: str) -> float:
    hits: list[Tensor] = []
    for window in task.windows("test" if split == "test" else "validation", SEED):
        scores, _ = model(torch.from_numpy(window.inputs), None)
        right = scores.argmax(-1) == torch.from_numpy(window.targets)
        hits.append(right[torch.from_numpy(window.scored)])
    return float(torch.cat(hits).double().mean())


def test_a_description_says_attention_only_where_there_is_one() -> None:
    plain = Interface(5, 3)
    assert described_interface(plain) == {
        "interface": {"inputs": 5, "outputs": 3, "head": "categorical", "tokens": True}
    }
    attention = {"form": "additive", "divider": 9, "padding": 10}
    assert described_interface(COPY.interface)["interface"]["attention"] == attention


@pytest.mark.process
def test_an_lstm_with_attention_copies_what_one_without_does_not() -> None:
    """The same budget, minibatches and steps: lengths 5 to 20, 400 steps of AdamW."""

    def trained(attention: Attended) -> Outcome:
        task = CopyAttention(attention=attention, epochs=4, validation_batches=5)
        settings = Settings(25_000, learning_rate=0.004, optimizer="adamw")
        return train(ZOO["lstm"], task, [settings], 0)[0]

    found = {name: trained(name).best or 0.0 for name in ("additive", "general", "none")}
    assert found["additive"] > 0.95
    assert found["none"] < 0.25
    assert found["general"] > found["none"]


def test_a_task_is_another_with_another_attention() -> None:
    other = dataclasses.replace(COPY, attention="general")
    assert other.version != COPY.version
