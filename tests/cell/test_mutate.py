"""Mutation: each operator against a result written by hand, and laws over chains of mutants."""

import re
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.cell import Cell, dumps, loads, verify
from nas.cell.mutation import MUTATIONS, Mutations, mutate, random_walk
from nas.cell.mutation.draft import n_matrices, n_operations, put_together, take_apart
from nas.cell.mutation.rules import PAPER_OPERATORS, broken_rule, idle_part
from nas.errors import CellError, UserError
from nas.testing.spaces import check_recurrent
from nas.zoo import ZOO
from tests.strategies import cells

PAPER = Mutations()
SEEDS = st.integers(0, 2**32)

TOO_LARGE = {  # for a search with the usual limits: their operations
    "fast_slow_lstm": 63,
    "s4d": 75,
    "darts_v1": 74,
    "darts_v2": 74,
    "enas": 94,
    "enas_lm": 75,
}
SEARCHED = [name for name in ZOO if name not in TOO_LARGE]


@st.composite
def descendants(draw: st.DrawFn) -> Cell:
    cell = ZOO[draw(st.sampled_from(SEARCHED))]
    walk = random_walk(cell, draw(st.integers(0, 5)), draw(SEEDS))
    return walk[-1].cell if walk else cell


# A cell taken apart and put together is the same cell.


@pytest.mark.parametrize("name", ZOO)
def test_zoo_cells_are_put_together_as_they_were(name: str) -> None:
    assert put_together(take_apart(ZOO[name]), name, ZOO[name].doc) == ZOO[name]


@given(cells())
def test_taking_apart_and_putting_together_keeps_the_key_but_for_sums_of_biases(cell: Cell) -> None:
    again = put_together(take_apart(cell), cell.name, cell.doc)
    verify(again)
    twice = put_together(take_apart(again), cell.name, cell.doc)
    assert twice.key == again.key
    two_biases = sum(n.op == "linear" and n.attr("bias") is not None for n in cell.nodes) > 1
    if not two_biases:
        assert again.key == cell.key


# Each operator, by what it does to a small cell; nodes are numbered as in its draft.

SMALL = loads("def small(x, h):\n    a = linear(x)\n    return tanh(a) * h\n")
X, H, A, TANH, MUL = range(5)


def results(cell: Cell, operator: str, current: int, **rules: Any) -> set[str]:
    """All right-hand sides that the operator gives for one node, over many seeds."""
    opened = Mutations(**rules)
    found = set[str]()
    for seed in range(300):
        draft = MUTATIONS[operator](take_apart(cell), current, Random(seed), opened)
        if draft is not None:
            lines = dumps(put_together(draft, "f", "")).splitlines()
            found.add("; ".join(line.strip() for line in lines[1:]))
    return found


def test_the_numbers_of_the_small_draft() -> None:
    ops = [n.op for n in take_apart(SMALL).nodes.values()]
    assert ops == ["input", "state", "linear", "tanh", "mul"]


def test_change_activation() -> None:
    assert results(SMALL, "change_activation", TANH) == {
        "a = linear(x); return sigmoid(a) * h",
        "a = linear(x); return relu(a) * h",
        "a = linear(x); return linear(a) * h",
        "a = linear(x); return linear(a, eye=1) * h",
        "a = linear(x); return linear(a, eye=0.9) * h",
        "a = linear(x); return linear(a, eye=1.1) * h",
    }
    few = {"activations": ("relu", "linear 0.9")}
    assert results(SMALL, "change_activation", A, **few) == {
        "a = relu(x); return tanh(a) * h",
        "a = linear(x, eye=0.9); return tanh(a) * h",
    }
    assert results(SMALL, "change_activation", MUL) == set()
    assert results(SMALL, "change_activation", X) == set()


def test_change_combination() -> None:
    assert results(SMALL, "change_combination", MUL) == {
        "a = linear(x); return tanh(a) + h",
        "a = linear(x); return tanh(a) - h",
    }
    assert results(SMALL, "change_combination", TANH) == set()


