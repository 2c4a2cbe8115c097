"""Outcomes of training against a loop in plain torch: curves, cost, fidelity, repetition."""

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

import nas
import nas.training.window_tensors
from nas.cell.ops import OPS
from nas.nn.settings import Settings
from nas.protocol.evaluation import Outcome
from nas.tasks import Task, Text
from nas.tasks.base import ACCURACY
from nas.training.module import Training
from nas.training.train import train, train_members, weight_seed
from nas.training.window_tensors import Batch
from nas.zoo import ZOO
from tests.tolerances import OTHER_KERNEL_64
from tests.training.evaluations import evaluation
from tests.training.plain import ADAMW, ENDLESS, LSTM, MOMENTUM, SEED, SETTINGS, XML, Plain, begun


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(("task", "norm"), [(XML, 1.45), (ENDLESS, 0.7)], ids=["xml", "endless"])
@pytest.mark.parametrize("settings", [SETTINGS, MOMENTUM, ADAMW], ids=["sgd", "momentum", "adamw"])
def test_a_loop_in_plain_torch_gives_the_same_curve(
    task: Task, norm: float, settings: Settings
) -> None:
    settings = dataclasses.replace(settings, clip_norm=norm)
    (outcome,) = train(LSTM, task, [settings], SEED)
    plain = Plain(begun(task, settings, outcome.hidden_size), settings, task)
    expected = plain.curve()
    assert outcome.status == "ok"
    assert len(outcome.curve) == task.epochs
    for got, want in zip(outcome.curve, expected, strict=True):
        assert (got.accuracy, got.learning_rate) == (want.accuracy, want.learning_rate)
        assert got.marks == pytest.approx(want.marks)
        both = torch.tensor([[got.train_loss, got.loss], [want.train_loss, want.loss]])
        torch.testing.assert_close(both[0], both[1], **OTHER_KERNEL_64)
    clipped = [length > norm for length in plain.lengths]
    assert any(clipped), "the comparison must see clipping"
    assert not all(clipped), "and gradients that are short enough"
    values = [e.accuracy if task.metric is ACCURACY else e.loss for e in outcome.curve]
    assert outcome.best == (max(values) if task.metric.higher_is_better else min(values))
    assert outcome.best_epoch == values.index(outcome.best)


def test_xml_reports_the_accuracy_of_closing_tags() -> None:
    (outcome,) = train(LSTM, XML, [SETTINGS], SEED)
    assert [list(epoch.marks) for epoch in outcome.curve] == [["closing"]] * 2


def test_cost_counts_steps_symbols_and_operations() -> None:
    (outcome,) = train(LSTM, XML, [SETTINGS], SEED)
    width, symbols = outcome.hidden_size, XML.interface.inputs
    assert outcome.cost.steps == 2 * 4
    assert outcome.cost.tokens == 2 * 4 * 8 * 4
    gates = 4 * 2 * width * 2 * width  # four maps of (x, h), 2 for a multiply-add
    # i, f, g, o and tanh(c); f * c + i * g and o * tanh(c)
    rest = width * (3 * OPS["sigmoid"].flops + 2 * OPS["tanh"].flops + 4)
    forward = 2 * (gates + rest) + 2 * width * symbols
    assert outcome.cost.flops == 3 * outcome.cost.tokens * forward
    layer = 4 * width * (2 * width + 1)
    assert outcome.n_params == symbols * width + 2 * layer + (width + 1) * symbols


def test_a_run_that_does_not_learn_follows_the_schedule() -> None:
    task = dataclasses.replace(XML, epochs=20, batches_per_epoch=1, validation_batches=1)
    settings = dataclasses.replace(SETTINGS, learning_rate=2.0**-100)
    (outcome,) = train(LSTM, task, [settings], SEED)
    rates = [epoch.learning_rate * 2.0**100 for epoch in outcome.curve]
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.125, 0.0625]
    assert outcome.best_epoch == 0


