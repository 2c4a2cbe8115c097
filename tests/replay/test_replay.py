"""Searches among recorded cells, and their regret."""

from collections.abc import Mapping
from dataclasses import replace
from math import comb, sqrt
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from nas.replay.bench import make_bench
from nas.replay.compare import BASELINE, Curves, compare, curves
from nas.replay.run import ReplayConfig, make_replay
from nas.replay.table import Header, Recorded, Table
from nas.report.statistics.intervals import intervals
from nas.samplers.propose import FilledTrial
from nas.spaces import load_space
from tests.replay.replay_tables import RUNS, independent, smooth
from tests.tolerances import SAME_FORMULA

EVOLUTION = ("regularized", "jozefowicz", "lexicase")
CONFIG = ReplayConfig()


@pytest.mark.parametrize("name", [BASELINE, *EVOLUTION])
def test_every_candidate_is_seen_once_and_the_seed_decides(name: str) -> None:
    bench = smooth(4, 6, 7)
    replay = make_replay(name, bench, CONFIG)
    orders = [replay(bench, seed) for seed in range(3)]
    assert all(sorted(order) == list(range(bench.n_candidates)) for order in orders)
    assert replay(bench, 1) == orders[1]
    assert orders[0] != orders[1] != orders[2]
    short = make_replay(name, bench, replace(CONFIG, n_candidates=9))
    assert short(bench, 1) == orders[1][:9]


@pytest.mark.parametrize("name", EVOLUTION)
def test_results_are_told_in_order_and_no_sooner(name: str) -> None:
    """A result changes what is drawn `in_flight` candidates later, and nothing before."""
    bench = smooth(4, 6, 7)
    evolution, told = replace(CONFIG.evolution, population=5), 8
    for in_flight in (1, 4):
        config = ReplayConfig(evolution, in_flight)
        replay = make_replay(name, bench, config)
        changed = []
        for seed in range(6):
            order = replay(bench, seed)
            better = list(bench.visits)
            result = {"value": 9.0, "score": 9.0, "ratios": {"task": 9.0}}
            better[order[told]] = replace(better[order[told]], **result)
            other = replay(replace(bench, visits=tuple(better)), seed)
            assert other[: told + in_flight] == order[: told + in_flight]
            changed += [
                k for k, pair in enumerate(zip(order, other, strict=True)) if len({*pair}) > 1
            ]
        assert min(changed) == told + in_flight


