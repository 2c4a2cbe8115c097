"""What the samplers that evolve choose, from studies made by hand."""

from collections import Counter
from random import Random
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from nas.cell import Cell
from nas.errors import UserError
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.jozefowicz import Jozefowicz
from nas.samplers.propose import PROPOSED, FilledTrial, Past, Proposal, RandomWalk, varied
from nas.samplers.registry import Repeatable, find_sampler
from nas.samplers.regularized import Regularized
from nas.spaces import Bred, Gates, Graph, Params, Space
from nas.zoo import ZOO

SPACE = Graph(max_generation=8)
GATES = Gates()
SEEDS = 400


def trial(
    number: int,
    score: float | None,
    kind: str = "drawn",
    key: str = "",
    told: bool = True,
    turn: int = 0,
) -> FrozenTrial:
    """A trial of generation 1, whose number is its start cell's name."""
    value = 0.1 if score is None else score
    made = create_trial(
        state=TrialState.COMPLETE if told else TrialState.RUNNING,
        value=value if told else None,
        params={"start": "gru", "generation": 1, "mark": number},
        distributions={
            "start": CategoricalDistribution(("lstm", "gru")),
            "generation": IntDistribution(1, 8, log=True),
            "mark": IntDistribution(0, 1000),
        },
        user_attrs={
            "kind": kind,
            "key": key or f"key {number}",
            "turn": turn,
            "judgement": {"score": score, "value": value},
        },
    )
    made.number = number
    return made


def proposals(
    sampler: type[Jozefowicz] | type[Regularized],
    trials: list[FrozenTrial],
    n_turns: int = 1,
    **config: Any,
) -> list[Proposal]:
    made = sampler(0, SPACE, EvolutionConfig(**config), n_turns)
    past = Past(SPACE, tuple(trials))
    return [made.proposal(past, Random(seed)) for seed in range(SEEDS)]


def parents(found: list[Proposal]) -> set[int | None]:
    return {proposal.parent for proposal in found if not proposal.again}


# --- Jozefowicz et al. 2015 ---


def test_parents_are_the_best_of_those_that_passed_every_stage() -> None:
    scores = [1.0, 0.95, None, 1.2, 0.91, None, 1.1]
    trials = [trial(number, score) for number, score in enumerate(scores)]
    assert parents(proposals(Jozefowicz, trials)) == {0, 1, 3, 4, 6}
    assert parents(proposals(Jozefowicz, trials, list_size=3)) == {0, 3, 6}


def test_the_given_cells_are_the_list_until_results_are_told() -> None:
    trials = [trial(k, 1.0, kind="given", told=False) for k in range(2)]
    assert parents(proposals(Jozefowicz, trials)) == {0, 1}
    trials.append(trial(2, 1.0, told=False))
    assert parents(proposals(Jozefowicz, trials)) == {0, 1}, "no other result may be used"
    assert parents(proposals(Jozefowicz, [])) == {None}, "a random point, if nothing is known"


def test_a_mutant_is_one_generation_away_from_its_parent() -> None:
    for proposal in proposals(Jozefowicz, [trial(0, 1.0)], propose=1.0):
        params = proposal.params
        assert params["generation"] == 2
        assert params["start"] == "gru"
        assert 0 <= int(params["mutation_2"]) < 2**31


@pytest.mark.parametrize("propose", [0.8, 0.3])
def test_the_share_of_re_evaluations(propose: float) -> None:
    trials = [trial(k, 1.0) for k in range(3)]
    found = proposals(Jozefowicz, trials, n_turns=2, propose=propose)
    share = sum(proposal.again for proposal in found) / SEEDS
    assert share == pytest.approx(1 - propose, abs=0.06)  # 2.5 standard deviations
    marks = Counter(p.params["mark"] for p in found if p.again)
    assert set(marks) == {0, 1, 2}
    assert all(p.params == trials[int(p.params["mark"])].params for p in found if p.again)


