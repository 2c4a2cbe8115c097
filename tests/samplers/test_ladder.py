"""Who climbs a ladder, and who has children on it, from studies made by hand."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import median_abs_deviation

from nas.errors import UserError
from nas.protocol.judgement import geometric_mean
from nas.protocol.rungs import LadderConfig
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.lexicase import Lexicase, population, select
from nas.samplers.promotion import promoted, ratios_by_rung
from nas.samplers.propose import Past
from nas.samplers.registry import find_sampler
from nas.spaces import Graph, load_space
from nas.zoo import ZOO

SPACE = Graph(max_generation=8)
LADDER = LadderConfig()
DRAWS = 4000
NAMED = ((0, "rnn"), (1, "gru"))


def trial(
    number: int,
    ratios: Mapping[str, float] | None,
    rung: int = 0,
    key: str = "",
    kind: str = "drawn",
) -> FrozenTrial:
    """A visit at a rung; one without ratios is still on its way."""
    made = create_trial(
        state=TrialState.RUNNING if ratios is None else TrialState.COMPLETE,
        value=None if ratios is None else 1.0,
        params={"start": "gru", "generation": 1},
        distributions={
            "start": CategoricalDistribution(("lstm", "gru")),
            "generation": IntDistribution(1, 8, log=True),
        },
        user_attrs={"kind": kind, "key": key or f"key {number}", "turn": rung},
    )
    if ratios is not None:
        rungs = [{"rung": rung, "values": {}, "ratios": dict(ratios)}]
        made.set_user_attr("judgement", {"score": None, "rungs": rungs})
    made.number = number
    return made


# --- promotion ---


def test_the_ladder_fills_as_halving_says_and_only_the_best_climb() -> None:
    """A study of 400 trials: at any time a rung has at most a third of the one below."""
    rng, trials = Random(0), list[FrozenTrial]()
    quality: dict[str, dict[str, float]] = {}
    for number in range(400):
        due = promoted(trials, LADDER)
        if due is None:
            key = f"key {number}"
            quality[key] = {task: rng.uniform(0.1, 2) for task in ("a", "b", "c")}
            trials.append(trial(number, quality[key]))
            continue
        key, rung = due.user_attrs["key"], due.user_attrs["turn"]
        there = [t.user_attrs["key"] for t in trials if t.user_attrs["turn"] == rung]
        above = [t for t in trials if t.user_attrs["turn"] == rung + 1]
        assert len(there) >= LADDER.least
        assert len(above) < len(there) // 3
        assert key not in {t.user_attrs["key"] for t in above}, "it climbs once"
        standing = [
            sum(measure(quality[other]) > measure(quality[key]) for other in there)
            for measure in (geometric_mean, *(lambda q, t=t: q[t] for t in ("a", "b", "c")))
        ]
        assert min(standing) < len(there) // 3, "it is among the best by some measure"
        trials.append(trial(number, quality[key], rung + 1, key))
    counts = Counter(t.user_attrs["turn"] for t in trials)
    assert counts[1] in (counts[0] // 3 - 1, counts[0] // 3)
    assert counts[2] in (counts[1] // 3 - 1, counts[1] // 3)


def test_a_specialist_climbs_although_its_mean_is_the_worst() -> None:
    trials = [trial(n, {"a": 1.0 + n / 100, "b": 1.0 + n / 100}) for n in range(11)]
    trials.append(trial(11, {"a": 2.0, "b": 0.05}))
    first = promoted(trials, LADDER)
    assert first is not None
    assert first.number == 10, "the turn of the geometric mean"
    trials.append(trial(12, None, 1, "key 10"))
    second = promoted(trials, LADDER)
    assert second is not None
    assert second.number == 11, "the turn of the task a"


def test_none_climbs_before_the_rung_has_enough_results() -> None:
    trials = [trial(n, {"a": 1.0}) for n in range(8)]
    trials += [trial(8, None), trial(9, {"a": 9.0}, kind="given")]
    assert promoted(trials, LADDER) is None
    trials.append(trial(10, {"a": 1.0}))
    due = promoted(trials, LADDER)
    assert due is not None
    assert due.number == 0


def test_the_highest_rung_comes_first() -> None:
    trials = [trial(n, {"a": 1.0 + n}) for n in range(30)]
    trials += [trial(30 + n, {"a": 1.0 + n}, 1, f"key {n}") for n in range(9)]
    due = promoted(trials, LADDER)
    assert due is not None
    assert (due.user_attrs["key"], due.user_attrs["turn"]) == ("key 8", 1)


# --- epsilon-lexicase ---


def chances(cases: Sequence[Mapping[str, float]]) -> list[float]:
    """The probability of each cell, by all orders of the tasks, with SciPy's deviation."""
    found = np.zeros(len(cases))
    orders = list(itertools.permutations(cases[0]))
    for order in orders:
        left = np.arange(len(cases))
        for task in order:
            values = np.array([cases[k][task] for k in left])
            left = left[values >= values.max() - median_abs_deviation(values)]
        found[left] += 1 / len(left) / len(orders)
    return list(found)


