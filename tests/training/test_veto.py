"""The veto: what is not worth training, and that nothing else is kept from it."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import nas.training.run_groups
from nas.cell import Cell, Value, linear, log, relu, scalar, sigmoid, sin, tanh, trace
from nas.nn.budget import solve_width
from nas.nn.members import SequenceMembers
from nas.nn.model import SequenceModel
from nas.nn.settings import Settings
from nas.protocol.evaluation import Bar, Evaluation
from nas.tasks import Memorization
from nas.training.dead_or_exploding import MOST_STEPS, N_STREAMS, _findings, vetoes
from nas.training.train import run, train
from nas.zoo import ZOO
from tests.shares import every
from tests.tolerances import OTHER_KERNEL_32
from tests.training.plain import LSTM, SEED, SETTINGS, XML

SYMBOLS = 12
LONG = dataclasses.replace(XML, window=35, batches_per_epoch=4)
"""The state is carried on over 140 steps."""


def doubled(x: Value, h: Value) -> Value:
    return 2 * h + tanh(linear(x, h))


def squared(x: Value, h: Value) -> Value:
    return h * h + x + 1


def undefined(x: Value, h: Value) -> Value:
    return tanh(log(linear(x, h)))


def chaotic(x: Value, h: Value) -> Value:
    return sin(20 * linear(x, h))


def product(x: Value, h: Value) -> Value:
    return h * h * x


def shut(x: Value, h: Value) -> Value:
    return relu(tanh(linear(x, h)) - 2)


def deaf(x: Value, h: Value) -> Value:
    return tanh(linear(h) + 1)


def forgetful(x: Value, h: Value) -> tuple[Value, Value]:
    return tanh(linear(x)), tanh(linear(x, h))


def stuck(x: Value, h: Value) -> Value:
    return sigmoid(linear(x, h) + 1000)


HOPELESS = {
    doubled: r"a state or output reaches \d.*e\+\d+ in 100 steps",
    squared: r"a state or output reaches (inf|nan) in 100 steps",
    undefined: "a state or output reaches nan in 100 steps",
    chaotic: r"a gradient through 100 steps reaches (inf|nan|.*e\+\d+)",
    product: "no output of 100 steps depends on an input",
    shut: "no output of 100 steps depends on an input",
    deaf: "no output of 100 steps depends on an input",
    stuck: "no output of 100 steps depends on an input",
    forgetful: "no output depends on the states of steps before",
}


def fresh(
    cell: Cell, scales: Sequence[float], num_layers: int = 1, width: int = 16
) -> tuple[SequenceMembers, list[int]]:
    seeds = list(range(len(scales)))
    model = SequenceMembers(cell, SYMBOLS, width, num_layers, [0.5] * len(scales))
    model.reset_parameters(scales, seeds)
    return model, seeds


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("function", HOPELESS, ids=lambda function: function.__name__)
def test_hopeless_cells_are_vetoed(function: Callable[..., Any], num_layers: int) -> None:
    for reason in vetoes(*fresh(trace(function), (0.7, 1.4), num_layers), 1000):
        assert re.match(HOPELESS[function], reason)


def hidden_by_bias(x: Value, h: Value) -> Value:
    """The bias is 0, and with it h; but the bias has a gradient."""
    return linear(h) * sigmoid(linear(x))


def hidden_by_scale(x: Value, h: Value) -> tuple[Value, Value]:
    """The output is forgetful until the scale has moved away from 0."""
    state = tanh(linear(x, h))
    return linear(x) + scalar(init=0) * state, state


@pytest.mark.parametrize("function", [hidden_by_bias, hidden_by_scale])
def test_what_a_first_step_may_bring_to_life_is_not_vetoed(function: Callable[..., Any]) -> None:
    model, seeds = fresh(trace(function), (1.0, 1.4))
    dead = [min(one.slope, one.memory) == 0 for one in _findings(model, generators(seeds), 20)]
    assert all(dead)
    assert vetoes(*fresh(trace(function), (1.0, 1.4)), 100) == ["", ""]


@pytest.mark.parametrize("name", ["lstm", "rnn", "gru", "mut1"])
def test_gradients_may_vanish(name: str) -> None:
    """Over 100 steps, those of the LSTM with forget bias 0 and of the tanh RNN do."""
    for num_layers in (1, 4):
        model, seeds = fresh(ZOO[name], (0.3, 0.3, 1.0, 2.8), num_layers, width=30)
        assert vetoes(model, seeds, MOST_STEPS) == [""] * 4


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + 1) for seed in seeds]


@pytest.mark.parametrize("name", ["lstm", "gru", "irnn"])
def test_what_is_found_is_what_autograd_says_of_a_model_alone(name: str) -> None:
    """`SequenceModel` over all steps at once, in torch operations, for one member of three."""
    n_steps, k, scale, layers = 9, 1, 1.4, 2
    model, seeds = fresh(ZOO[name], (0.7, scale, 2.0), layers)
    found = _findings(model.eval(), generators(seeds), n_steps)[k]
    alone = SequenceModel(ZOO[name], SYMBOLS, 16, layers, 0.0)
    alone.reset_parameters(scale, torch.Generator().manual_seed(seeds[k]))
    alone.rnn.backend = "eager"
    generator = generators(seeds)[k]
    halves = [torch.randint(SYMBOLS, (steps * N_STREAMS,), generator=generator) for steps in (4, 5)]
    x = alone.embedding(torch.cat(halves)).detach().requires_grad_()
    sequence = x.view(n_steps, N_STREAMS, -1)
    weights = torch.randn(n_steps * N_STREAMS, 16, generator=torch.Generator().manual_seed(0))
    whole, final = alone.rnn(sequence)
    (slope,) = torch.autograd.grad((whole.flatten(0, 1) * weights).sum(), x)
    _, middle = alone.rnn(sequence[:4].detach())
    middle = middle if isinstance(middle, tuple) else (middle,)
    middle = tuple(state.detach().requires_grad_() for state in middle)
    second, _ = alone.rnn(sequence[4:].detach(), middle if len(middle) > 1 else middle[0])
    late = (second.flatten(0, 1) * weights[4 * N_STREAMS :]).sum()
    memory = torch.autograd.grad(late, middle)
    seen = (whole, *middle, *(final if isinstance(final, tuple) else (final,)))
    expected = [largest(seen), largest((slope,)), largest(memory)]
    actual = [found.size, found.slope, found.memory]
    torch.testing.assert_close(torch.tensor(actual), torch.tensor(expected), **OTHER_KERNEL_32)


def largest(tensors: Sequence[Tensor]) -> float:
    return max(float(tensor.detach().abs().max()) for tensor in tensors)


@pytest.mark.parametrize("function", [doubled, product, hidden_by_bias])
def test_a_member_is_vetoed_alone_as_among_others(function: Callable[..., Any]) -> None:
    cell, scales = trace(function), (0.3, 1.0, 2.8)
    together = vetoes(*fresh(cell, scales), 100)
    for k, scale in enumerate(scales):
        model = SequenceMembers(cell, SYMBOLS, 16, 1, [0.0])
        model.reset_parameters([scale], [k])
        assert vetoes(model, [k], 100) == [together[k]]


MANY = [
    dataclasses.replace(SETTINGS, init_scale=scale, num_layers=layers, learning_rate=0.01)
    for layers in (1, 2)
    for scale in (0.1, 2.8, 0.2, 2.8)
]
"""With these the IRNN is to be trained, and not to be, in turn."""
MANY[2] = dataclasses.replace(MANY[2], dropout=0.3)


def test_the_others_train_as_without_a_veto() -> None:
    free = train(ZOO["irnn"], LONG, MANY, SEED)
    before = torch.get_rng_state()
    vetoed = train(ZOO["irnn"], LONG, MANY, SEED, veto="end")
    assert torch.equal(torch.get_rng_state(), before)
    assert vetoed[::2] == free[::2]
    assert [outcome.status for outcome in vetoed[1::2]] == ["vetoed"] * 4
    assert [outcome.status for outcome in free[1::2]] == ["diverged"] * 4
    for outcome in vetoed[1::2]:
        assert outcome.message.startswith("a state or output reaches")
        assert (outcome.best, outcome.best_epoch, outcome.curve) == (None, None, ())
        assert (outcome.cost.steps, outcome.cost.tokens, outcome.cost.flops) == (0, 0, 0)
        assert outcome.cost.wall_s > 0


def test_a_cell_that_is_fine_trains_as_without_a_veto() -> None:
    settings = [SETTINGS, dataclasses.replace(SETTINGS, num_layers=1, dropout=0.4)]
    assert train(LSTM, LONG, settings, SEED, veto="end") == train(LSTM, LONG, settings, SEED)


def test_a_veto_that_is_only_noted_changes_no_training() -> None:
    noted = train(ZOO["irnn"], LONG, MANY, SEED, veto="note")
    ended = train(ZOO["irnn"], LONG, MANY, SEED, veto="end")
    assert [one.doubt for one in noted] == [one.message for one in ended]
    assert [bool(one.doubt) for one in noted] == [one.status == "vetoed" for one in ended]
    plain = [dataclasses.replace(one, doubt="") for one in noted]
    assert plain == train(ZOO["irnn"], LONG, MANY, SEED)


def test_a_veto_saves_a_whole_training() -> None:
    cell = trace(shut)
    (whole,) = train(cell, LONG, [SETTINGS], SEED)
    (vetoed,) = train(cell, LONG, [SETTINGS], SEED, veto="end")
    assert (whole.status, len(whole.curve)) == ("ok", LONG.epochs)
    assert vetoed.status == "vetoed"
    assert vetoed.cost.saved_flops == whole.cost.flops > 0
    assert (vetoed.n_params, vetoed.hidden_size) == (whole.n_params, whole.hidden_size)


def test_a_worker_vetoes_as_the_evaluation_says() -> None:
    irnn, bar = ZOO["irnn"], Bar(1, 0.999)
    evaluation = Evaluation(
        str(irnn), irnn.key, LONG, tuple(MANY[:3]), SEED, bar=bar, veto="end", halving=2
    )
    result = run(evaluation)
    assert [outcome.status for outcome in result.outcomes] == ["cut", "vetoed", "cut"]
    assert result.weights is not None
    none = run(dataclasses.replace(evaluation, settings=(MANY[1], MANY[3])))
    assert {outcome.status for outcome in none.outcomes} == {"vetoed"}
    assert none.weights is None


def test_states_are_watched_no_longer_than_the_task_carries_them_on() -> None:
    """Over the ten steps of memorization a state may double each time, and the cell learns."""
    task = Memorization(epochs=1, batches_per_epoch=2, validation_batches=1, batch_size=4)
    (kept,) = train(trace(doubled), task, [SETTINGS], SEED, veto="end")
    (ended,) = train(trace(doubled), LONG, [SETTINGS], SEED, veto="end")
    assert (kept.status, ended.status) == ("ok", "vetoed")


def test_a_stack_that_memory_does_not_hold_is_looked_at_in_halves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = train(ZOO["irnn"], LONG, MANY, SEED, veto="end")
    sizes: list[int] = []

    def small(model: SequenceMembers, seeds: Sequence[int], n_steps: int) -> list[str]:
        sizes.append(len(seeds))
        if len(seeds) > 1:
            raise MemoryError
        return vetoes(model, seeds, n_steps)

    monkeypatch.setattr(nas.training.run_groups, "vetoes", small)
    assert train(ZOO["irnn"], LONG, MANY, SEED, veto="end") == expected
    assert sorted(sizes) == [1] * 8 + [2] * 4 + [4] * 2

    def none(*_: object) -> list[str]:
        raise MemoryError

    monkeypatch.setattr(nas.training.run_groups, "vetoes", none)
    assert train(ZOO["irnn"], LONG, MANY, SEED, veto="end") == train(ZOO["irnn"], LONG, MANY, SEED)


SCALES = (0.3, 0.7, 1.0, 1.4, 2.0, 2.8)
"""The paper's grid (section 3.7), with depths of 1 to 4."""


