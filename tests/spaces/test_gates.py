"""The gate space holds the literature's gated cells, and narrowing its file narrows it."""

import random

import optuna
import pytest
from optuna.trial import FixedTrial

from nas.cell import loads
from nas.spaces import Gates, Params, load_space
from nas.spaces.gates import ALLOWED
from nas.testing.spaces import check_recurrent, check_space
from nas.zoo import ZOO

PEEPHOLES = [f"lstm_peephole{subset}" for subset in ("", "_i", "_f", "_o", "_if", "_io", "_fo")]
GREFF = [
    f"lstm_{variant}" for variant in ("nig", "nfg", "nog", "niaf", "noaf", "np", "cifg", "fgr")
]
PAPER = ["lstm", "lstm_b", "lstm_no_f", "lstm_no_i", "lstm_no_o", "gru"]
INSIDE = [*PEEPHOLES, *GREFF, *PAPER, "gru_v1", "mgu", "ugrnn", "janet", "rnn"]
OUTSIDE = ["irnn", "mut1", "mut2", "mut3", "mingru"]
SPACE = load_space("gates")
LSTM: Params = {
    "states": "separate",
    "candidate_activation": "tanh",
    "forget_bias": 0,
    "input_gate": "xh",
    "coupled_gates": False,
    "forget_gate": "xh",
    "output_gate": "xh",
    "input_peephole": False,
    "forget_peephole": False,
    "output_peephole": False,
    "gate_recurrence": False,
    "output_activation": "tanh",
}
GRU: Params = {
    "states": "merged",
    "candidate_activation": "tanh",
    "forget_bias": 0,
    "update_gate": "xh",
    "reset_place": "before",
    "shared_gate": False,
    "reset_gate": "xh",
    "beta": 0,
}


@pytest.mark.parametrize("name", INSIDE)
def test_the_cells_of_the_literature_are_inside(name: str) -> None:
    params = SPACE.params_of(ZOO[name])
    assert params is not None
    assert SPACE.contains(ZOO[name])
    cell = SPACE.propose(FixedTrial(params))
    assert cell.key == ZOO[name].key
    assert cell.name == ZOO.named(ZOO[name].key)


@pytest.mark.parametrize("name", OUTSIDE)
def test_other_cells_are_outside(name: str) -> None:
    assert SPACE.params_of(ZOO[name]) is None
    assert not SPACE.contains(ZOO[name])


def test_params_of_the_lstm_and_the_gru_are_the_ones_written_by_hand() -> None:
    assert SPACE.params_of(ZOO["lstm"]) == LSTM
    assert SPACE.params_of(ZOO["gru"]) == GRU


def test_contains_compares_by_key() -> None:
    text = """
def mine(inputs, old):
    keep = sigmoid(linear(old, inputs))
    mix = blend(keep, old, tanh(linear(inputs, sigmoid(linear(inputs, old)) * old)))
    return mix
"""
    assert SPACE.params_of(loads(text)) == GRU


LSTM_EQUATIONS = """
def expected(x, h, c):
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    c_new = f * c + i * g
    o = sigmoid(linear(x, h))
    return o * tanh(c_new), c_new
"""
GRU_EQUATIONS = """
def expected(x, h):
    r = sigmoid(linear(x, h))
    z = sigmoid(linear(x, h))
    n = tanh(linear(x, r * h))
    return z * h + (1 - z) * n
"""
# what is chosen, and what it replaces in the equations
POINTS: list[tuple[Params, dict[str, str]]] = [
    (
        {**LSTM, "forget_bias": 2},
        {"f = sigmoid(linear(x, h))": "f = sigmoid(linear(x, h, bias=2))"},
    ),
    (
        {**LSTM, "coupled_gates": True, "forget_bias": 1},
        {
            "i = sigmoid(linear(x, h))": "i = sigmoid(linear(x, h, bias=-1))",
            "f = sigmoid(linear(x, h))": "f = 1 - i",
        },
    ),
    ({**LSTM, "input_gate": "x"}, {"i = sigmoid(linear(x, h))": "i = sigmoid(linear(x))"}),
    ({**LSTM, "forget_gate": "h"}, {"f = sigmoid(linear(x, h))": "f = sigmoid(linear(h))"}),
    ({**LSTM, "output_gate": "h"}, {"o = sigmoid(linear(x, h))": "o = sigmoid(linear(h))"}),
    (
        {**LSTM, "output_gate": "none", "ungated_output_activation": "relu"},
        {"    o = sigmoid(linear(x, h))\n": "", "o * tanh(c_new)": "relu(c_new)"},
    ),
    (
        {**LSTM, "input_gate": "none", "gate_recurrence": True, "output_gate": "x"},
        {
            "(x, h, c)": "(x, h, c, f_old, o_old)",
            "    i = sigmoid(linear(x, h))\n": "",
            "i * g": "g",
            "f = sigmoid(linear(x, h))": "f = sigmoid(linear(x, h, f_old, o_old))",
            "o = sigmoid(linear(x, h))": "o = sigmoid(linear(x, f_old, o_old))",
            "tanh(c_new), c_new": "tanh(c_new), c_new, f, o",
        },
    ),
    ({**LSTM, "candidate_activation": "sigmoid"}, {"g = tanh": "g = sigmoid"}),
    ({**LSTM, "output_activation": "identity"}, {"o * tanh(c_new)": "o * c_new"}),
    (
        {**GRU, "update_gate": "h", "forget_bias": 1},
        {"z = sigmoid(linear(x, h": "z = sigmoid(linear(h, bias=1"},
    ),
    ({**GRU, "reset_gate": "x"}, {"r = sigmoid(linear(x, h))": "r = sigmoid(linear(x))"}),
    (
        {**GRU, "beta": 1},
        {
            "z = sigmoid(linear(x, h))": "s = linear(x, h)\n    z = sigmoid(s)",
            "(1 - z)": "(1 - sigmoid(s - 1))",
        },
    ),
    (
        {**GRU, "shared_gate": True, "reset_place": "after", "forget_bias": 2},
        {
            "    r = sigmoid(linear(x, h))\n": "",
            "z = sigmoid(linear(x, h))": "z = sigmoid(linear(x, h, bias=-2))",
            "linear(x, r * h)": "linear(x) + z * linear(h)",
            "z * h + (1 - z) * n": "(1 - z) * h + z * n",
        },
    ),
    (
        {**GRU, "update_gate": "none", "candidate_activation": "relu"},
        {"    z = sigmoid(linear(x, h))\n": "", "z * h + (1 - z) * n": "n", "tanh": "relu"},
    ),
]


