"""The space of bred cells: walks from start cells, and children of cells that a study knows."""

import dataclasses
import re
from pathlib import Path
from random import Random

import pytest
from optuna.trial import FixedTrial

from nas.cell import Cell, loads
from nas.cell.mutation import cross, mutate
from nas.errors import UserError
from nas.resources import find
from nas.samplers.registry import NAMES, PROPOSERS, SAMPLERS, find_sampler
from nas.spaces import Bred, Graph, Params, bred, load_space
from nas.spaces.store import Store
from nas.testing.samplers import check_sampler
from nas.testing.spaces import check_space
from nas.zoo import ZOO
from tests.inline import run_here
from tests.studies import stored, write_config

SPACE = Bred(walks=Graph(start=(ZOO["gru"], ZOO["rnn"]), max_generation=4))
RULES = SPACE.walks.rules
GRU: Params = {"origin": "walk", "start": "gru", "generation": 1}
RNN: Params = {"origin": "walk", "start": "rnn", "generation": 1}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process, in which no cell is known."""
    monkeypatch.setattr(bred, "_KNOWN", Store())
    monkeypatch.setattr(bred, "_CHILDREN", Store())


def proposed(params: Params, space: Bred = SPACE) -> Cell:
    return space.propose(FixedTrial(params))


def number(cell: Cell) -> int:
    return int(cell.key[:12], 16)


def body(cell: Cell) -> str:
    """The text of a cell after its doc."""
    return str(cell).split('"""\n', 1)[1]


def seed_of(seed: int) -> int:
    """The seed of the first step of a point with this seed."""
    return Random(seed).getrandbits(32)


def test_conformance() -> None:
    check_space(SPACE, [ZOO["gru"], ZOO["rnn"]])


@pytest.mark.parametrize("name", ["discover", "from_rnn_bred"])
@pytest.mark.process
def test_conformance_of_the_files(name: str) -> None:
    space = load_space(name)
    assert isinstance(space, Bred)
    check_space(space, space.walks.start)


@pytest.mark.process
@pytest.mark.parametrize("name", PROPOSERS)
def test_samplers_that_draw_whole_cells_search_it(name: str) -> None:
    check_sampler(name, SPACE, learns=name == "jozefowicz")


def test_a_child_has_one_parent_or_two() -> None:
    SPACE.recall(GRU, str(ZOO["gru"]))
    SPACE.recall(RNN, str(ZOO["rnn"]))
    child = SPACE.vary(GRU, 0)
    assert {**child, "seed": 0} == {
        "origin": "child",
        "parent": number(ZOO["gru"]),
        "mate": 0,
        "mutations": 1,
        "seed": 0,
    }
    assert proposed(child) == mutate(ZOO["gru"], seed_of(int(child["seed"])), RULES).cell
    crossed = SPACE.cross(GRU, RNN, 0)
    assert crossed is not None
    assert (crossed["parent"], crossed["mate"]) == (number(ZOO["gru"]), number(ZOO["rnn"]))
    made = cross(ZOO["gru"], ZOO["rnn"], seed_of(int(crossed["seed"])), RULES).cell
    assert proposed(crossed) == made
    assert SPACE.cross(RNN, GRU, 0) != crossed
    assert SPACE.vary(GRU, 1) != child


def test_several_mutations_are_one_after_another_and_may_follow_a_crossover() -> None:
    twice = {**SPACE.vary(GRU, 0, 2), "seed": 5}
    assert twice["mutations"] == 2
    seeds = Random(5)
    first = mutate(ZOO["gru"], seeds.getrandbits(32), RULES)
    second = mutate(first.cell, seeds.getrandbits(32), RULES)
    steps = [", ".join(made.operators) for made in (first, second)]
    assert proposed(twice).doc == f"From gru: {steps[0]}, then {steps[1]}."
    assert body(proposed(twice)) == body(second.cell)
    both = {**(SPACE.cross(GRU, RNN, 0) or {}), "mutations": 2, "seed": 5}
    seeds = Random(5)
    first = cross(ZOO["gru"], ZOO["rnn"], seeds.getrandbits(32), RULES)
    second = mutate(first.cell, seeds.getrandbits(32), RULES)
    steps = [", ".join(made.operators) for made in (first, second)]
    assert proposed(both).doc == f"From gru and rnn: {steps[0]}, then {steps[1]}."
    assert body(proposed(both)) == body(second.cell)


def test_a_child_follows_from_its_suggestions_and_its_parents_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line: list[tuple[Params, str]] = [(GRU, str(ZOO["gru"]))]
    for seed in range(6):
        params = SPACE.vary(line[-1][0], seed)
        line.append((params, str(proposed(params))))
    monkeypatch.setattr(bred, "_KNOWN", Store())
    (parent, text), (child, child_text) = line[-2:]
    with pytest.raises(UserError, match=r"no cell is known whose key begins with [0-9a-f]{12}, a"):
        proposed(child)
    SPACE.recall(parent, text)
    assert str(proposed(child)) == child_text, "only the parent was recalled"
    assert SPACE.vary(parent, 5) == child, "a recalled point needs no parents"
    assert str(proposed(parent)) == text


def test_seeds_mean_the_same_cells_in_every_version_of_python() -> None:
    """If this changes, stored studies mean other cells: raise the revision of the digest."""
    for params, name in ((GRU, "gru"), (RNN, "rnn")):
        SPACE.recall(params, str(ZOO[name]))
    child = {"origin": "child", "parent": number(ZOO["gru"]), "mate": number(ZOO["rnn"])}
    made = proposed({**child, "mutations": 2, "seed": 10})
    assert body(made) == PINNED


