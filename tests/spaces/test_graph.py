"""The space of free graphs: a trial is a start cell and the seeds of its mutations."""

import dataclasses
import gzip
import json
import re
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

from nas.cell import Cell, loads
from nas.cell.mutation import MUTATIONS, Mutations, mutate
from nas.errors import UserError
from nas.resources import find
from nas.spaces import Graph, Params, load_space
from nas.testing.spaces import check_space
from nas.zoo import ZOO
from tests.inline import run_here
from tests.studies import stored, write_config

SPACE = Graph()
SHORT = Graph(max_generation=6)


def edited(folder: Path, **fields: str) -> Graph:
    """The space of a copy of graph.yaml in which some fields have another value."""
    text = find("search_spaces", "graph").read_text()
    for field, value in fields.items():
        pattern = rf"(?m)^{field}:(\n(  - .*\n)+|.*$)"
        text, n_found = re.subn(pattern, f"{field}: {value}\n", text)
        assert n_found == 1, field
    (folder / "mine.yaml").write_text(text)
    space = load_space(str(folder / "mine.yaml"))
    assert isinstance(space, Graph)
    return space


def point(*seeds: int, start: str = "gru") -> Params:
    named = {f"mutation_{k}": seed for k, seed in enumerate(seeds, start=2)}
    return {"start": start, "generation": 1 + len(seeds), **named}


def proposed(params: Params, space: Graph = SPACE) -> Cell:
    return space.propose(FixedTrial(params))


def test_the_file_is_the_preset_of_the_paper() -> None:
    assert load_space("graph") == SPACE
    assert SPACE.rules == Mutations()


def test_conformance() -> None:
    check_space(SHORT, [ZOO["gru"], ZOO["lstm"]])


@pytest.mark.process
def test_conformance_of_the_file(tmp_path: Path) -> None:
    check_space(load_space("graph"), [ZOO["gru"], ZOO["lstm"]])
    everything = edited(
        tmp_path,
        operators=f"[{', '.join(MUTATIONS)}]",
        combinations="[mul, add, sub, max, min]",
        library="[lstm_peephole, mut1, janet]",
        change_states="true",
        max_generation="16",
    )
    check_space(everything, [ZOO["gru"], ZOO["lstm"]])


def test_a_point_is_a_start_cell_and_the_seeds_of_its_mutations() -> None:
    assert proposed(point()) == ZOO["gru"]
    child = mutate(ZOO["gru"], 5).cell
    assert proposed(point(5)) == child
    assert proposed(point(5, 7)) == mutate(child, 7).cell
    assert proposed(point(5, start="lstm")) == mutate(ZOO["lstm"], 5).cell


def test_seeds_mean_the_same_cells_in_every_version_of_python() -> None:
    """If this changes, stored studies mean other cells: raise the revision of the digest."""
    assert str(proposed(point(1, 2, 3))).split('"""\n', 1)[1] == PINNED


PINNED = """\
    r = sigmoid(linear(x, h))
    z = tanh(linear(x) + h)
    n = linear(r * h) - x
    return z * h + 1 * z * n
"""


def test_a_known_cell_has_its_name() -> None:
    turned = loads(str(ZOO["gru"]).replace("z * h + (1 - z) * n", "(1 - z) * h + z * n"))
    space = Graph(start=(turned,), rules=Mutations(operators=("insert_activation",), most=1))
    assert space.params_of(turned) == {"generation": 1}, "a single start cell is not suggested"
    names = {proposed({"generation": 2, "mutation_2": seed}, space).name for seed in range(200)}
    assert "mut3" in names


def test_vary_adds_a_generation() -> None:
    child = SPACE.vary(point(5), 0)
    assert child == {**point(5), "generation": 3, "mutation_3": child["mutation_3"]}
    assert SPACE.vary(point(5), 0) == child
    assert SPACE.vary(point(5), 1) != child
    assert proposed(child) == mutate(proposed(point(5)), int(child["mutation_3"])).cell
    twice = SPACE.vary(point(5), 0, 2)
    assert twice == {**child, "generation": 4, "mutation_4": twice["mutation_4"]}
    full = point(1, 2, 3, 4, 5)
    sibling = SHORT.vary(full, 0)
    assert {k for k in full if full[k] != sibling[k]} == {"mutation_6"}, "no further generation"


def test_random_draws_are_walks_of_every_length() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    lengths = Counter[int]()
    for _ in range(60):
        trial = study.ask()
        SHORT.propose(trial)
        lengths[trial.params["generation"]] += 1
    assert set(lengths) == set(range(1, 7))
    assert lengths[1] > lengths[6], "log-uniform"