@pytest.mark.parametrize(("params", "replaced"), POINTS)
def test_choices_mean_their_equations(params: Params, replaced: dict[str, str]) -> None:
    text = LSTM_EQUATIONS if params["states"] == "separate" else GRU_EQUATIONS
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    assert SPACE.propose(FixedTrial(params)).key == loads(text).key


def test_cells_read_as_in_the_literature() -> None:
    gru = str(SPACE.propose(FixedTrial(GRU)))
    assert gru.startswith('def gru(x, h):\n    """A point of the gate space: states merged, ')
    assert gru.endswith(GRU_EQUATIONS.partition("\n    ")[2])
    other = SPACE.propose(FixedTrial({**GRU, "beta": 1}))
    assert other.name == f"gates_{other.key[:6]}"


def test_space_conforms() -> None:
    check_space(SPACE, [ZOO[name] for name in INSIDE])


def test_random_points_are_recurrent_and_have_their_own_keys() -> None:
    points = list(Gates().points())
    assert len(points) == SPACE.size()
    keys = set()
    for params, _ in random.Random(0).sample(points, 300):
        cell = SPACE.propose(FixedTrial(params))
        check_recurrent(cell)
        keys.add(cell.key)
    assert len(keys) == 300


SMALL = [
    (Gates(states=("merged",)), 604),
    (
        # all that a gate may read but x or h, where a cell could lose one of them
        Gates(
            candidate_activation=("identity",),
            forget_bias=(0,),
            input_gate=("x", "none"),
            forget_gate=("x", "none"),
            output_gate=("x", "none"),
            update_gate=("x", "none"),
            reset_gate=("x",),
        ),
        185,
    ),
    (
        Gates(
            candidate_activation=("identity",),
            forget_bias=(0,),
            input_gate=("h", "none"),
            forget_gate=("h", "none"),
            output_gate=("h", "none"),
            update_gate=("h", "none"),
            reset_gate=("h",),
        ),
        185,
    ),
]


@pytest.mark.parametrize(("space", "size"), SMALL, ids=["merged", "x", "h"])
def test_all_points_are_recurrent_and_have_their_own_keys(space: Gates, size: int) -> None:
    cells = [space.propose(FixedTrial(params)) for params, _ in space.points()]
    for cell in cells:
        check_recurrent(cell)
    assert len({cell.key for cell in cells}) == space.size() == size


@pytest.mark.process
def test_no_two_points_have_one_key() -> None:
    keys = {SPACE.propose(FixedTrial(params)).key for params, _ in Gates().points()}
    assert len(keys) == SPACE.size() == 24_756


def test_every_choice_is_drawn() -> None:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    drawn = set()
    for _ in range(300):
        trial = study.ask()
        SPACE.propose(trial)
        drawn |= {(field, choice) for field, choice in trial.params.items()}
    assert drawn == {(field, choice) for field, choices in ALLOWED.items() for choice in choices}


def test_enqueued_baseline_is_proposed() -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    params = SPACE.params_of(ZOO["lstm_fgr"])
    assert params is not None
    study.enqueue_trial(params)
    trial = study.ask()
    assert SPACE.propose(trial).key == ZOO["lstm_fgr"].key
    assert trial.params == params
