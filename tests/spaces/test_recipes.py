"""The space of NAS-Bench-NLP draws what the generator draws, and knows what it may draw."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial
from scipy.stats import chi2_contingency, chisquare

import nas
from nas.cell import Cell, loads
from nas.errors import UserError
from nas.resources import find
from nas.spaces import Recipes, load_space
from nas.spaces.recipe_generator import (
    ARITY,
    Genes,
    Rules,
    counts,
    drafted,
    drawn,
    possible,
    random_bits,
)
from nas.study.opening import quiet
from nas.testing.spaces import check_recurrent, check_space
from nas.zoo import ZOO
from nas.zoo.imports.recipe import Made, Recipe, cell_of, recipe_of
from tests.zoo.imports.recipes import given as published
from tests.zoo.imports.recipes import needs_recipes

SPACE = load_space("nas_bench_nlp")
AS_PUBLISHED = replace(SPACE, rules=replace(SPACE.rules, all_reach_output=False))
SIGNIFICANT = 1e-3
"""A correct space fails a test below at this rate over seeds; the seeds are fixed."""


# --- the generator, from its description: an oracle ---


def generated(states: int, nodes: int, rng: Random) -> dict[str, tuple[str, list[str]]] | None:
    """One attempt; None if it does not count. `search_space.py` of nas-bench-nlp-release."""
    leaves = ["x", *(f"h{k}" for k in range(states))]
    made: dict[str, tuple[str, list[str]]] = {}
    activations: list[str] = []
    while len(made) < states + nodes:
        op = rng.choices(["linear", "blend", "mul", "add"], [3, 1, 1, 1])[0]
        here = f"n{len(made)}"
        if op == "linear":
            among = leaves + activations
            arity = rng.choices([2, 3], [4, 1])[0]
            made[here] = (op, rng.sample(among, min(arity, len(among))))
            after = f"n{len(made)}"
            made[after] = (rng.choice(["tanh", "sigmoid", "leaky_relu"]), [here])
            activations.append(after)
        elif (arity := 3 if op == "blend" else 2) <= len(among := leaves[1:] + list(made)):
            made[here] = (op, rng.sample(among, arity))
    new = rng.sample(list(made), states)
    needed, wanted = set(new), list(new)
    while wanted:
        for name in made.get(wanted.pop(), ("", []))[1]:
            if name not in needed:
                needed.add(name)
                wanted.append(name)
    if not needed >= set(leaves) or any(set(made[name][1]) & set(leaves[1:]) for name in new):
        return None
    return {name: pair for name, pair in made.items() if name in needed}


def expected_recipes(n: int) -> list[list[str]]:
    """Operations of recipes of all sizes, of at most 19 nodes as in the published ones."""
    rng = Random(0)
    found: list[list[str]] = []
    while len(found) < n:
        states, nodes = rng.choice([1, 2, 3]), rng.choice([7, 14, 21])
        recipe = None
        while recipe is None or len(recipe) + 1 + states > 19:
            recipe = generated(states, nodes, rng)
        found.append([op for op, _ in recipe.values()])
    return found


def cells_of(space: Recipes, n: int) -> list[Cell]:
    with quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        return [space.propose(study.ask()) for _ in range(n)]


def p_of_counts(one: list[int], other: list[int]) -> float:
    """The p value of two samples having one distribution; rare values are taken together."""
    both = Counter(one) + Counter(other)
    common = [value for value, count in both.items() if count >= 20]
    table = []
    for sample in (one, other):
        seen = Counter(sample)
        rare = sum(count for value, count in seen.items() if value not in common)
        table.append([seen[value] for value in common] + [rare])
    columns = [column for column in zip(*table, strict=True) if sum(column)]
    return float(chi2_contingency([list(row) for row in zip(*columns, strict=True)]).pvalue)


# --- the odds ---


def test_what_is_drawn_has_the_odds_of_the_generator() -> None:
    """All draws of 1,000 recipes before any is left out, but for the first, which may be forced."""
    operations, arities, activations = Counter[str](), Counter[int](), Counter[str]()
    for seed in range(1000):
        full, _ = drafted(Rules(), 2, 14, Genes(random_bits(seed, 0)))
        for number, (op, inputs) in full.items():
            if (number - 3) % 2:
                activations[op] += 1
            elif number > 3:
                operations[op] += 1
                if op == "linear":
                    arities[len(inputs)] += 1
    assert fits(operations, {"linear": 3, "blend": 1, "mul": 1, "add": 1}) > SIGNIFICANT
    assert fits(arities, {2: 4, 3: 1}) > SIGNIFICANT
    assert fits(activations, {"tanh": 1, "sigmoid": 1, "leaky_relu": 1}) > SIGNIFICANT


def fits(seen: Counter[str] | Counter[int], odds: dict[str, int] | dict[int, int]) -> float:
    assert set(seen) == set(odds)
    total = sum(seen.values()) / sum(odds.values())
    pairs = [(seen[key], total * weight) for key, weight in odds.items()]  # type: ignore[index]  # one kind
    return float(chisquare(*zip(*pairs, strict=True)).pvalue)


MEASURES: dict[str, Callable[[list[str]], int]] = {
    **{op: lambda ops, op=op: ops.count(op) for op in ("linear", *ARITY)},  # type: ignore[misc]  # bound
    **{op: lambda ops, op=op: ops.count(op) for op in ("tanh", "sigmoid", "leaky_relu")},  # type: ignore[misc]  # bound
    "nodes": len,
}


@pytest.mark.parametrize("n_cells", [300, pytest.param(1000, marks=pytest.mark.process)])
def test_cells_have_the_generators_distribution(n_cells: int) -> None:
    """Operations and sizes, a line of changes or not, against twice as many of the oracle."""
    cells = cells_of(AS_PUBLISHED, n_cells)
    recipes = [recipe_of(cell) for cell in cells]
    found = [[made.op for made in recipe.values()] for recipe in recipes if recipe is not None]
    expected = expected_recipes(2 * n_cells)
    values = {
        name: p_of_counts([measure(ops) for ops in found], [measure(ops) for ops in expected])
        for name, measure in MEASURES.items()
    }
    assert min(values.values()) > SIGNIFICANT / len(values), values


SPACES = {"default": SPACE, "as published": AS_PUBLISHED}


@pytest.mark.process
@pytest.mark.parametrize("name", SPACES)
def test_a_thousand_cells_are_valid(name: str) -> None:
    valid(SPACES[name], 1000)


@pytest.mark.parametrize("name", SPACES)
def test_some_cells_are_valid(name: str) -> None:
    valid(SPACES[name], 60)


def valid(space: Recipes, n: int) -> None:
    idle = 0
    for cell in cells_of(space, n):
        recipe = recipe_of(cell)
        assert recipe is not None
        assert space.contains(cell)
        assert loads(str(cell)) == cell
        assert 4 <= len(recipe) + 1 + len(cell.states) <= 19
        obeys_the_rules(recipe, len(cell.states))
        try:
            check_recurrent(cell)
        except AssertionError:
            idle += 1
    assert bool(idle) == (space is AS_PUBLISHED)


def obeys_the_rules(recipe: Recipe, states: int) -> None:
    """The rules of reading, each by itself."""
    old = {f"h_prev_{k}" for k in range(states)}
    activations = ("tanh", "sigmoid", "leaky_relu")
    for made in recipe.values():
        assert len(set(made.inputs)) == len(made.inputs)
        kinds = {recipe[name].op for name in made.inputs if name in recipe}
        if made.op == "linear":
            assert len(made.inputs) in (2, 3)
            assert kinds <= set(activations)
        elif made.op in activations:
            assert kinds == {"linear"}
        else:
            assert len(made.inputs) == ARITY[made.op]
            assert "x" not in made.inputs
    assert {"x", *old} <= {name for made in recipe.values() for name in made.inputs}
    assert not any(old & set(recipe[f"h_new_{k}"].inputs) for k in range(states))


# --- what is inside ---


@needs_recipes
def test_the_published_recipes_of_the_generator_are_inside() -> None:
    """The first three are the tanh RNN, an LSTM and a GRU, which the benchmark added by hand."""
    cells = {entry["recipe_id"]: nas.cell(entry) for entry in published()}
    outside = [number for number, cell in cells.items() if not AS_PUBLISHED.contains(cell)]
    assert outside == [1000001, 1000002]
    idle = [number for number, cell in cells.items() if not SPACE.contains(cell)]
    assert idle == [1000001, 1000002, 1008530]


@pytest.mark.parametrize("name", ["gru", "lstm", "lstm_peephole", "mut1", "darts_v1"])
def test_known_cells_are_outside(name: str) -> None:
    assert not SPACE.contains(ZOO[name])


INSIDE: Recipe = {
    "a": Made("linear", ("x", "h_prev_0")),
    "b": Made("tanh", ("a",)),
    "h_new_0": Made("add", ("a", "b")),
}
OUTSIDE: dict[str, Recipe] = {
    "x is read by a sum": {**INSIDE, "h_new_0": Made("add", ("x", "b"))},
    "a linear map reads a sum": {
        **INSIDE,
        "s": Made("add", ("a", "b")),
        "h_new_0": Made("linear", ("s", "x")),
    },
    "a linear map reads one value": {**INSIDE, "h_new_0": Made("linear", ("b",))},
    "a linear map reads four": {
        **INSIDE,
        "c": Made("linear", ("x", "b")),
        "d": Made("tanh", ("c",)),
        "h_new_0": Made("linear", ("x", "b", "d", "h_prev_0")),
    },
    "an activation of a sum": {
        **INSIDE,
        "s": Made("add", ("a", "b")),
        "h_new_0": Made("tanh", ("s",)),
    },
    "two activations of a linear map": {**INSIDE, "h_new_0": Made("sigmoid", ("a",))},
    "a new state reads an old one": {**INSIDE, "h_new_0": Made("add", ("h_prev_0", "b"))},
    "a value is read twice": {**INSIDE, "h_new_0": Made("mul", ("b", "b"))},
    "a state is not needed": {**INSIDE, "a": Made("linear", ("x",))},
    "too few nodes": {
        "a": Made("linear", ("x", "h_prev_0")),
        "h_new_0": Made("tanh", ("a",)),
    },
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_breaks_a_rule_is_outside(name: str) -> None:
    rules = replace(Rules(), min_nodes=5 if name == "too few nodes" else 4)
    assert possible(rules, INSIDE, 1, 7)
    recipe = {key: made for key, made in OUTSIDE[name].items()}
    if name == "two activations of a linear map":
        recipe["h_new_0"] = Made("mul", ("b", "c"))
        recipe["c"] = Made("sigmoid", ("a",))
    assert not possible(rules, recipe, 1, 7)


def test_a_recipe_must_fit_with_the_activations_that_are_not_left() -> None:
    """h = l1 + l2 was drawn as l1, f(l1), l2, f(l2) and the sum: five nodes."""
    recipe = {
        "a": Made("linear", ("x", "h_prev_0")),
        "b": Made("linear", ("x", "h_prev_0")),
        "h_new_0": Made("add", ("a", "b")),
    }
    assert not possible(Rules(), recipe, 1, 3)
    assert possible(Rules(), recipe, 1, 4)
    last = {**recipe, "h_new_0": Made("linear", ("x", "c")), "c": Made("tanh", ("a",))}
    last.pop("b")
    assert not possible(Rules(), last, 1, 1)
    assert possible(Rules(), last, 1, 2), "one node more, for the last one is a linear map"


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 3]), st.sampled_from([3, 7, 14]))
def test_what_is_drawn_is_possible(seed: int, states: int, nodes: int) -> None:
    recipe = drawn(Rules(), states, nodes, Genes(seed))
    if counts(Rules(), recipe, states):
        assert possible(Rules(), recipe, states, nodes)
        obeys_the_rules(recipe, states)
        check_recurrent(cell_of(recipe))


# --- changes ---


def test_a_change_is_of_one_gene() -> None:
    """Nodes whose genes stay read what they read, where it is still there: most stay."""
    kept = []
    for seed in range(300):
        genes = Genes(random_bits(seed, 0))
        one, _ = drafted(Rules(), 2, 14, genes)
        other, _ = drafted(Rules(), 2, 14, replace(genes, changed={(3, 0): random_bits(seed, 1)}))
        assert {k: one[k] for k in one if k < 9} == {k: other[k] for k in one if k < 9}
        kept.append(sum(one[k] == other.get(k) for k in one) / len(one))
    assert sum(kept) / len(kept) > 0.7


def test_a_neighbour_is_another_cell_of_the_same_sizes() -> None:
    rng = Random(0)
    params = {"states": 2, "nodes": 14, "recipe": 5, "generation": 1}
    for generation in range(2, 9):
        new = SPACE.vary(params, rng.getrandbits(32))
        assert new["generation"] == generation
        old_cell, cell = SPACE.propose(FixedTrial(params)), SPACE.propose(FixedTrial(new))
        assert cell.key != old_cell.key
        assert SPACE.contains(cell)
        params = new


def test_a_line_of_full_length_has_siblings() -> None:
    space = replace(SPACE, max_generation=2)
    params = space.vary({"states": 1, "nodes": 7, "recipe": 5, "generation": 1}, 0)
    other = space.vary(params, 1)
    assert (params["generation"], other["generation"]) == (2, 2)
    assert space.propose(FixedTrial(other)).key != space.propose(FixedTrial(params)).key


# --- the contract, and the file ---


def test_the_whole_contract() -> None:
    check_space(SPACE)


def test_the_contract_in_small() -> None:
    check_space(replace(SPACE, states=(1,), nodes=(7,), max_generation=8))


def test_the_file_explains_every_field_and_has_its_defaults() -> None:
    assert SPACE == Recipes("nas_bench_nlp")
    lines = find("search_spaces", "nas_bench_nlp").read_text().splitlines()
    fields = ("states", "nodes", "max_generation", *vars(Rules()))
    for name in fields:
        place = next(k for k, line in enumerate(lines) if line.startswith(f"{name}: "))
        assert lines[place - 1].startswith(("# ", "min_nodes"))


def edited(folder: Path, line: str) -> Recipes:
    path = folder / "mine.yaml"
    path.write_text(f"kind: recipes\n{line}\n", encoding="utf-8")
    return load_space(str(path))  # type: ignore[return-value]  # of this kind


def test_fields_are_read(tmp_path: Path) -> None:
    space = edited(tmp_path, "operations: {linear: 1, mul: 2}\nstates: 2\nactivations: {tanh: 1}")
    assert space.rules.operations == (("linear", 1), ("mul", 2))
    assert space.states == (2,)
    assert space.version != SPACE.version
    cell = space.propose(FixedTrial({"nodes": 7, "recipe": 1, "generation": 1}))
    assert {n.op for n in cell.nodes} <= {"input", "state", "linear", "mul", "tanh"}


BROKEN = {
    "field": ("state: 2", 'no field "state". Did you mean "states"?'),
    "states": ("states: [0]", "states must be whole numbers from 1 to 8, got 0."),
    "nodes": ("nodes: [7, 7]", "nodes must name at least one number, and each once, got [7, 7]."),
    "no nodes": ("nodes: []", "nodes must name at least one number, and each once, got []."),
    "odds": (
        "activations: [tanh]",
        "activations must map choices to their odds, as {tanh: 1, sigmoid: 1, leaky_relu: 1}, got",
    ),
    "choice": (
        "activations: {relu: 1}",
        'activations: no choice "relu". Did you mean "leaky_relu"',
    ),
    "weight": (
        "operations: {linear: 0.5}",
        "operations: the odds of linear must be a whole number from 1 to 1000, got 0.5; leave out",
    ),
    "no linear": ("operations: {mul: 1}", "operations must have linear: no other operation"),
    "small": (
        "{states: 3, nodes: 7, max_nodes: 6}",
        "states 3 and nodes 7 gave no recipe of 4 to 6 nodes in 2,000 draws; change one of them.",
    ),
    "generation": ("max_generation: 1", "max_generation must be at least 2, got 1."),
    "number": ("max_nodes: many", "max_nodes must be a whole number from 1, got 'many'."),
    "flag": ("all_reach_output: 1", "all_reach_output must be true or false, got 1."),
}


@pytest.mark.parametrize(("line", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named(line: str, message: str, tmp_path: Path) -> None:
    line = "\n".join(line[1:-1].split(", ")) if line.startswith("{") else line
    with pytest.raises(UserError, match=f"mine.yaml: {re.escape(message)}"):
        edited(tmp_path, line)