@pytest.mark.process  # five seconds
def test_a_forecast_chooses_among_recorded_cells() -> None:
    """From the 64th result on, the better half comes sooner where results follow from the cells."""
    bench = smooth(6, 12, 7)
    ranked = sorted(range(bench.n_candidates), key=lambda index: -bench.values[index])
    better, found = {*ranked[: len(ranked) // 2]}, {}
    for children in (1, 8):
        evolution = replace(CONFIG.evolution, children=children)
        replay = make_replay(BASELINE, bench, replace(CONFIG, evolution=evolution, n_candidates=92))
        orders = [replay(bench, seed) for seed in range(3)]
        assert all(len({*order}) == 92 for order in orders), "none is seen twice"
        found[children] = sum(index in better for order in orders for index in order[70:])
    assert found[8] > found[1] + 5


def test_random_is_a_draw_without_replacement() -> None:
    """Its best so far has a closed form: the k-th smallest of N is the best of n with probability
    C(k-1, n-1) / C(N, n)."""
    bench, n_seeds = independent(1, 6), 150
    ordered, total = sorted(bench.values), bench.n_candidates
    replay = make_replay(BASELINE, bench, CONFIG)
    found = curves(
        BASELINE, [replay(bench, s) for s in range(n_seeds)], bench.values, [1.0] * total
    )
    best = max(bench.values) - found.regret[:, 1:]
    for n in range(1, total + 1):
        chances = [comb(k - 1, n - 1) / comb(total, n) for k in range(1, total + 1)]
        expected = float(np.dot(chances, ordered))
        error = best[:, n - 1].std(ddof=1) / sqrt(n_seeds)
        assert abs(best[:, n - 1].mean() - expected) <= 4 * error + 1e-12


class Spy(RandomSampler):
    """Notes what a sampler is shown."""

    shown: ClassVar[list[list[FrozenTrial]]] = []

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        Spy.shown.append(study.get_trials(states=(TrialState.COMPLETE,)))
        return super().infer_relative_search_space(study, trial)


def gates_table(n: int) -> tuple[Table, list[Mapping[str, Any]]]:
    """Random cells of the space of gates, with their suggestions."""
    space = load_space("gates")
    rng = Random(0)
    visits, points = [], []
    for number in range(n):
        trial = FilledTrial({}, rng)
        cell = space.propose(trial)
        points.append(dict(trial.params))
        value = -abs(cell.n_params(8, 8) - 500) / 1000
        about = (number, "drawn", cell.name, cell.key, str(cell), "scored", value, value)
        visits.append(Recorded(*about, runs=1, params=points[-1]))
    path = Path(__file__).parents[2] / "search_spaces" / "gates.yaml"
    header = Header("g", "gates", space.version, path.read_text(encoding="utf-8"))
    return Table(header, tuple(visits)), points


def test_samplers_of_choices_see_what_was_recorded() -> None:
    """Every trial that is told has the suggestions and the value of a recorded cell."""
    recorded, _ = gates_table(12)
    bench = make_bench(recorded)
    Spy.shown.clear()
    order = make_replay("tests.replay.test_replay:Spy", bench, CONFIG)(bench, 0)
    assert sorted(order) == list(range(bench.n_candidates))
    for trials in Spy.shown:
        seen = [bench.visits[k] for k in order[: len(trials)]]
        assert [dict(trial.params) for trial in trials] == [visit.params for visit in seen]
        assert [trial.value for trial in trials] == [visit.value for visit in seen]
    assert max(map(len, Spy.shown)) == len(order) - 1


def test_tpe_learns_from_a_table() -> None:
    """After its ten random ones, it leaves the worse candidates to the end."""
    recorded, _ = gates_table(40)
    bench = make_bench(recorded)
    values = np.array(bench.values)
    replay = make_replay("tpe", bench, replace(CONFIG, n_candidates=25))
    for seed in range(3):
        order = replay(bench, seed)
        left = [index for index in range(bench.n_candidates) if index not in order]
        assert values[order[10:]].mean() > values[left].mean()


def test_a_space_that_has_changed_is_refused() -> None:
    recorded, _ = gates_table(3)
    other = replace(recorded, header=replace(recorded.header, space_version="gates-0"))
    with pytest.raises(ValueError, match=r"is gates-0 in the table and gates-\w+ now"):
        make_replay("tpe", make_bench(other), CONFIG)
    first, *rest = recorded.visits
    bare = replace(recorded, visits=(replace(first, params={}), *rest))
    with pytest.raises(ValueError, match="has candidates without suggestions"):
        make_replay("tpe", make_bench(bare), CONFIG)


def test_choices_that_name_parents_are_refused_before_a_cell_is_made() -> None:
    recorded, _ = gates_table(3)
    path = Path(__file__).parents[2] / "search_spaces" / "from_rnn_bred.yaml"
    file = path.read_text(encoding="utf-8")
    header = Header("g", "from_rnn_bred", load_space("from_rnn_bred").version, file)
    child = {"origin": "child", "parent": 1, "mate": 0, "mutations": 1, "seed": 0}
    visits = tuple(replace(visit, params=child) for visit in recorded.visits)
    bench = make_bench(Table(header, visits))
    with pytest.raises(ValueError, match='sampler "tpe" draws each choice by itself'):
        make_replay("tpe", bench, CONFIG)
    assert sorted(make_replay("jozefowicz", bench, CONFIG)(bench, 0)) == [0, 1, 2]


# --- regret ---


def test_regret_never_rises_and_ends_at_nothing() -> None:
    bench = smooth(4, 6, 7)
    comparison = compare(bench, EVOLUTION, range(5), CONFIG, n_shuffled=0)
    assert comparison.budget == RUNS * bench.n_candidates
    for result in comparison.results:
        assert (np.diff(result.curves.regret, axis=1) <= 0).all()
        assert (result.curves.regret[:, -1] == 0).all()
        assert (result.curves.regret[:, 0] == max(bench.values) - min(bench.values)).all()
        assert result.band[-1].mean == 0
        assert result.band[0].mean == max(bench.values) - min(bench.values)


def test_curves_and_areas_by_hand() -> None:
    """Costs 1, 2, 4 and values 0.2, 0.9, 0.5 in the order 0, 2, 1."""
    found = curves("one", [[0, 2, 1]], [0.2, 0.9, 0.5], [1, 2, 4])
    assert found.paid.tolist() == [[0, 1, 5, 7]]
    np.testing.assert_allclose(found.regret, [[0.7, 0.7, 0.4, 0.0]], **SAME_FORMULA)
    np.testing.assert_allclose(
        found.at([0, 0.5, 1, 4.9, 5, 6.9, 7, 8]),
        [[0.7, 0.7, 0.7, 0.7, 0.4, 0.4, 0.0, 0.0]],
        **SAME_FORMULA,
    )
    for budget, area in ((4, 0.7), (6, (5 * 0.7 + 0.4) / 6), (7, (3.5 + 0.8) / 7), (10, 0.43)):
        np.testing.assert_allclose(found.area(budget), [area], **SAME_FORMULA)


def test_a_search_that_ended_early_stays_where_it_is() -> None:
    found = curves("one", [[0, 2]], [0.2, 0.9, 0.5], [1, 2, 4])
    np.testing.assert_allclose(found.area(10), [(5 * 0.7 + 5 * 0.4) / 10], **SAME_FORMULA)


def test_what_was_free_is_counted_at_once() -> None:
    found = Curves("free", np.array([[0.0, 0.0, 1.0]]), np.array([[3.0, 2.0, 1.0]]))
    assert found.at([0.0, 1.0]).tolist() == [[2.0, 1.0]]
    assert found.area(1.0).tolist() == [2.0]


def test_the_interval_is_the_normal_one_of_many_samples() -> None:
    samples = np.random.default_rng(1).normal(3.0, 2.0, size=(400, 1))
    [found] = intervals(samples)
    half = 1.96 * samples.std() / sqrt(400)
    assert found.mean == samples.mean()
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)