def test_parents_are_drawn_as_often_as_all_orders_of_the_tasks_say() -> None:
    rng = Random(1)
    cases = [{task: rng.uniform(0, 2) for task in "abc"} for _ in range(12)]
    trials = [trial(n, ratios) for n, ratios in enumerate(cases)]
    known = ratios_by_rung(trials)
    rng = Random(0)
    counts = Counter(select(trials, known, rng).number for _ in range(DRAWS))
    for number, chance in enumerate(chances(cases)):
        tolerance = 5 * (chance * (1 - chance) / DRAWS) ** 0.5
        assert counts[number] / DRAWS == pytest.approx(chance, abs=tolerance)


def test_cells_are_compared_at_the_highest_rung_that_all_have() -> None:
    trials = [trial(0, {"a": 1.0}), trial(1, {"a": 0.5}), trial(2, {"a": 0.8})]
    trials += [trial(3, {"a": 0.1}, 1, "key 0"), trial(4, {"a": 3.0}, 1, "key 1")]
    known = ratios_by_rung(trials)
    rng = Random(0)
    drawn = {select([trials[3], trials[4]], known, rng).number for _ in range(50)}
    assert drawn == {4}, "both were at rung 2"
    drawn = {select([trials[2], trials[3], trials[4]], known, rng).number for _ in range(50)}
    assert drawn == {2, 3}, "one was not: rung 1 counts, with a deviation of 0.2"


def test_without_a_ladder_a_task_that_a_cell_did_not_come_to_is_its_worst() -> None:
    trials = [trial(0, None), trial(1, None)]
    for made, ratios in zip(trials, ({"a": 1.0}, {"a": 0.5, "b": 0.5}), strict=True):
        made.state, made.value = TrialState.COMPLETE, 1.0
        made.set_user_attr("judgement", {"score": None, "ratios": ratios})
    rng = Random(0)
    counts = Counter(select(trials, ratios_by_rung(trials), rng).number for _ in range(400))
    # The deviation of two values is half of their distance: each task leaves its best alone.
    assert counts[0] / 400 == pytest.approx(0.5, abs=0.125)


def test_the_population_is_the_cells_that_were_judged_last() -> None:
    trials = [trial(n, {"a": 1.0}) for n in range(6)]
    trials += [trial(6, {"a": 1.0}, 1, "key 1"), trial(7, None)]
    living = population(Past(SPACE, tuple(trials)), ratios_by_rung(trials), 4)
    assert [t.number for t in living] == [3, 4, 5, 6], "a cell that climbed is young again"


def test_shares_of_crossed_and_twice_mutated_children() -> None:
    space = load_space("from_rnn_bred")
    parents = [trial(number, {"a": 1.0}, key=ZOO[name].key) for number, name in NAMED]
    for made, (_, name) in zip(parents, NAMED, strict=True):
        made.params = {
            "origin": "child",
            "parent": 1,
            "mate": 0,
            "mutations": 1,
            "seed": made.number,
        }
        made.set_user_attr("cell", str(ZOO[name]))
    sampler = Lexicase(0, space, EvolutionConfig(crossover=0.25, twice=0.2), 3, LADDER)
    past = Past(space, tuple(parents))
    found = [sampler.proposal(past, Random(seed)) for seed in range(1000)]
    crossed = [proposal for proposal in found if proposal.mate is not None]
    assert all(proposal.mate != proposal.parent for proposal in crossed)
    assert len(crossed) / 1000 == pytest.approx(0.25, abs=0.07)
    twice = sum(p.params["mutations"] == 2 for p in found if p.mate is None)
    assert twice / (1000 - len(crossed)) == pytest.approx(0.2, abs=0.07)


@pytest.mark.parametrize("name", ["tpe", "jozefowicz"])
def test_samplers_that_promote_nothing_are_refused_on_a_ladder(name: str) -> None:
    with pytest.raises(UserError, match=f"sampler {name} has no cell climb a ladder"):
        find_sampler(name, SPACE, ladder=LADDER)