def test_only_candidates_with_fresh_settings_are_re_evaluated() -> None:
    trials = [
        trial(0, 1.0, kind="given"),
        trial(1, 1.0, key="a"),
        trial(2, 1.0, key="b"),
        trial(3, 1.0, key="b", turn=1),
        trial(4, 1.0, key="c"),
        trial(5, None, key="d"),
        trial(6, 1.0, key="c", turn=1, told=False),
    ]

    def marks(n_turns: int) -> set[object]:
        found = proposals(Jozefowicz, trials, n_turns=n_turns, propose=0.3)
        return {p.params["mark"] for p in found if p.again}

    assert marks(1) == set()
    assert marks(2) == {1}, "b has been visited twice, and the second visit of c is on its way"
    assert marks(3) == {1, 3, 4}


def test_the_last_visit_of_a_cell_says_how_good_it_is() -> None:
    trials = [trial(0, 1.3, key="a"), trial(1, 1.0, key="b"), trial(2, 0.8, key="a", turn=1)]
    assert parents(proposals(Jozefowicz, trials, list_size=1)) == {1}


# --- regularized evolution ---


def test_the_population_is_filled_at_random() -> None:
    trials = [trial(k, 1.0) for k in range(4)]
    assert {p.parent for p in proposals(Regularized, trials, population=5)} == {None}
    assert {p.params == {} for p in proposals(Regularized, trials, population=5)} == {True}


def test_the_oldest_die_however_good() -> None:
    trials = [trial(k, score) for k, score in enumerate([9.0, 1.0, 2.0, 3.0])]
    found = proposals(Regularized, trials, population=3, tournament=1)
    assert {p.parent for p in found} == {1, 2, 3}
    trials.append(trial(4, 9.0, told=False))
    found = proposals(Regularized, trials, population=3, tournament=1)
    assert {p.parent for p in found} == {1, 2, 3}, "what is not told is not born"


def test_the_best_of_a_tournament_is_the_parent() -> None:
    trials = [trial(k, 1.0 + k) for k in range(4)]
    counts = Counter(p.parent for p in proposals(Regularized, trials, population=4, tournament=2))
    # The best of two draws with replacement: (2k + 1) / 16 for the k-th from below.
    for k in range(4):
        assert counts[k] / SEEDS == pytest.approx((2 * k + 1) / 16, abs=0.06)


# --- what all of them share ---


@pytest.mark.parametrize("space", [SPACE, GATES], ids=["graph", "gates"])
def test_a_random_point_is_that_of_studies_before_spaces_fixed_anything(space: Space) -> None:
    for seed in range(20):
        rng, old = Random(seed), FilledTrial({}, Random(seed))
        drawn = FilledTrial(Past(space, ()).drawn(rng).params, rng)
        assert space.propose(drawn) == space.propose(old)
        assert drawn.params == old.params


def test_several_mutations_are_one_after_another() -> None:
    params = GATES.params_of(ZOO["gru"])
    assert params is not None
    n_changed = Counter[int]()
    for seed in range(50):
        twice = varied(GATES, params, Random(seed), 2)
        n_changed[sum(params[name] != twice[name] for name in params.keys() & twice.keys())] += 1
        GATES.propose(FilledTrial(twice, Random(0)))
    assert set(n_changed) <= {0, 1, 2}
    assert n_changed[2] > 25
    started: Params = {"start": "gru", "generation": 1}
    twice = varied(SPACE, started, Random(5), 2)
    assert twice["generation"] == 3
    assert twice["mutation_2"] == varied(SPACE, started, Random(5))["mutation_2"]


def test_a_child_of_two_has_a_space_with_crossover() -> None:
    one, mate = (trial(k, 1.0) for k in range(2))
    assert Past(GATES, (one, mate)).crossed(one, mate, Random(0)) is None
    bred = Bred(walks=SPACE)
    for made, name in ((one, "gru"), (mate, "lstm")):
        made.params = {"origin": "walk", "start": name, "generation": 1}
        made.user_attrs["cell"] = str(ZOO[name])
    child = Past(bred, (one, mate)).crossed(one, mate, Random(0))
    assert child is not None
    assert child.parent == 0
    assert "From gru and lstm: " in bred.propose(FixedTrial(child.params)).doc


