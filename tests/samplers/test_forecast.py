"""Probes against torch and its derivatives; the forest's forecasts, and what is chosen by them."""

from collections.abc import Callable
from random import Random

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import kendalltau

from nas.cell import Cell, loads
from nas.cell.mutation import random_walk
from nas.compile.reference import EagerCell
from nas.samplers import propose
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.forecast import EVERY, FIRST, Forecaster, forecaster
from nas.samplers.probes import BATCH, CHANGE, GAPS, NAMES, STEPS, UNITS, WEIGHTED, _Run, probe
from nas.samplers.propose import PROPOSED, RandomWalk
from nas.samplers.registry import Repeatable
from nas.spaces import Graph
from nas.zoo import ZOO

SPACE = Graph(max_generation=8)
PROBED = ("gru", "lstm", "mut1", "irnn", "mlstm", "tau_gru", "coupled_lstm_peephole", "mgu")


def in_torch(cell: Cell) -> Callable[[torch.Tensor], torch.Tensor]:
    """The last output of the eager reference in float64, with the probe's weights."""
    run, eager = _Run(cell), EagerCell(cell, UNITS, UNITS, dtype=torch.float64)
    with torch.no_grad():
        for i, label in eager.labels.items():
            if cell.nodes[i].op in WEIGHTED:
                weight = torch.from_numpy(run._weights[i])
                own = weight.T if cell.nodes[i].op == "linear" else weight
                eager.get_parameter(f"{label}_weight").copy_(own)

    def last(inputs: torch.Tensor) -> torch.Tensor:
        states = [
            torch.full((BATCH, UNITS), state.initial, dtype=torch.float64) for state in cell.states
        ]
        y = inputs[0]
        for step, x in enumerate(inputs):
            y, states, _ = eager.step(x, states, [], step)
        return y

    return last


@pytest.mark.parametrize("name", [name for name in PROBED if name in ZOO])
def test_a_probe_runs_the_cell_and_its_sensitivities_are_derivatives(name: str) -> None:
    cell = ZOO[name]
    draws = np.random.default_rng(3)
    inputs = draws.uniform(-1, 1, (STEPS, BATCH, UNITS))
    output, _ = _Run(cell)(inputs)
    last = in_torch(cell)
    expected = last(torch.from_numpy(inputs)).detach().numpy()
    np.testing.assert_allclose(output, expected, rtol=1e-10, atol=1e-12)
    changes = draws.normal(size=(BATCH, UNITS))
    for gap in GAPS[:3]:
        tangent = np.zeros_like(inputs)
        tangent[-1 - gap] = changes
        given, direction = torch.from_numpy(inputs), torch.from_numpy(tangent)
        _, slope = torch.autograd.functional.jvp(last, given, direction)
        found = (_Run(cell)(inputs + CHANGE * tangent)[0] - output) / CHANGE
        scale = float(slope.abs().max())
        np.testing.assert_allclose(found, slope.numpy(), rtol=0.01, atol=0.01 * scale + 1e-9)


def test_a_cell_that_forgets_has_no_sensitivity_and_others_have() -> None:
    forgets = loads("def cell(x, h):\n    return tanh(linear(x) + 0.00001 * h)\n")
    gap = NAMES.index("log sensitivity to the input 3 steps ago")
    assert probe(forgets)[gap] < -10
    assert probe(ZOO["gru"])[gap] > -5


def test_a_cell_that_the_formulas_do_not_cover_has_no_numbers() -> None:
    assert np.isnan(probe(ZOO["lmu"])).all()


# --- the forest ---


def cells(n: int, seed: int) -> list[Cell]:
    return [mutant.cell for mutant in random_walk(ZOO["gru"], n, seed)]


def trial(number: int, cell: Cell, value: float) -> FrozenTrial:
    about = {"kind": "drawn", "key": cell.key, "cell": str(cell), "turn": 0}
    made = create_trial(state=TrialState.COMPLETE, value=value, user_attrs=about)
    made.set_user_attr("judgement", {"score": value, "value": value, "ratios": {}})
    made.number = number
    return made


def sigmoids(cell: Cell) -> float:
    """A made-up result: cells with gates are better."""
    return 0.1 + sum(cell.nodes[i].op == "sigmoid" for i in cell.live)


def test_a_forest_is_fitted_anew_every_sixteen_results() -> None:
    walked = cells(FIRST + EVERY, 0)
    trials = [trial(n, cell, sigmoids(cell)) for n, cell in enumerate(walked)]
    assert forecaster(trials[: FIRST - 1]) is None
    first = forecaster(trials[:FIRST])
    assert first is not None
    assert forecaster(trials[: FIRST + EVERY - 1]) is first
    assert forecaster(trials) is not first


def test_forecasts_rank_cells_that_the_forest_has_not_seen() -> None:
    seen, unseen = cells(120, 1), cells(60, 2)
    forecast = Forecaster([str(cell) for cell in seen], [sigmoids(cell) for cell in seen])
    tau = kendalltau(forecast(unseen), [sigmoids(cell) for cell in unseen])
    assert tau.statistic > 0.5
    shuffled = [sigmoids(cell) for cell in seen]
    Random(0).shuffle(shuffled)
    blind = Forecaster([str(cell) for cell in seen], shuffled)
    tau = kendalltau(blind(unseen), [sigmoids(cell) for cell in unseen])
    assert tau.statistic < 0.3, "of results that have nothing to do with the cells nothing is known"


# --- the choice ---


def ask(children: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    def told(found: list[Cell]) -> list[float]:
        return [sigmoids(cell) for cell in found]

    monkeypatch.setattr(propose, "forecaster", lambda trials: told)
    config = EvolutionConfig(children=children)
    study = optuna.create_study(direction="maximize")
    study.sampler = Repeatable(lambda s: RandomWalk(s, SPACE, config), seed, 0)
    asked = study.ask()
    cell = SPACE.propose(asked)
    noted = dict(study.get_trials()[0].user_attrs[PROPOSED])
    if "forecast" in noted:
        assert noted["forecast"] == sigmoids(cell), "the cell is the one that was forecast"
    return noted | {"key": cell.key}


def test_a_candidate_is_the_best_of_its_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [ask(8, seed, monkeypatch) for seed in range(60)]
    assert [ask(8, seed, monkeypatch) for seed in range(3)] == found[:3], "the seed decides"
    chosen = [one["forecast"] for one in found if one["children"] == 8]
    drawn = [one["forecast"] for one in found if one["children"] == 1]
    assert len(chosen) + len(drawn) == 60
    assert 4 <= len(drawn) <= 22, "a fifth is drawn without the forecast"
    assert np.mean(chosen) > np.mean(drawn) + 0.5  # type: ignore[arg-type]  # floats
    assert "forecast" not in ask(1, 0, monkeypatch)