@pytest.mark.usefixtures("_float64")
def test_a_rate_that_fell_is_the_one_that_is_used() -> None:
    """Steps of halved rates, written out in plain torch for the epochs after the fall."""
    task = dataclasses.replace(XML, epochs=7, batches_per_epoch=2, validation_batches=1)
    task = dataclasses.replace(task, stop_at=2.0)
    (outcome,) = train(LSTM, task, [SETTINGS], SEED)
    rates = [epoch.learning_rate for epoch in outcome.curve]
    assert rates[-1] < rates[0], "the case that is tested"
    plain = Plain(begun(task, SETTINGS, outcome.hidden_size), SETTINGS, task)
    for number, epoch in enumerate(outcome.curve):
        plain.settings = dataclasses.replace(SETTINGS, learning_rate=rates[number])
        for window in task.windows("train", SEED, number):
            plain.update(window)
        assert epoch.loss == pytest.approx(plain.validate()[0], rel=1e-10)


def test_a_goal_that_is_reached_at_once_ends_after_one_epoch() -> None:
    (outcome,) = train(LSTM, dataclasses.replace(XML, stop_at=0.0), [SETTINGS], SEED)
    assert len(outcome.curve) == 1
    assert outcome.cost.steps == 4


def test_fidelity_is_the_share_of_the_epochs() -> None:
    task = dataclasses.replace(XML, epochs=4)
    (whole,) = train(LSTM, task, [SETTINGS], SEED)
    (half,) = train(LSTM, task, [SETTINGS], SEED, fidelity=0.5)
    (some,) = train(LSTM, task, [SETTINGS], SEED, fidelity=0.01)
    assert [len(outcome.curve) for outcome in (whole, half, some)] == [4, 2, 1]
    assert half.curve == whole.curve[:2]


# --- the same arguments, the same outcome ---

DROPPED = Settings(1500, num_layers=2, learning_rate=0.5, dropout=0.3)


def test_the_global_generator_is_left_as_it_was_and_is_of_no_account() -> None:
    torch.manual_seed(1)
    log = logging.getLogger("pytorch_lightning")
    before, level = torch.get_rng_state(), log.level
    first = train(LSTM, XML, [DROPPED], SEED)
    assert torch.equal(torch.get_rng_state(), before)
    assert log.level == level != logging.ERROR, "so are Lightning's logs"
    torch.manual_seed(2)
    assert train(LSTM, XML, [DROPPED], SEED) == first


def test_another_seed_gives_another_outcome() -> None:
    assert train(LSTM, XML, [SETTINGS], SEED) != train(LSTM, XML, [SETTINGS], SEED + 1)


CHILD = """
import dataclasses, json, sys
from nas.protocol.evaluation import Settings
from nas.tasks import Xml
from nas.training.train import run
from nas.protocol.evaluation import Evaluation
from nas.zoo import ZOO
import torch
xml = Xml(epochs=2, batches_per_epoch=4, validation_batches=3, batch_size=4, window=8)
settings = Settings(1500, num_layers=2, learning_rate=0.5, dropout=0.3)
cell = ZOO["lstm"]
result = run(Evaluation(str(cell), cell.key, xml, (settings,), 3))
print(json.dumps(dataclasses.asdict(result.outcomes[0])))
"""


@pytest.mark.process
def test_another_process_gives_the_same_outcome() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", CHILD],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=Path(nas.__file__).parent.parent,
    )
    assert [Outcome.from_json(json.loads(done.stdout))] == train(LSTM, XML, [DROPPED], SEED)
    assert done.stderr == "", "nothing is printed, whatever Lightning would like to say"


def test_weights_differ_by_cell_setting_and_seed() -> None:
    other = dataclasses.replace(SETTINGS, learning_rate=0.25)
    seeds = {
        weight_seed("key", SETTINGS, 0),
        weight_seed("other", SETTINGS, 0),
        weight_seed("key", other, 0),
        weight_seed("key", MOMENTUM, 0),
        weight_seed("key", SETTINGS, 1),
    }
    assert len(seeds) == 5
    # Pinned, since the outcomes of a study that was begun earlier depend on it.
    assert weight_seed("key", SETTINGS, 0) == 12639382490468949