def test_a_neighbour_in_a_space_without_mutations_has_one_other_choice() -> None:
    params = GATES.params_of(ZOO["gru"])
    assert params is not None
    found = set()
    for seed in range(100):
        neighbour = varied(GATES, params, Random(seed))
        changed = [name for name in params if neighbour[name] != params[name]]
        assert len(changed) == 1
        found.add(changed[0])
    assert found == set(params)


def test_no_cell_is_drawn_twice_while_there_are_others() -> None:
    few = Gates(
        states=("merged",),
        candidate_activation=("tanh",),
        forget_bias=(0,),
        update_gate=("xh", "none"),
        reset_gate=("xh",),
        beta=(0,),
    )
    size = few.size()
    assert size < 20
    study = optuna.create_study()
    cells: list[Cell] = []
    for number in range(size + 2):
        study.sampler = Repeatable(
            find_sampler("random", few, EvolutionConfig(n_redraws=300)), 0, number
        )
        made = study.ask()
        cells.append(few.propose(made))
        made.set_user_attr("key", cells[-1].key)
    assert len({cell.key for cell in cells[:size]}) == size
    noted = [t.user_attrs[PROPOSED]["n_draws"] for t in study.trials]
    assert noted[0] == 1
    assert sum(noted[:size]) > size
    assert noted[size:] == [301, 301], "then the known one is taken"


def test_the_parent_and_the_draws_are_noted() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(6):
        make = find_sampler("regularized", SPACE, EvolutionConfig(population=3, tournament=2))
        study.sampler = Repeatable(make, 0, number)
        made = study.ask()
        cell = SPACE.propose(made)
        made.set_user_attr("key", cell.key)
        study.tell(made, float(number))
    noted = [t.user_attrs[PROPOSED] for t in study.trials]
    assert [one["parent"] for one in noted[:3]] == [None, None, None]
    for number in (3, 4, 5):
        parent = study.trials[noted[number]["parent"]]
        assert number - 3 <= parent.number < number
        child = study.trials[number].params
        if parent.params["generation"] < SPACE.max_generation:
            assert {k: child[k] for k in parent.params if k != "generation"} == {
                k: v for k, v in parent.params.items() if k != "generation"
            }


def test_a_space_that_asks_for_more_in_the_trial_is_named() -> None:
    class Fickle(Graph):
        def propose(self, trial: Any) -> Cell:
            if isinstance(trial, optuna.Trial):
                trial.suggest_int("more", 0, 5)
            return super().propose(trial)

    fickle = Fickle()
    study = optuna.create_study(sampler=RandomWalk(0, fickle, EvolutionConfig()))
    with pytest.raises(AssertionError, match="space graph asked for more in a trial, but not wh"):
        fickle.propose(study.ask())


def test_the_point_of_a_mutant_is_one_of_the_space() -> None:
    params: Params = {"start": "gru", "generation": 1}
    for seed in range(10):
        params = varied(SPACE, params, Random(seed))
        assert SPACE.contains(SPACE.propose(FixedTrial(params)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"list_size": 0}, "evolution.list_size must be at least 1, got 0"),
        ({"population": 0}, "evolution.population must be at least 1, got 0"),
        ({"tournament": 0}, "evolution.tournament must be at least 1, got 0"),
        ({"n_redraws": -1}, "evolution.n_redraws must be at least 0, got -1"),
        ({"propose": 0.0}, r"evolution.propose must be in \(0, 1\], got 0.0"),
        ({"propose": 1.1}, r"evolution.propose must be in \(0, 1\], got 1.1"),
    ],
)
def test_values_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EvolutionConfig(**fields).check()