def test_insert_activation() -> None:
    few = {"activations": ("relu", "linear 1")}
    assert results(SMALL, "insert_activation", MUL, **few) == {
        "a = linear(x); return relu(tanh(a)) * h",
        "a = linear(x); return tanh(a) * relu(h)",
        "a = linear(x); return linear(tanh(a), eye=1) * h",
        "a = linear(x); return tanh(a) * linear(h, eye=1)",
    }
    assert results(SMALL, "insert_activation", H) == set()


def test_remove_node() -> None:
    assert results(SMALL, "remove_node", TANH) == {"a = linear(x); return a * h"}
    assert results(SMALL, "remove_node", A) == {"return tanh(x) * h"}
    assert results(SMALL, "remove_node", MUL) == set(), "it has two arguments"
    shared = loads("def shared(x, h):\n    a = tanh(linear(x, h))\n    return a * h + (1 - a)\n")
    tanh = next(i for i, n in take_apart(shared).nodes.items() if n.op == "tanh")
    assert results(shared, "remove_node", tanh) == set(), "it has two uses"


def test_replace_by_ancestor() -> None:
    assert results(SMALL, "replace_by_ancestor", MUL) == {
        "a = linear(x); return tanh(a)",
        "a = linear(x); return a",
        "return x",
        "return h",
    }
    assert results(SMALL, "replace_by_ancestor", X) == set()


def test_combine_ancestors() -> None:
    add = {"combinations": ("add",)}
    # The current node is a, whose ancestor is x; the ancestors of any A are x, a, tanh(a) and h, of
    # which a and tanh(a) would be a cycle.
    assert results(SMALL, "combine_ancestors", A, **add) == {
        "a = x + x; return tanh(a) * h",
        "a = x + h; return tanh(a) * h",
    }
    assert results(SMALL, "combine_ancestors", TANH, combinations=("sub",)) == {
        "return (x - x) * h",
        "a = linear(x); return (x - a) * h",
        "return (x - h) * h",
        "a = linear(x); return (a - x) * h",
        "a = linear(x); return (a - a) * h",
        "a = linear(x); return (a - h) * h",
    }
    assert results(SMALL, "combine_ancestors", X) == set()


def test_ancestors_of_a_that_depend_on_the_current_node_are_seen_and_left_out() -> None:
    """The cycle that the paper's guarantee overlooks: A downstream of the current node."""
    draft = take_apart(ZOO["lstm"])
    for current in draft.interior():
        for seed in range(20):
            combined = MUTATIONS["combine_ancestors"](draft, current, Random(seed), PAPER)
            if combined is not None:
                verify(put_together(combined, "f", ""))


def test_matrices_without_their_sum_keep_a_bias() -> None:
    gate = loads("def gate(x, h):\n    return sigmoid(linear(x, h, bias=1)) * h\n")
    draft = take_apart(gate)
    first, second = (i for i, n in draft.nodes.items() if n.op == "linear")
    left = MUTATIONS["remove_node"](draft, first, Random(0), PAPER)
    right = MUTATIONS["remove_node"](draft, second, Random(0), PAPER)
    assert left is not None
    assert right is not None
    assert "sigmoid(x + linear(h))" in dumps(put_together(left, "f", ""))
    assert "sigmoid(linear(x, bias=1) + h)" in dumps(put_together(right, "f", ""))


def test_mut3_is_an_insertion_away_from_the_gru_whose_gate_is_turned() -> None:
    turned = dumps(ZOO["gru"]).replace("z * h + (1 - z) * n", "(1 - z) * h + z * n")
    draft = take_apart(loads(turned))
    lines = {i: (n.op, n.args) for i, n in draft.nodes.items()}
    recurrent = [i for i, (op, args) in lines.items() if op == "linear" and args == (1,)]
    found = set()
    for seed in range(100):
        for current in recurrent:
            mutated = MUTATIONS["insert_activation"](draft, current, Random(seed), PAPER)
            assert mutated is not None
            found.add(put_together(mutated, "f", "").key)
    assert ZOO["mut3"].key in found


