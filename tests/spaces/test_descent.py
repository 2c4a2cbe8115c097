"""Lines of descent: what a study has stored saves walking again, and changes no cell."""

import itertools
from collections.abc import Iterator
from random import Random

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState, create_trial

import nas.spaces.store
from nas.cell import Cell, loads, renamed
from nas.cell.mutation import Mutant, mutate, random_walk
from nas.cell.mutation.rules import Mutations
from nas.samplers.evolution import EvolutionConfig
from nas.samplers.propose import Past, Proposal
from nas.samplers.regularized import Regularized
from nas.spaces import Graph, Mixed, Params, Space, descent
from nas.spaces.store import Store
from nas.zoo import ZOO

GRAPH = Graph(max_generation=6)
MIXED = Mixed(graph=GRAPH)
SEEDS = {f"mutation_{k}": 10 * k for k in range(2, 6)}
STARTED: Params = {"start": "gru", "generation": 5, **SEEDS}
GATED: Params = {**(MIXED.params_of(ZOO["mgu"]) or {}), "generation": 5, **SEEDS}
POINTS = [(GRAPH, STARTED), (MIXED, {"origin": "graph", **STARTED}), (MIXED, GATED)]


@pytest.fixture(autouse=True)
def n_mutations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An empty store, and the seeds of the mutations that are made."""
    made: list[int] = []

    def counted(cell: Cell, seed: int, rules: Mutations) -> Mutant:
        made.append(seed)
        return mutate(cell, seed, rules)

    monkeypatch.setattr(descent, "_STORE", Store())
    monkeypatch.setattr(descent, "mutate", counted)
    return made


def proposed(space: Space, params: Params) -> Cell:
    return space.propose(FixedTrial(params))


@pytest.mark.parametrize("name", ["gru", "lstm", "lstm_fgr"])
def test_a_mutation_depends_on_the_text_of_a_cell_alone(name: str) -> None:
    cells = [ZOO[name], *(mutant.cell for mutant in random_walk(ZOO[name], 12, 0))]
    for seed, cell in enumerate(cells):
        read = loads(str(cell))
        assert read == cell
        assert mutate(read, seed) == mutate(cell, seed)


@pytest.mark.parametrize(("space", "params"), POINTS)
def test_a_child_of_a_recalled_cell_is_the_same(
    space: Space, params: Params, n_mutations: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = proposed(space, params), {**params, "generation": 6, "mutation_6": 7}
    walked = proposed(space, child)
    assert len(n_mutations) == 5
    monkeypatch.setattr(descent, "_STORE", Store())
    space.recall(params, str(parent))
    assert proposed(space, child) == walked
    assert n_mutations[5:] == [7], "one mutation, not five"


def test_a_known_cell_is_walked_to_since_its_name_is_another(n_mutations: list[int]) -> None:
    """The doc of a mutant names its parent, and by the name that it had as a mutant."""
    turned = loads(str(ZOO["gru"]).replace("z * h + (1 - z) * n", "(1 - z) * h + z * n"))
    rules = Mutations(operators=("insert_activation",), most=1)
    space = Graph(start=(turned,), max_generation=3, rules=rules)
    points: Iterator[Params] = ({"generation": 2, "mutation_2": k} for k in itertools.count())
    known = next(params for params in points if proposed(space, params).name == "mut3")
    child = {**known, "generation": 3, "mutation_3": 1}
    walked, text = proposed(space, child), str(proposed(space, known))
    descent._STORE.clear()
    space.recall(known, text)
    assert proposed(space, child) == walked


def test_the_store_forgets_what_was_not_asked_for_longest(
    monkeypatch: pytest.MonkeyPatch, n_mutations: list[int]
) -> None:
    monkeypatch.setattr(nas.spaces.store, "KEPT", 3)
    kept = Store[int]()
    for k in range(3):
        kept.keep(k, ZOO["gru"])
    assert kept.get(0) is ZOO["gru"]
    kept.keep(3, ZOO["gru"])
    assert [kept.get(k) is None for k in range(4)] == [False, True, False, False]


def test_a_parent_of_full_length_is_not_walked_again(n_mutations: list[int]) -> None:
    """It has siblings; the cell before both is its own parent's, two trials before."""
    full: Params = {**STARTED, "generation": 6, "mutation_6": 8}
    sibling: Params = {**full, "mutation_6": 9}
    study = optuna.create_study()
    for number, params in enumerate((STARTED, full, sibling)):
        trial = FixedTrial(params)
        text = str(GRAPH.propose(trial))
        attrs = {"cell": text, "key": str(number), "parent": number - 1 if number else None}
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=float(number),
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=attrs,
            )
        )
    descent._STORE.clear()
    n_mutations.clear()
    past = Past(GRAPH, tuple(study.get_trials()))
    found: Proposal = past.mutant(past.trials[2], Random(0))
    proposed(GRAPH, found.params)
    assert n_mutations == [found.params["mutation_6"]]
    config = EvolutionConfig(population=1, tournament=1)
    assert Regularized(0, GRAPH, config).proposal(past, Random(0)).parent == 2


def test_a_renamed_cell_keeps_its_key() -> None:
    cell = mutate(ZOO["gru"], 3).cell
    assert "key" in vars(renamed(cell, "other")), "it takes a millisecond"
    assert renamed(cell, "other").key == loads(str(cell)).key
