"""The mixed space: a gated cell or a start cell, and the seeds of the mutations that follow it."""

import re
from collections import Counter
from pathlib import Path
from random import Random

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

from nas.cell import Cell, loads
from nas.cell.mutation import mutate
from nas.cell.mutation.rules import Mutations, broken_rule
from nas.errors import UserError
from nas.spaces import Gates, Graph, Mixed, Params, load_space
from nas.testing.spaces import check_space
from nas.zoo import ZOO

GATES, GRAPH = Gates(), Graph(max_generation=6)
SPACE = Mixed(gates=GATES, graph=GRAPH)
ORIGINAL: Params = {"origin": "gates", **(GATES.params_of(ZOO["ugrnn"]) or {}), "generation": 1}


def proposed(params: Params, space: Mixed = SPACE) -> Cell:
    return space.propose(FixedTrial(params))


def test_conformance() -> None:
    check_space(SPACE, [ZOO[name] for name in ("gru", "lstm", "lstm_fgr", "ugrnn", "rnn")])


def test_the_values_of_the_file_are_the_defaults() -> None:
    assert load_space("mixed") == Mixed()


@pytest.mark.process
def test_conformance_of_the_file() -> None:
    check_space(load_space("mixed"), [ZOO["gru"], ZOO["lstm"]])


def test_the_first_generation_is_the_gated_cell_or_the_start_cell() -> None:
    for _, (params, _) in zip(range(40), Random(0).sample([*GATES.points()], 40), strict=True):
        point = {"origin": "gates", **params, "generation": 1}
        assert proposed(point) == GATES.propose(FixedTrial(params))
    assert proposed({"origin": "graph", "start": "gru", "generation": 1}) == ZOO["gru"]


def test_mutations_may_follow_any_gated_cell() -> None:
    mutant = mutate(mutate(proposed(ORIGINAL), 5).cell, 7).cell
    further: Params = {"generation": 3, "mutation_2": 5, "mutation_3": 7}
    assert proposed({**ORIGINAL, **further}) == mutant
    started = {"origin": "graph", "start": "lstm", **further}
    assert proposed(started) == GRAPH.propose(FixedTrial(started)), "and any start cell as before"


def test_the_spaces_ask_for_nothing_by_one_name() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    names = Counter[str]()
    for space in (GATES, GRAPH):
        asked: set[str] = set()
        for _ in range(60):
            trial = study.ask()
            space.propose(trial)
            asked |= {*trial.params}
        names.update([*asked, "origin"] if space is GATES else asked)
    assert set(names.values()) == {1}


def test_half_of_the_random_origins_are_gated() -> None:
    space = Mixed(graph=Graph(max_generation=2))
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    origins = Counter[str]()
    for _ in range(150):
        trial = study.ask()
        space.propose(trial)
        origins[trial.params["origin"]] += 1
    assert origins["gates"] / 150 == pytest.approx(0.5, abs=0.1)  # 2.5 standard deviations


def test_a_gated_cell_varies_in_one_choice_or_is_mutated() -> None:
    kinds = Counter[str]()
    for seed in range(200):
        varied = SPACE.vary(ORIGINAL, seed)
        assert varied == SPACE.vary(ORIGINAL, seed)
        twice = SPACE.vary(ORIGINAL, seed, 2)
        assert twice["generation"] in ((3,) if varied["generation"] == 2 else (1, 2))
        if varied["generation"] == 2:
            kinds["mutated"] += 1
            assert {k: varied[k] for k in ORIGINAL if k != "generation"} == {
                k: v for k, v in ORIGINAL.items() if k != "generation"
            }
            continue
        kinds["changed"] += 1
        changed = [name for name in ORIGINAL if name in varied and varied[name] != ORIGINAL[name]]
        assert len(changed) == 1
        trial = FixedTrial(varied)
        assert SPACE.contains(SPACE.propose(trial))
        assert trial.params == varied, "all that the other cell asks for, and nothing else"
    assert kinds["changed"] / 200 == pytest.approx(0.5, abs=0.09)  # 2.5 standard deviations