def test_all_cells_read_the_same_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, list[int]]] = []

    def watch(name: str) -> None:
        original = getattr(Training, name)

        def watched(self: Training, batch: Batch, index: int) -> None:
            for window in batch:
                seen.append((name, window.inputs.flatten().tolist() + window.targets.tolist()))
            original(self, batch, index)

        monkeypatch.setattr(Training, name, watched)

    watch("training_step")
    watch("validation_step")
    read: list[list[tuple[str, list[int]]]] = []
    for cell in (LSTM, ZOO["gru"]):
        for settings in ([SETTINGS], [SETTINGS, MOMENTUM], [ADAMW]):
            nas.training.window_tensors.windows_of.cache_clear()
            seen.clear()
            train(cell, XML, settings, SEED)
            read.append(list(seen))
    assert read[1:] == read[:1] * 5
    assert [name for name, _ in read[0]] == (["training_step"] * 4 + ["validation_step"] * 3) * 2
    windows = [symbols for _, symbols in read[0]]
    assert windows[4:7] == windows[11:14], "validation is the same after every epoch"
    assert windows[:4] != windows[7:11], "and training is not"


MORE_XML = dataclasses.replace(XML, validation_batches=20)
TEXT = Text(epochs=3, batches_per_epoch=5, validation_batches=5, batch_size=4, window=8)


def on_split(plain: Plain, task: Task, weights: dict[str, torch.Tensor], split: str) -> list[float]:
    """Loss and accuracy of a plain model with these weights, over all windows of a split."""
    plain.model.load_state_dict(weights)
    plain.model.eval()
    total, hits, count, state = 0.0, 0, 0, None
    with torch.no_grad():
        for window in task.windows(split, SEED):  # type: ignore[arg-type]
            state = None if window.fresh else state
            logits, state = plain.model(torch.from_numpy(window.inputs), state)
            scored = torch.from_numpy(window.scored)
            targets = torch.from_numpy(window.targets)[scored]
            total += torch.nn.functional.cross_entropy(
                logits[scored], targets, reduction="sum"
            ).item()
            hits += int((logits[scored].argmax(1) == targets).sum())
            count += len(targets)
    return [total / count, hits / count]


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("task", [MORE_XML, TEXT], ids=["xml", "text"])
def test_the_best_epoch_is_measured_on_the_test_split(task: Task) -> None:
    """A plain model with the weights that validation chose, over the windows of the test split."""
    settings = dataclasses.replace(SETTINGS, n_params=4000)
    (member,) = train_members(evaluation(LSTM, task, [settings], SEED, measure_test=True))
    weights = safetensors.torch.load(member.weights or b"")
    outcome = member.outcome
    plain = Plain(begun(task, settings, outcome.hidden_size), settings, task)
    place = 1 if task.metric is ACCURACY else 0
    value = on_split(plain, task, weights, "test")[place]
    assert outcome.test == pytest.approx(value, **{"rel": OTHER_KERNEL_64["rtol"]})
    assert outcome.best == pytest.approx(on_split(plain, task, weights, "validation")[place])
    assert outcome.test != outcome.best
    assert list(outcome.test_marks) == list(outcome.curve[0].marks)


def test_measuring_on_test_changes_nothing_of_training() -> None:
    settings = [SETTINGS, dataclasses.replace(SETTINGS, learning_rate=0.1)]
    measured = train(LSTM, XML, settings, SEED, on_test=True)
    without = train(LSTM, XML, settings, SEED)
    assert all(one.test is None for one in without)
    assert all(one.test is not None for one in measured)
    stripped = [dataclasses.replace(one, test=None, test_marks={}) for one in measured]
    assert stripped == without
    alone = [train(LSTM, XML, [one], SEED, on_test=True)[0].test for one in settings]
    assert alone == [one.test for one in measured]


def test_a_run_without_weights_has_no_test_metric() -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=1e38)
    (outcome,) = train(LSTM, XML, [settings], SEED, on_test=True)
    assert outcome.status == "diverged"
    assert (outcome.test, outcome.test_marks) == (None, {})