def test_a_walk_that_cannot_go_on_ends() -> None:
    cell = loads("def f(x, h=1):\n    return tanh(x + h)\n")
    rules = Mutations(operators=("remove_node",), most=1, min_matrices=0, max_draws=20)
    space = Graph(start=(cell,), rules=rules)
    params = {"generation": 3, "mutation_2": 0, "mutation_3": 0}
    assert "return x + h" in str(proposed(params, space))


def test_what_is_inside() -> None:
    for name in ("mut1", "lstm_peephole", "rnn"):
        assert SPACE.contains(ZOO[name]), "any cell that the rules accept"
        assert SPACE.params_of(ZOO[name]) is None, "but who knows which seeds lead there"
    assert not SPACE.contains(ZOO["lstm_fgr"]), "five states"
    assert not SPACE.contains(loads("def f(x, h):\n    return tanh(linear(x) + h - h)\n"))
    more = dataclasses.replace(SPACE, rules=Mutations(change_states=True, max_states=5))
    assert more.contains(ZOO["lstm_fgr"])


def test_a_study_of_before_a_field_was_added_goes_on() -> None:
    with gzip.open(find("experiments", "from_rnn").parent / "results.jsonl.gz", "rt") as lines:
        assert json.loads(next(lines))["space_version"] == load_space("from_rnn").version
    assert SPACE.version == "graph-87da6080bbe7"
    assert load_space("mixed").version == "mixed-54836f9a10d4"


def test_version_depends_on_every_field(tmp_path: Path) -> None:
    changed = {
        "start": "[gru, lstm]",
        "max_generation": "63",
        "operators": "[remove_node]",
        "activations": "[tanh]",
        "combinations": "[mul]",
        "visits": "count",
        "least": "2",
        "most": "2",
        "library": "[gru]",
        "constants": "[3]",
        "min_operations": "2",
        "max_operations": "59",
        "min_matrices": "2",
        "max_matrices": "23",
        "change_states": "true",
        "max_states": "3",
        "max_delay": "7",
        "max_draws": "1999",
    }
    versions = {edited(tmp_path, **{name: value}).version for name, value in changed.items()}
    assert len(versions | {SPACE.version}) == 1 + len(changed)
    text = find("search_spaces", "graph").read_text()
    assert set(re.findall(r"(?m)^(\w+):", text)) == {*changed, "kind"}, "every field is there"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("start", "[]", "start needs at least one cell, got an empty list"),
        ("start", "[gruu]", 'start: no cell "gruu". Did you mean "gru"'),
        ("start", "[gru, gru]", "start must name each cell once, got gru twice"),
        ("start", "[idle.cell]", "start cell f cannot be mutated: the state h does not reach y"),
        ("max_generation", "1", "max_generation must be at least 2, got 1"),
        ("max_generation", "many", "max_generation must be a whole number, got 'many'"),
        ("operators", "[swap]", 'no operator "swap"'),
        ("operators", "[split_state]", "operator split_state needs change_states: true"),
        ("activations", "[tanh, tanh]", "activations must name each choice once, got tanh twice"),
        ("activations", "[1]", "activations must be text, got 1"),
        ("constants", "[one]", "constants must be numbers, got 'one'"),
        ("change_states", "1", "change_states must be true or false, got 1"),
        ("most", "true", "most must be a whole number, got True"),
        ("visits", "all", 'visits must be one of probability, count, got "all"'),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("idle.cell").write_text("def f(x, h):\n    return tanh(linear(x))\n")
    with pytest.raises(UserError, match=re.escape(message)):
        edited(tmp_path, **{field: value})


def test_unknown_field(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: graph\nmax_operation: 3\n")
    with pytest.raises(UserError, match='no field "max_operation"'):
        load_space(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("sampler", ["random", "jozefowicz", "regularized"])
def test_a_search_runs_in_the_space(tmp_path: Path, sampler: str) -> None:
    write_config(tmp_path)
    done = run_here("tests.fake_training", tmp_path, "--space", "graph", "--sampler", sampler)
    assert done.returncode == 0, done.stderr
    visits = [v for v in stored(tmp_path).visits if v and v.kind == "drawn"]
    assert len(visits) == 5
    for visit in visits:
        assert str(proposed(visit.params)) == visit.cell


@pytest.mark.process
def test_cells_of_the_space_are_trained(tmp_path: Path) -> None:
    write_config(tmp_path, n_candidates=4, filter_accuracy=0.01)
    done = run_here("nas.search", tmp_path, "--space", "graph", "--sampler", "random")
    assert done.returncode == 0, done.stderr
    visits = [v for v in stored(tmp_path).visits if v and v.kind == "drawn"]
    outcomes = [o for v in visits for e in v.evaluated.values() for o in e.outcomes]
    assert {o.status for o in outcomes} <= {"ok", "diverged"}
    assert any(o.status == "ok" for o in outcomes)