IRNN_FIRST = sorted(ZOO, key=lambda name: name != "irnn")  # so that it is in the default run


@pytest.mark.parametrize(
    ("name", "num_layers"), every(25, itertools.product(IRNN_FIRST, (1, 2, 3, 4)))
)
def test_no_known_cell_is_vetoed_that_could_be_trained(name: str, num_layers: int) -> None:
    """On the paper's grid none is, but for the IRNN from init scale 1.4 on, which then diverges."""
    width = solve_width(ZOO[name], 40, Settings(25_000, num_layers))
    model = SequenceMembers(ZOO[name], 40, width, num_layers, [0.0] * 18)
    model.reset_parameters(SCALES * 3, range(18))
    reasons = vetoes(model, range(18), MOST_STEPS)
    vetoed = {scale for scale, reason in zip(SCALES * 3, reasons, strict=True) if reason}
    assert vetoed <= ({1.4, 2.0, 2.8} if name == "irnn" else set())


def test_known_cells_that_are_vetoed_diverge() -> None:
    """Within the first four windows, whatever the learning rate and the clip norm of the grid."""
    settings = [
        Settings(25_000, num_layers, scale, rate, norm)
        for num_layers in (1, 4)
        for scale in (1.4, 2.0, 2.8)
        for rate in (0.1, 0.5, 5.0)
        for norm in (1.0, 20.0)
    ]
    for outcome in train(ZOO["irnn"], dataclasses.replace(LONG, batch_size=20), settings, SEED):
        assert (outcome.status, outcome.curve) == ("diverged", ())
