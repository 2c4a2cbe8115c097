"""The operators beyond the paper's, by results written by hand; and laws with all of them open."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.cell import Cell, dumps, loads
from nas.cell.mutation import MUTATIONS, Mutations, mutate, random_walk
from nas.cell.mutation.draft import put_together, take_apart
from nas.cell.mutation.rules import PAPER_ACTIVATIONS, broken_rule
from nas.errors import UserError
from nas.testing.spaces import check_recurrent
from nas.zoo import ZOO
from tests.cell.test_mutate import SEARCHED, results

ALL = Mutations(
    operators=tuple(MUTATIONS),
    activations=(*PAPER_ACTIVATIONS, "leaky_relu", "softplus", "silu", "sin"),
    combinations=("mul", "add", "sub", "max", "min"),
    change_states=True,
    library=tuple(ZOO.values()),
)
MANY_STATES = {"lstm_fgr": 5}
"""More than a search in which states come and go has in any cell; it can begin with no such one."""
WITHIN = [name for name in SEARCHED if name not in MANY_STATES]


def place_of(cell: Cell, op: str, name: str = "") -> int:
    [found] = (i for i, n in take_apart(cell).nodes.items() if n.op == op and n.name == name)
    return found


TWO_GATES = loads(
    "def f(x, h):\n    i = sigmoid(linear(x))\n    o = sigmoid(linear(x, i))\n"
    "    return o * (i + h)\n"
)
PEEPHOLE = loads(
    "def f(x, h, c):\n    i = sigmoid(linear(x, h) + diagonal(c))\n"
    "    c_new = i * c + x\n    return tanh(c_new), c_new\n"
)


def test_couple_gates() -> None:
    o, i = place_of(TWO_GATES, "sigmoid", "o"), place_of(TWO_GATES, "sigmoid", "i")
    assert results(TWO_GATES, "couple_gates", o) == {
        "i = sigmoid(linear(x)); o = 1 - i; return o * (i + h)"
    }
    assert results(TWO_GATES, "couple_gates", i) == set(), "o depends on i"
    assert results(TWO_GATES, "couple_gates", place_of(TWO_GATES, "mul")) == set()


def test_couple_gates_makes_the_cifg_of_the_lstm() -> None:
    lstm = ZOO["lstm"]
    text = dumps(lstm).replace("f = sigmoid(linear(x, h))", "f = 1 - i")
    cifg = loads(text)
    f = place_of(lstm, "sigmoid", "f")
    drafts = (MUTATIONS["couple_gates"](take_apart(lstm), f, Random(s), ALL) for s in range(20))
    assert cifg.key in {put_together(draft, "f", "").key for draft in drafts if draft}


def test_add_peephole() -> None:
    i = place_of(TWO_GATES, "sigmoid", "i")
    assert results(TWO_GATES, "add_peephole", i) == {
        "i = sigmoid(linear(x) + diagonal(h)); o = sigmoid(linear(x, i)); return o * (i + h)"
    }
    gate = place_of(PEEPHOLE, "sigmoid", "i")
    assert results(PEEPHOLE, "add_peephole", gate) == {
        "i = sigmoid(linear(x, h) + diagonal(c) + diagonal(h)); c_new = i * c + x; "
        "return tanh(c_new), c_new"
    }, "c is seen already, and c_new depends on i"


def test_peepholes_of_the_lstm_are_added_and_removed() -> None:
    lstm, full = take_apart(ZOO["lstm"]), take_apart(ZOO["lstm_peephole"])
    found = set()
    for name in "ifo":
        for seed in range(20):
            gate = place_of(ZOO["lstm"], "sigmoid", name)
            added = MUTATIONS["add_peephole"](lstm, gate, Random(seed), ALL)
            assert added is not None
            found.add(put_together(added, "f", "").key)
    assert {ZOO[f"lstm_peephole_{name}"].key for name in "ifo"} <= found
    removed = set()
    for index in [i for i, n in full.nodes.items() if n.op == "diagonal"]:
        draft = MUTATIONS["remove_peephole"](full, index, Random(0), ALL)
        assert draft is not None
        removed.add(put_together(draft, "f", "").key)
    assert removed == {ZOO[f"lstm_peephole_{name}"].key for name in ("if", "io", "fo")}


def test_remove_peephole_needs_a_sum() -> None:
    indrnn = loads("def f(x, h):\n    return relu(linear(x) - diagonal(h))\n")
    assert results(indrnn, "remove_peephole", place_of(indrnn, "diagonal")) == set()
    assert results(PEEPHOLE, "remove_peephole", place_of(PEEPHOLE, "sigmoid", "i")) == set()
    assert results(PEEPHOLE, "remove_peephole", place_of(PEEPHOLE, "diagonal")) == {
        "i = sigmoid(linear(x, h)); c_new = i * c + x; return tanh(c_new), c_new"
    }


def test_insert_constant_and_complement() -> None:
    cell = loads("def f(x, h):\n    return tanh(x) * h\n")
    mul = place_of(cell, "mul")
    assert results(cell, "insert_constant", mul, constants=(0.5,)) == {
        "return 0.5 * tanh(x) * h",
        "return tanh(x) * (0.5 * h)",
    }
    assert results(cell, "insert_complement", mul) == {
        "return (1 - tanh(x)) * h",
        "return tanh(x) * (1 - h)",
    }
    assert results(cell, "insert_complement", place_of(cell, "state", "h")) == set()


def test_swap_gate() -> None:
    known = loads(
        "def k(x, a, b, *, d):\n    r = sigmoid(linear(x, d))\n"
        "    return x * b, hard_sigmoid(diagonal(b) + x * a), r\n"
    )
    gate = place_of(PEEPHOLE, "sigmoid", "i")
    assert results(PEEPHOLE, "swap_gate", gate, library=(known,)) == {
        "i = hard_sigmoid(diagonal(c) + x * h); c_new = i * c + x; return tanh(c_new), c_new"
    }, "gates that read the layer below are not taken"
    i = place_of(TWO_GATES, "sigmoid", "o")
    assert results(TWO_GATES, "swap_gate", i, library=(known,)) == {
        "i = sigmoid(linear(x)); o = hard_sigmoid(diagonal(h) + x * h); return o * (i + h)"
    }, "there is but one state"
    assert results(TWO_GATES, "swap_gate", i, library=(ZOO["rnn"],)) == set()


def test_merge_states() -> None:
    cell = loads("def f(x, h, c):\n    return tanh(linear(x, c)), h * c + x\n")
    new_h, new_c = take_apart(cell).new_states

    def merged(current: int) -> set[str]:
        found = set()
        for seed in range(20):
            draft = MUTATIONS["merge_states"](take_apart(cell), current, Random(seed), ALL)
            assert draft is not None
            found.add(dumps(put_together(draft, "f", "")))
        return found

    assert merged(new_c) == {"def f(x, h):\n    return tanh(linear(x, h))\n"}
    assert merged(new_h) == {"def f(x, c):\n    return tanh(linear(x, c)), c * c + x\n"}


def test_split_state() -> None:
    cell = loads("def f(x, h=2):\n    a = tanh(x)\n    return a * h + h\n")
    draft = take_apart(cell)
    tanh = place_of(cell, "tanh", "a")
    found = set()
    for seed in range(50):
        split = MUTATIONS["split_state"](draft, tanh, Random(seed), ALL)
        assert split is not None
        found.add(dumps(put_together(split, "f", "")))
    start = "def f(x, h=2, h2=2):\n    a = tanh(x)\n    return a * "
    assert found == {f"{start}h + h2, a\n", f"{start}h2 + h, a\n"}
    assert MUTATIONS["split_state"](draft, draft.new_states[0], Random(0), ALL) is None


@pytest.mark.parametrize("name", SEARCHED)
def test_which_known_cells_have_too_many_states(name: str) -> None:
    reason = f"it has {MANY_STATES.get(name)} states, above max_states = 4"
    assert broken_rule(ZOO[name], ALL) == (reason if name in MANY_STATES else "")


@given(st.sampled_from(WITHIN), st.integers(0, 5), st.integers(0, 2**32))
def test_laws_with_all_operators(name: str, n: int, seed: int) -> None:
    cell = ZOO[name]
    walk = random_walk(cell, n + 1, seed, ALL)
    for mutant in walk:
        check_recurrent(mutant.cell)
        assert broken_rule(mutant.cell, ALL) == ""
        assert 1 <= ALL.counted_states(mutant.cell) <= 4
        assert loads(dumps(mutant.cell)) == mutant.cell
    assert random_walk(cell, n + 1, seed, ALL) == walk


def test_a_chain_of_200_mutants_with_all_operators() -> None:
    rules = Mutations(**{**vars(ALL), "min_operations": 6})
    walk = random_walk(ZOO["lstm"], 200, 3, rules)
    for mutant in walk:
        check_recurrent(mutant.cell)
    assert len({len(mutant.cell.states) for mutant in walk}) >= 3, "states come and go"


def test_every_operator_occurs() -> None:
    cells = [ZOO["lstm_peephole"], ZOO["gru"], ZOO["lstm_cifg"]]
    counts = Counter(name for k in range(150) for name in mutate(cells[k % 3], k, ALL).operators)
    assert set(counts) == set(MUTATIONS)
    text = "".join(str(mutate(cells[k % 3], k, ALL).cell) for k in range(150))
    for op in ("max(", "min(", "softplus(", "silu(", "sin(", "leaky_relu("):
        assert op in text, op


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"operators": ("merge_states",)}, "operator merge_states needs change_states: true"),
        ({"operators": ("swap_gate",)}, "operator swap_gate needs cells in library, got none"),
        (
            {"operators": ("insert_constant",), "constants": ()},
            "operator insert_constant needs constants, got none",
        ),
        ({"max_states": 0}, "max_states must be at least 1, got 0"),
    ],
)
def test_rules_that_are_not_sound(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mutate(ZOO["gru"], 0, Mutations(**fields))
