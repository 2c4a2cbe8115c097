"""Crossover: what each kind computes, laws over pairs of known cells, and two halves that meet."""

import re
from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.cell import Cell, dumps, loads
from nas.cell.mutation import Mutant, Mutations, NoMutant, cross
from nas.cell.mutation.crossover import KINDS
from nas.cell.mutation.draft import put_together, take_apart
from nas.cell.mutation.rules import CROSSOVERS, broken_rule
from nas.errors import UserError
from nas.testing.spaces import check_recurrent
from nas.zoo import ZOO
from tests.interpreter import Array, Weights, run
from tests.tolerances import EXACT_ALGEBRA

ALL = Mutations(crossovers=tuple(CROSSOVERS))
WITHIN = [name for name in ZOO if not broken_rule(ZOO[name], ALL)]
SIZE = 4
PLAIN = ["rnn", "irnn", "mrnn", "gru", "lstm", "mut1", "lstm_peephole", "ugrnn", "mlstm"]
"""Cells without delays whose matrices are `linear` or `diagonal`."""


def cell(line: str, states: str = "h") -> Cell:
    return loads(f"def f(x, {states}):\n    return {line}\n")


# The halves that a search found, and the cell that it made of them.

ADDITIVE = cell("relu(linear(x, eye=1.1) + relu(h))")
PRODUCT = cell("tanh((x + x) * linear(h))")
JOINED = cell("relu(linear(x, eye=1.1) + relu(h)) - tanh((x + x) * linear(h))")


def test_two_halves_become_the_cell_that_is_made_of_them() -> None:
    children = [cross(ADDITIVE, PRODUCT, seed) for seed in range(60)]
    found = [child for child in children if child.cell.key == JOINED.key]
    assert found
    assert found[0].operators == ("combine",)
    assert found[0].cell.doc == "From f and f: combine."


def results(kind: str, one: Cell, mate: Cell, **rules: Any) -> set[str]:
    """All right-hand sides that a crossover gives, over many seeds."""
    found = set[str]()
    for seed in range(300):
        drafts = take_apart(one), take_apart(mate)
        draft = KINDS[kind](*drafts, Random(seed), Mutations(**rules))
        if draft is not None:
            lines = dumps(put_together(draft, "f", "")).splitlines()
            found.add("; ".join(line.strip() for line in lines[1:]))
    return found


def test_subgraph_takes_the_place_of_one_use() -> None:
    one, mate = cell("tanh(x + h) * h"), cell("relu(linear(x))")
    of_matrix = {"return tanh(x + linear(x)) * h", "return linear(x) * h"}
    of_whole = {"return tanh(x + relu(linear(x))) * h", "return relu(linear(x)) * h"}
    assert results("subgraph", one, mate) == {
        *of_matrix,
        *of_whole,
        "return tanh(linear(x)) * h",
        "return tanh(relu(linear(x))) * h",
        "return tanh(x + h) * linear(x)",
        "return tanh(x + h) * relu(linear(x))",
    }


def test_combine_and_blend_by_their_text() -> None:
    one, mate = cell("tanh(x + h)"), cell("relu(x * h)")
    assert results("combine", one, mate) == {
        f"return tanh(x + h) {sign} relu(x * h)" for sign in "+-*"
    }
    gate = "v1 = sigmoid(linear(x, h))"
    assert results("blend", one, mate) == {
        f"{gate}; return v1 * tanh(x + h) + (1 - v1) * relu(x * h)"
    }


def test_state_k_of_the_mate_is_the_parents_state_k_or_its_last() -> None:
    one = cell("tanh(x + h), x * c + h", "h, c")
    three = cell("x + h, h + c, c - d", "h, c, d")
    assert results("combine", one, three, combinations=("add",)) == {
        "return tanh(x + h) + (x + h), x * c + h + (h + c)"
    }
    assert results("combine", three, one, combinations=("add",)) == {
        "v1 = x * c + h; return x + h + tanh(x + h), h + c + v1, c - d + v1"
    }
    reads_last = cell("relu(d), x, h + c", "h, c, d")
    assert "return tanh(x + h), x * relu(c) + h" in results("subgraph", one, reads_last)


def test_an_output_that_is_no_state_is_joined_too() -> None:
    one, mate = cell("tanh(h), x + h"), cell("relu(x), x - h")
    assert results("combine", one, mate, combinations=("mul",)) == {
        "return tanh(h) * relu(x), (x + h) * (x - h)"
    }
    assert results("combine", cell("x + h"), mate, combinations=("mul",)) == {
        "return (x + h) * (x - h)"
    }


def test_a_delay_of_the_mate_is_the_same_delay_of_the_parents_state() -> None:
    one, mate = cell("tanh(x + h)"), cell("relu(h_2), h, h_1", "h, h_1, h_2")
    child = put_together(
        KINDS["combine"](take_apart(one), take_apart(mate), Random(0), ALL) or take_apart(one),
        "f",
        "",
    )
    sign = re.search(r"tanh\(x \+ h\) (.) relu", str(child))
    assert sign
    assert str(child) == (
        f"def f(x, h, h_1, h_2):\n    return tanh(x + h) {sign[1]} relu(h_2), h, h_1\n"
    )
    again = put_together(
        KINDS["combine"](take_apart(child), take_apart(mate), Random(0), ALL) or take_apart(one),
        "f",
        "",
    )
    assert len(again.states) == 3, "a line that is there is taken"


def test_a_value_from_the_layer_below_is_not_taken_over() -> None:
    stacked = loads("def f(x, h, *, d):\n    return tanh(linear(x, h) + d), d\n")
    plain = cell("tanh(linear(x, h))")
    assert results("combine", plain, stacked) == set()
    assert all("d" not in text for text in results("subgraph", plain, stacked))
    child = cross(stacked, plain, 0).cell
    assert child.verticals == ("d",)