# What is accepted.


@pytest.mark.parametrize("name", ZOO)
def test_every_zoo_cell_is_accepted_unless_it_is_too_large(name: str) -> None:
    reason = f"it has {TOO_LARGE.get(name)} operations, above max_operations = 60"
    assert broken_rule(ZOO[name], PAPER) == (reason if name in TOO_LARGE else "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(x, h):\n    return tanh(linear(h))", "x does not reach the state h"),
        ("def f(x, h):\n    return tanh(linear(x - x, h) - linear(x) * 0)", "x does not reach the"),
        ("def f(x, h):\n    return tanh(x - x + h)", "x does not reach the state h"),
        ("def f(x, h):\n    return tanh(linear(x))", "the state h does not reach y"),
        ("def f(x, h):\n    return tanh(linear(x) + (h - h))", "the state h does not reach y"),
        ("def f(x, h, c):\n    return tanh(linear(x, h, c)), c", "x does not reach the state c"),
        ("def f(x, h, c):\n    return tanh(linear(x, h, c)), 0 * x + c", "x does not reach the st"),
        ("def f(x, h, c):\n    return tanh(linear(x, h)), tanh(linear(x, c))", "the state c does"),
        ("def f(x, h, c):\n    a = x + h + c\n    return a, a + 0", "h and c are copies of each"),
        ("def f(x, h, c):\n    return tanh(linear(x, c)), h", ""),
        ("def f(x, h, c=1):\n    a = x + h + c\n    return a, a", ""),
        ("def f(x, h):\n    return h, linear(x)", ""),
        ("def f(x, h):\n    return tanh(linear(x) * h)", "the state h stays at 0"),
        ("def f(x, h=1):\n    return tanh(linear(x) * h)", ""),
        ("def f(x, h=1):\n    return exp(linear(x) * (h - 1))", "the state h stays at 1"),
        ("def f(x, h):\n    return tanh(linear(x) * h) + h * vector()", "the state h stays at 0"),
        ("def f(x, h):\n    return x * linear(h)", ""),
        ("def f(x, h, c):\n    return linear(x) * c, h * x", "the state h stays at 0"),
        ("def f(x, h, c):\n    return c * x, x + h * c", ""),
        ("def f(x, h):\n    return linear(h), linear(x)", ""),
        (
            "def f(x, h, *, d):\n    return tanh(linear(x)), x + h, d",
            "the state h does not reach y",
        ),
        (
            "def f(x, h, *, d):\n    return tanh(linear(x)), x + h, h",
            "the state h does not reach y",
        ),
        ("def f(x, h, *, d):\n    return tanh(linear(x) + h), x + h, d", ""),
    ],
)
def test_nothing_is_idle(text: str, reason: str) -> None:
    found = idle_part(loads(text))
    assert found.startswith(reason) or reason in found
    assert bool(found) == bool(reason)


def test_limits_are_kept() -> None:
    gru = ZOO["gru"]
    assert (n_operations(gru), n_matrices(gru)) == (17, 6)
    for rules, reason in (
        (Mutations(max_operations=16), "17 operations, above max_operations = 16"),
        (Mutations(min_operations=18), "17 operations, below min_operations = 18"),
        (Mutations(max_matrices=5), "6 matrices, above max_matrices = 5"),
        (Mutations(min_matrices=7), "6 matrices, below min_matrices = 7"),
        (Mutations(change_states=True, max_states=1), ""),
    ):
        assert reason in broken_rule(gru, rules)
    assert "it has 1 states, its parent 2" in broken_rule(gru, PAPER, n_states=2)
    blocks = loads("def f(x, h):\n    return h + tanh(linear(x) + block_diagonal(scalar()))\n")
    assert "it has no module" in broken_rule(blocks, PAPER)


# Laws.