def test_others_are_mutated() -> None:
    mutant = {**ORIGINAL, "generation": 2, "mutation_2": 5}
    started: Params = {"origin": "graph", "start": "gru", "generation": 1}
    single = Mixed(
        gates=Gates(
            states=("merged",),
            candidate_activation=("tanh",),
            forget_bias=(0,),
            update_gate=("none",),
            reset_place=("none",),
        )
    )
    for seed in range(30):
        assert SPACE.vary(mutant, seed)["generation"] == 3
        assert SPACE.vary(mutant, seed, 3)["generation"] == 5
        assert SPACE.vary(started, seed)["generation"] == 2
        assert single.vary({"origin": "gates", "generation": 1}, seed)["generation"] == 2


def test_points_of_known_cells() -> None:
    assert SPACE.params_of(ZOO["ugrnn"]) == ORIGINAL
    gated = SPACE.params_of(ZOO["gru"])
    assert gated is not None
    assert gated["origin"] == "gates", "rather than the start cell: it has more neighbours"
    merged = Mixed(gates=Gates(states=("merged",)), graph=GRAPH)
    assert merged.params_of(ZOO["lstm"]) == {"origin": "graph", "start": "lstm", "generation": 1}
    assert SPACE.params_of(ZOO["mut1"]) is None


def test_what_is_inside() -> None:
    assert SPACE.contains(ZOO["mut1"])
    five = mutate(ZOO["lstm_fgr"], 0).cell
    assert len(five.states) == 5
    assert SPACE.contains(five), "a mutant of a gated cell with gate recurrence"
    assert not Mixed(gates=Gates(gate_recurrence=(False,))).contains(five)
    six = "def f(x, a, b, c, d, e, f):\n    return linear(x, a), b + x, c + a, d + b, e + c, f + d"
    assert not SPACE.contains(loads(six))
    assert not SPACE.contains(loads("def f(x, h):\n    return tanh(linear(x) + h - h)\n"))
    more = Mixed(graph=Graph(rules=Mutations(change_states=True, max_states=3)))
    assert not more.contains(five), "no mutant has more states than max_states"
    assert more.contains(ZOO["lstm_fgr"]), "a gated cell may"


def test_a_gated_cell_without_mutants_stays() -> None:
    space = Mixed(graph=Graph(max_generation=4, rules=Mutations(max_operations=1, max_draws=20)))
    assert proposed({**ORIGINAL, "generation": 3, "mutation_2": 1, "mutation_3": 2}, space) == (
        proposed(ORIGINAL, space)
    )


def test_every_gated_cell_obeys_the_rules_of_mutants() -> None:
    points = Random(0).sample([*GATES.points()], 200)
    broken = [broken_rule(GATES.at(params), Mutations()) for params, _ in points]
    assert broken == [""] * 200


def test_version_depends_on_both_spaces() -> None:
    others = [
        Mixed(),
        Mixed(gates=Gates(beta=(0,))),
        Mixed(graph=Graph(max_generation=5)),
        Mixed(gates=Gates(beta=(0,)), graph=Graph(max_generation=5)),
    ]
    assert len({space.version for space in others}) == 4


def test_a_file_names_both_spaces(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text("kind: gates\nstates: merged\n")
    (tmp_path / "plain.yaml").write_text("kind: graph\nstart: [rnn]\n")
    text = f"kind: mixed\ngates: {tmp_path / 'few.yaml'}\ngraph: {tmp_path / 'plain.yaml'}\n"
    (tmp_path / "mine.yaml").write_text(text)
    space = load_space(str(tmp_path / "mine.yaml"))
    gates, graph = Gates("few", states=("merged",)), Graph("plain", start=(ZOO["rnn"],))
    assert space == Mixed("mine", gates, graph)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start: [gru]", 'no field "start"'),
        ("gates: [gates]", "gates must be the name or the path of a space, got ['gates']"),
        ("gates: gatess", 'no space "gatess". Did you mean "gates"'),
        ("gates: graph", 'graph.yaml: no kind of space "graph". Did you mean "gates"'),
        ("graph: gates", 'gates.yaml: no kind of space "gates". Did you mean "graph"'),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"kind: mixed\n{text}\n")
    with pytest.raises(UserError, match=re.escape(message)):
        load_space(str(tmp_path / "mine.yaml"))