# The child computes what its definition says, with numbers.


def alike(cell: Cell, i: int, sizes: list[int]) -> Weights:
    """Weights that depend on the operation alone, so that a copied matrix has its own again."""
    n = cell.nodes[i]
    rng = np.random.default_rng(3)
    if n.op == "diagonal":
        return {"weight": rng.normal(size=sizes[i])}
    assert n.op == "linear"
    square = rng.normal(size=(SIZE, SIZE))
    bias = n.attr("bias")
    weight = np.concatenate([square] * len(n.args), -1) + n.number("eye") * np.eye(
        SIZE, SIZE * len(n.args)
    )
    return {"weight": weight, "bias": np.full(SIZE, float(bias or 0))}


def step(of: Cell, x: Array, states: list[Array]) -> list[Array]:
    """y and the new states."""
    return run(of, [x], SIZE, alike, states).outputs[0]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("mate", PLAIN)
def test_a_combined_cell_computes_what_both_do(name: str, mate: str) -> None:
    one, other = ZOO[name], ZOO[mate]
    rules = Mutations(crossovers=("combine",), max_operations=200, max_matrices=200)
    child = cross(one, other, 1, rules).cell
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, SIZE))
    states = [rng.normal(size=(2, SIZE)) for _ in one.states]
    read = [states[min(k, len(states) - 1)] for k in range(len(other.states))]
    ours, theirs = step(one, x, states)[1:], step(other, x, read)[1:]
    theirs = [theirs[min(k, len(theirs) - 1)] for k in range(len(ours))]
    found = step(child, x, states)[1:]
    expected = [
        [a + b for a, b in zip(ours, theirs, strict=True)],
        [a - b for a, b in zip(ours, theirs, strict=True)],
        [a * b for a, b in zip(ours, theirs, strict=True)],
    ]
    assert any(np.allclose(found, values, **EXACT_ALGEBRA) for values in expected)


def test_a_cell_combined_with_a_delayed_one_reads_the_same_past() -> None:
    one, other = ZOO["gru"], ZOO["tau_gru"]
    rules = Mutations(operators=("delay_state",), crossovers=("combine",), combinations=("add",))
    child = cross(one, other, 0, rules).cell
    rng = np.random.default_rng(0)
    xs = list(rng.normal(size=(8, 2, SIZE)))
    found = [outputs[0] for outputs in run(child, xs, SIZE, alike).outputs]
    past = [np.zeros((2, SIZE))] * 5
    for x, y in zip(xs, found, strict=True):
        [expected] = step(one, x, past[:1])[1:]
        expected = expected + step(other, x, past)[0]
        assert np.allclose(y, expected, **EXACT_ALGEBRA)
        past = [expected, *past[:4]]


# Laws over pairs of known cells.


@given(st.sampled_from(WITHIN), st.sampled_from(WITHIN), st.integers(0, 2**32))
def test_a_child_obeys_the_rules_and_follows_from_the_seed(name: str, mate: str, seed: int) -> None:
    one, other = ZOO[name], ZOO[mate]
    try:
        child = cross(one, other, seed, Mutations(crossovers=ALL.crossovers, max_draws=40))
    except NoMutant as error:
        assert f"cell {name} and {mate}: none of 40" in str(error)  # noqa: PT017
        return
    check_recurrent(child.cell)
    assert broken_rule(child.cell, ALL, len(one.states)) == ""
    assert child.cell.key not in (one.key, other.key)
    assert child.cell.doc == f"From {name} and {mate}: {child.operators[0]}."
    assert loads(dumps(child.cell)) == child.cell
    again = Mutations(crossovers=ALL.crossovers, max_draws=40)
    assert cross(loads(str(one)), loads(str(other)), seed, again) == child


def test_crossovers_come_by_their_odds_and_only_open_ones() -> None:
    def counted(rules: Mutations) -> Counter[str]:
        children = (cross(ZOO["gru"], ZOO["rnn"], seed, rules) for seed in range(120))
        return Counter(child.operators[0] for child in children)

    default = counted(Mutations())
    assert set(default) == {"subgraph", "combine"}, "none that brings in a gate"
    assert default["subgraph"] > default["combine"] > 20
    every = counted(ALL)
    assert set(every) == set(KINDS) == set(CROSSOVERS)
    assert every["blend"] < every.total() / 4, "2 of 12, where equal odds would give a third"


def test_known_keys_are_not_given_again() -> None:
    rules = Mutations(crossovers=("combine",), max_draws=200)
    known: set[str] = set()
    for _ in range(3):
        child: Mutant = cross(ADDITIVE, PRODUCT, 0, rules, known)
        assert child.cell.key not in known
        known.add(child.cell.key)
    with pytest.raises(NoMutant, match=r"cell f and f: none of 200 .* its key \w+ is known"):
        cross(ADDITIVE, PRODUCT, 0, rules, known)


def test_limits_are_obeyed() -> None:
    with pytest.raises(NoMutant, match="above max_operations = 5"):
        cross(ZOO["gru"], ZOO["lstm"], 0, Mutations(max_operations=5, max_draws=50))


@pytest.mark.parametrize(
    ("crossovers", "message"),
    [
        ((), "crossovers needs at least one choice to cross two cells, got none"),
        (("subgraphs",), 'no crossover "subgraphs". Did you mean "subgraph"'),
    ],
)
def test_rules_that_are_not_sound(crossovers: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        cross(ZOO["gru"], ZOO["rnn"], 0, Mutations(crossovers=crossovers))