@given(descendants(), SEEDS)
def test_a_mutant_is_a_valid_cell_and_the_parent_is_untouched(cell: Cell, seed: int) -> None:
    before = dumps(cell)
    mutant = mutate(cell, seed)
    assert dumps(cell) == before
    check_recurrent(mutant.cell)
    assert broken_rule(mutant.cell, PAPER, len(cell.states)) == ""
    assert mutant.cell.key != cell.key
    assert 1 <= len(mutant.operators) <= 3
    assert set(mutant.operators) <= set(PAPER_OPERATORS)
    assert loads(dumps(mutant.cell)) == mutant.cell
    assert mutate(cell, seed) == mutant


@given(cells(), SEEDS)
def test_any_cell_has_a_valid_mutant_or_a_clear_error(cell: Cell, seed: int) -> None:
    """Cells of every op and width, most of which have idle parts themselves."""
    try:
        mutant = mutate(cell, seed, Mutations(max_draws=30))
    except CellError as error:
        clear = "none of 30 mutants was accepted, the last one because|no operation that could"
        assert re.search(clear, str(error))  # noqa: PT017
        return
    check_recurrent(mutant.cell)
    assert loads(dumps(mutant.cell)) == mutant.cell


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "lstm_fgr"])
def test_a_chain_of_200_mutants_stays_valid_and_bounded(name: str) -> None:
    rules = Mutations(min_operations=4, max_operations=48)
    walk = random_walk(ZOO[name], 200, 1, rules)
    for mutant in walk:
        check_recurrent(mutant.cell)
        assert 4 <= n_operations(mutant.cell) <= 48
        assert len(mutant.cell.states) == len(ZOO[name].states)
    assert len({mutant.cell.key for mutant in walk} | {ZOO[name].key}) == 201
    assert random_walk(ZOO[name], 200, 1, rules) == walk
    assert random_walk(ZOO[name], 200, 2, rules) != walk


@pytest.mark.parametrize("visits", ["probability", "count"])
def test_every_operator_of_the_paper_and_every_number_of_mutations_occurs(visits: Any) -> None:
    rules = Mutations(visits=visits)
    mutants = [mutate(ZOO["lstm"], seed, rules) for seed in range(100)]
    counts = Counter(name for mutant in mutants for name in mutant.operators)
    assert set(counts) == set(PAPER_OPERATORS)
    assert min(counts.values()) > 5
    assert {len(mutant.operators) for mutant in mutants} == {1, 2, 3}


def test_known_keys_are_not_given_again() -> None:
    rules = Mutations(operators=("change_combination",), most=1, min_matrices=0)
    rnn = loads("def f(x, h=1):\n    return tanh(x + h)\n")
    first = mutate(rnn, 0, rules)
    second = mutate(rnn, 0, rules, known={first.cell.key})
    assert {str(m.cell).split("tanh")[1] for m in (first, second)} == {"(x * h)\n", "(x - h)\n"}
    with pytest.raises(CellError, match=r"cell f: none of 2000 .* its key \w+ is known: open more"):
        mutate(rnn, 0, rules, known={first.cell.key, second.cell.key})


def test_a_cell_on_which_nothing_applies_is_a_clear_error() -> None:
    bare = loads("def f(x, h):\n    return h\n")
    with pytest.raises(CellError, match="cell f has no operation that could be mutated"):
        mutate(bare, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"operators": ("change_activations",)},
            'no operator ".*"\\. Did you mean "change_activat',
        ),
        ({"operators": ()}, "operators needs at least one choice, got an empty list"),
        ({"activations": ("tan",)}, 'no activation "tan". Did you mean "tanh"'),
        ({"activations": ("linear one",)}, 'needs a number, got "linear one"'),
        ({"combinations": ("blend",)}, 'no combination "blend"'),
        ({"least": 0}, "least must be at least 1, got 0"),
        ({"most": 0}, "most must be at least least = 1, got 0"),
        ({"min_operations": 9, "max_operations": 8}, "max_operations must be at least min_op"),
        ({"visits": "all"}, 'visits must be one of probability, count, got "all"'),
    ],
)
def test_rules_that_are_not_sound(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mutate(ZOO["gru"], 0, Mutations(**fields))