PINNED = """\
    r = sigmoid(linear(h))
    v1 = linear(h)
    z = sigmoid(linear(x) + v1)
    n = tanh(linear(x, r * h))
    return (z * h + (1 - z) * n) * tanh(x * v1 + linear(h))
"""


def test_numbers_survive_as_floats() -> None:
    SPACE.recall(GRU, str(ZOO["gru"]))
    child = SPACE.vary(GRU, 0)
    stored_as = {name: float(v) if isinstance(v, int) else v for name, v in child.items()}
    assert {name: int(v) if isinstance(v, float) else v for name, v in stored_as.items()} == child


def test_a_seed_that_finds_no_mutant_gives_the_parent() -> None:
    cell = loads("def f(x, h=1):\n    return tanh(x + h)\n")
    rules = dataclasses.replace(
        RULES, operators=("remove_node",), most=1, min_matrices=0, max_draws=20, crossovers=()
    )
    space = Bred(walks=Graph(start=(cell,), rules=rules))
    start = space.params_of(cell)
    assert start == {"origin": "walk", "generation": 1}
    child = space.vary(start, 0)
    assert "return x + h" in str(proposed(child, space))
    assert proposed(space.vary(child, 1), space) == proposed(child, space)
    assert space.cross(start, start, 0) is None, "no crossover is open"


def test_a_known_cell_has_its_name() -> None:
    turned = loads(str(ZOO["gru"]).replace("z * h + (1 - z) * n", "(1 - z) * h + z * n"))
    rules = dataclasses.replace(RULES, operators=("insert_activation",), most=1)
    space = Bred(walks=Graph(start=(turned,), rules=rules))
    start: Params = {"origin": "walk", "generation": 1}
    assert "mut3" in {proposed(space.vary(start, seed), space).name for seed in range(200)}


def test_a_random_point_is_a_walk() -> None:
    assert SPACE.draw(0) == {"origin": "walk"}
    assert SPACE.params_of(ZOO["gru"]) == GRU
    assert SPACE.params_of(ZOO["lstm"]) is None
    assert SPACE.contains(ZOO["mut1"])
    assert not SPACE.contains(ZOO["lstm"]), "two states"


def test_the_version_depends_on_walks_rules_and_crossovers() -> None:
    def changed(**fields: object) -> str:
        rules = dataclasses.replace(RULES, **fields)  # type: ignore[arg-type]
        return Bred(walks=dataclasses.replace(SPACE.walks, rules=rules)).version

    versions = {changed(crossovers=("blend",)), changed(crossovers=()), changed(max_delay=9)}
    assert len(versions | {SPACE.version, Bred().version}) == 5


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_that_draws_choice_by_choice_is_refused(name: str) -> None:
    message = f'sampler "{name}" draws each choice by itself, but the choices of space bred name p'
    with pytest.raises(UserError, match=message) as refused:
        find_sampler(name, SPACE)
    assert all(other in str(refused.value) for other in NAMES if other in PROPOSERS)
    with pytest.raises(UserError, match="or a Proposer of your own"):
        find_sampler("optuna.samplers:RandomSampler", SPACE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("crossovers: [swap]", 'no crossover "swap"'),
        ("crossovers: [blend, blend]", "crossovers must name each choice once, got blend twice"),
        ("crossovers: [1]", "crossovers must be text, got 1"),
        ("max_delay: 1", "max_delay must be at least 2, got 1"),
        ("starts: [gru]", 'no field "starts"'),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"kind: bred\n{line}\n")
    with pytest.raises(UserError, match=re.escape(message)):
        load_space(str(tmp_path / "mine.yaml"))


def test_the_file_explains_its_own_fields() -> None:
    text = find("search_spaces", "discover").read_text()
    given = set(re.findall(r"(?m)^(\w+):", text))
    assert given == {"kind", "start", "max_generation", "operators", "max_delay", "crossovers"}
    with pytest.raises(UserError, match='no field "crossovers"'):
        Graph.read("graph", {"crossovers": ["blend"]})


def test_a_search_runs_in_the_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path)
    given = ("--space", "discover", "--sampler", "jozefowicz")
    done = run_here("tests.fake_training", tmp_path, *given)
    assert done.returncode == 0, done.stderr
    space = load_space("discover")
    assert isinstance(space, Bred)
    visits = [v for v in stored(tmp_path).visits if v and v.kind == "drawn"]
    assert len(visits) == 5
    monkeypatch.setattr(bred, "_KNOWN", Store())
    monkeypatch.setattr(bred, "_CHILDREN", Store())
    for visit in stored(tmp_path).visits:
        if visit and visit.params:
            assert str(proposed(visit.params, space)) == visit.cell or visit.kind == "given"
            space.recall(visit.params, visit.cell)


def test_a_search_that_is_resumed_draws_the_same_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new process, no cell is known but by the texts that the study stored."""

    def keys(folder: Path, *counts: int) -> list[str]:
        folder.mkdir()
        for count in counts:
            monkeypatch.setattr(bred, "_KNOWN", Store())
            monkeypatch.setattr(bred, "_CHILDREN", Store())
            write_config(folder, n_candidates=count, filter_accuracy=0.01)
            given = ("--space", "discover", "--sampler", "regularized", "--in_flight", "1")
            evolution = ("--evolution.population", "2", "--evolution.tournament", "2")
            done = run_here("tests.fake_training", folder, *given, *evolution)
            assert done.returncode == 0, done.stderr
        visits = [v for v in stored(folder).visits if v and v.kind == "drawn"]
        assert any(v.params["origin"] == "child" for v in visits)
        return [v.key for v in visits]

    whole, resumed = keys(tmp_path / "whole", 5), keys(tmp_path / "resumed", 3, 5)
    assert resumed == whole
    assert len(whole) == 5
