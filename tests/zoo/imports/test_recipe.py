"""Recipes of NAS-Bench-NLP: sizes, values and inverses of the published, errors of broken ones."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nas
from nas.cell import Cell, dumps, loads, verify
from nas.compile.reference import EagerCell
from nas.errors import CellError
from nas.zoo.imports.recipe import OPERATIONS, cell_of, read_recipe, recipe_of
from tests.shares import every_eighth
from tests.tolerances import OTHER_KERNEL_64, SAME_FORMULA
from tests.zoo.imports.recipes import (
    ALL_OPERATIONS,
    GRU,
    RNN,
    Recipe,
    given,
    linear,
    needs_recipes,
    one_step,
)

ENTRIES = given() or [None]
RECIPES = {"rnn": RNN, "gru": GRU, "all operations": ALL_OPERATIONS}
VOCABULARY, EMBEDDING, WIDTHS = 33_278, 400, (600, 600, 400)


def id_of(entry: dict[str, Any] | None) -> str:
    return str(entry["recipe_id"]) if entry else "none"


# --- the published ones ---


@needs_recipes
def test_there_are_forty():
    assert len(ENTRIES) == 40


@needs_recipes
@pytest.mark.parametrize("entry", ENTRIES, ids=id_of)
def test_the_benchmarks_model_has_the_published_number_of_parameters(entry):
    """Three layers on an embedding that the decoder shares, and a bias for each word."""
    cell = nas.cell(entry)
    assert cell.name in (f"recipe_{entry['recipe_id']}", "rnn", "gru")
    sizes = zip((EMBEDDING, *WIDTHS), WIDTHS, strict=False)
    layers = sum(cell.n_params(below, width) for below, width in sizes)
    assert layers + VOCABULARY * EMBEDDING + VOCABULARY == entry["num_params"]


@needs_recipes
@pytest.mark.parametrize("entry", ENTRIES, ids=id_of)
def test_a_published_recipe_computes_what_it_says(entry):
    agrees(entry["recipe"])


@needs_recipes
@pytest.mark.parametrize("entry", ENTRIES, ids=id_of)
def test_a_published_recipe_comes_back(entry):
    comes_back(entry["recipe"])


@needs_recipes
@pytest.mark.parametrize("entry", every_eighth(ENTRIES), ids=id_of)
def test_a_published_recipe_runs_compiled(entry):
    cell = read_recipe(entry["recipe"])
    rnn = nas.RNN(cell, 5, 4, num_layers=2).double()
    reference = nas.RNN(cell, 5, 4, num_layers=2, backend="eager").double()
    reference.load_state_dict(rnn.state_dict())
    x = torch.randn(7, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, expected = rnn(x)[0], reference(x)[0]
    torch.testing.assert_close(found, expected, **OTHER_KERNEL_64)
    assert torch.isfinite(found).all()


# --- values and inverses of any ---


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_computes_what_it_says(name):
    agrees(RECIPES[name])


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back(name):
    comes_back(RECIPES[name])


def agrees(recipe: Recipe) -> None:
    cell = read_recipe(recipe)
    module = EagerCell(cell, 3, 5, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7, generator=generator)
    weights = {name: p.detach().numpy() for name, p in module.named_parameters()}
    rng = np.random.default_rng(2)
    theirs = [rng.normal(size=(2, 5)) for _ in cell.states]
    ours = [torch.tensor(state) for state in theirs]
    for t, x in enumerate(rng.normal(size=(4, 2, 3))):
        y, ours, _ = module.step(torch.tensor(x), ours, [], t)
        theirs = one_step(recipe, weights, x, theirs)
        for found, expected in zip((y, *ours), (theirs[0], *theirs), strict=True):
            np.testing.assert_allclose(found.detach().numpy(), expected, **SAME_FORMULA)


def comes_back(recipe: Recipe) -> None:
    """A cell read as a recipe gives the same cell, and the same nodes under other names."""
    cell = read_recipe(recipe)
    assert verify(cell) == loads(dumps(cell)) == cell
    found = recipe_of(cell)
    assert found is not None
    assert cell_of(found).key == cell.key
    ours = sorted((OPERATIONS[made["op"]], len(made["input"])) for made in recipe.values())
    assert sorted((made.op, len(made.inputs)) for made in found.values()) == ours


def test_known_cells_are_recognised():
    assert nas.cell(RNN) is nas.zoo["rnn"]
    assert nas.cell({**GRU, "z": linear("h_prev_0", "x")}) is nas.zoo["gru"]


def test_the_order_and_the_names_of_the_nodes_do_not_matter():
    text = json.dumps(ALL_OPERATIONS).replace('"gate"', '"a gate"').replace('"leaky"', '"1.5"')
    other: Recipe = dict(reversed(json.loads(text).items()))
    assert read_recipe(other).key == read_recipe(ALL_OPERATIONS).key


@pytest.mark.parametrize("name", ["rnn", "lstm", "lstm_noaf", "lstm_nig"])
def test_a_known_cell_may_be_a_recipe(name):
    found = recipe_of(nas.zoo[name])
    expected = nas.zoo[name].key if name in ("rnn", "lstm") else None
    assert (cell_of(found).key if found else None) == expected


@pytest.mark.parametrize("name", ["lstm_b", "gru", "mut1", "lstm_peephole", "janet", "mingru"])
def test_cells_of_other_operations_are_no_recipes(name):
    assert recipe_of(nas.zoo[name]) is None


@pytest.mark.parametrize(
    "text",
    [
        "def f(x, h=1):\n    return tanh(linear(x, h))",
        "def f(x, h):\n    return leaky_relu(linear(x, h), slope=0.1)",
        "def f(x, h):\n    return tanh(linear(x, h, bias=1))",
        "def f(x, h):\n    return tanh(linear(x, h, bias=None))",
        "def f(x, h):\n    a = tanh(linear(x, h))\n    return linear(a), a",
        "def f(x, h, c):\n    a = tanh(linear(x, h, c))\n    return a, a",
        "def f(x, h, c):\n    a = tanh(linear(x, h, c))\n    return a, h",
        "def f(x, h, *, below):\n    a = tanh(linear(x, h, below))\n    return a, a",
    ],
)
def test_cells_that_only_look_like_recipes_are_none(text):
    assert recipe_of(loads(text)) is None


# --- where a recipe may lie ---


def test_a_recipe_as_mapping_text_file_and_line_of_a_log(tmp_path: Path):
    text = json.dumps(ALL_OPERATIONS)
    path = tmp_path / "mine.json"
    path.write_text(text)
    expected = read_recipe(ALL_OPERATIONS)
    assert nas.cell(ALL_OPERATIONS) == nas.cell(text) == nas.cell(path) == expected
    for recipe in (ALL_OPERATIONS, text):
        for name in ("recipe", "recepie"):  # the benchmark's logs have the second
            line = {f"{name}_id": 17, name: recipe, "num_params": 1}
            assert named(nas.cell(line)) == ("recipe_17", expected.key)
    assert named(nas.cell({"recipe": ALL_OPERATIONS})) == named(expected)


def named(cell: Cell) -> tuple[str, str]:
    return cell.name, cell.key


def test_a_node_may_be_called_recipe():
    renamed = json.loads(json.dumps(ALL_OPERATIONS).replace('"gate"', '"recipe"'))
    assert nas.cell(renamed).key == read_recipe(ALL_OPERATIONS).key


# --- broken ones ---


def broken(**changes: Any) -> Recipe:
    recipe = {**copy.deepcopy(ALL_OPERATIONS), **changes}
    return {name: made for name, made in recipe.items() if made is not None}


def act(name: str, op: str = "activation_tanh") -> dict[str, Any]:
    return {"op": op, "input": [name]}


BROKEN: dict[str, tuple[Any, str]] = {
    "cycle": (
        broken(a=linear("x", "h_prev_0", "h_prev_1", "t")),
        "a cycle, a <- t <- a: a step is computed in order; let one of them read an h_prev.",
    ),
    "cycle of one": (broken(t=act("t")), "a cycle, t <- t: "),
    "cycle of new states": (
        broken(p={"op": "elementwise_prod", "input": ["a", "h_new_0"]}),
        "a cycle, h_new_1 <- p <- h_new_0 <- gate <- h_new_1: ",
    ),
    "operation": (
        broken(t=act("a", "activation_tahn")),
        'node "t": no operation "activation_tahn". Did you mean "activation_tanh"? Known: ',
    ),
    "input": (broken(t=act("b")), 'node "t" reads no node "b". Known: a, gate, h_new_0, '),
    "near input": (broken(t=act("gat")), 'node "t" reads no node "gat". Did you mean "gate"?'),
    "no state": ({"a": linear("x")}, 'no node is a new state; the first is called "h_new_0".'),
    "gap": (
        {**RNN, "h_new_2": act("f")},
        'the state "h_new_1" is missing where there is "h_new_2"; new states are numbered from 0',
    ),
    "no first state": (
        {"f": linear("x", "h_prev_0"), "h_new_1": act("f")},
        'the state "h_new_0" is missing where there is "h_new_1"',
    ),
    "state without a new value": (
        {**RNN, "f": linear("x", "h_prev_0", "h_prev_1")},
        'node "f" reads the state "h_prev_1", but no node is its new value; add "h_new_1".',
    ),
    "two for a blend": (
        broken(h_new_0={"op": "blend", "input": ["gate", "t"]}),
        'node "h_new_0" (blend) reads 3 inputs, got 2.',
    ),
    "three for a product": (
        broken(p={"op": "elementwise_prod", "input": ["a", "h_prev_1", "t"]}),
        'node "p" (mul) reads 2 inputs, got 3.',
    ),
    "two for an activation": (
        broken(t={"op": "activation_tanh", "input": ["a", "a"]}),
        'node "t" (tanh) reads 1 input, got 2.',
    ),
    "none for a linear": (broken(a=linear()), 'node "a" (linear) reads at least 1 input, got 0.'),
    "node that nothing uses": (
        broken(more=act("a")),
        'no new state depends on node "more"; leave it out.',
    ),
    "state that nothing uses": (
        {**RNN, "h_new_1": act("f")},
        'no new state depends on the input "h_prev_1"; let a node read it.',
    ),
    "x that nothing uses": (
        {"f": linear("h_prev_0"), "h_new_0": act("f")},
        'no new state depends on the input "x"; let a node read it.',
    ),
    "node called x": (broken(x=act("a")), 'node "x" has the name of an input'),
    "node called h_prev_0": (broken(h_prev_0=act("a")), 'node "h_prev_0" has the name of an'),
    "no mapping": (broken(t=["activation_tanh", "a"]), 'node "t" is {"op": …, "input": […]}, got'),
    "no inputs": (broken(t={"op": "activation_tanh"}), 'node "t" is {"op": …, "input": […]}, got'),
    "inputs as text": (
        broken(t={"op": "activation_tanh", "input": "a"}),
        'node "t" has a list of names as its input, got a.',
    ),
    "inputs as numbers": (broken(a=linear(1, 2)), 'node "a" has a list of names'),  # type: ignore[arg-type]  # the error
    "entry without JSON": ({"recipe": "{"}, "its recipe is not JSON, "),
    "entry of a list": ({"recipe": "[]"}, "its recipe maps names to nodes, got []."),
    "no nodes": ({}, 'a cell as a mapping has "format": "nas.cell/1", or is a recipe of NAS-Bench'),
    "other fields": ({"name": "a"}, "got the fields name."),
}


@pytest.mark.parametrize(("recipe", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_recipe_is_named(recipe, message):
    with pytest.raises(CellError, match=re.escape(message)):
        nas.cell(recipe)


def test_a_broken_file_is_named(tmp_path: Path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(broken(more=act("a"))))
    with pytest.raises(CellError, match=r'mine.json: NAS-Bench-NLP recipe: .* node "more"'):
        nas.cell(path)
    path.write_text("{")
    with pytest.raises(CellError, match=r"^cell file .*mine.json: not JSON"):
        nas.cell(path)
    with pytest.raises(CellError, match=r"^cell text: not JSON"):
        nas.cell("{")
