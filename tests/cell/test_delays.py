"""States that hold the past of another one, and the two mutations that lengthen a cell's memory."""

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from nas.cell import Cell, dumps, loads
from nas.cell.mutation import MUTATIONS, Mutations, NoMutant, mutate, random_walk
from nas.cell.mutation.delays import lags, n_computed, without_idle_delays
from nas.cell.mutation.draft import put_together, take_apart
from nas.cell.mutation.rules import PAPER_OPERATORS, broken_rule
from nas.testing.spaces import check_recurrent
from nas.zoo import ZOO
from tests.interpreter import Array, Weights, run
from tests.tolerances import EXACT_ALGEBRA

OPEN = Mutations(operators=(*PAPER_OPERATORS, "delay_state", "bilinear"))


def cell(line: str, states: str = "h") -> Cell:
    return loads(f"def f(x, {states}):\n    return {line}\n")


def line_of(n_delays: int) -> Cell:
    """A cell that reads its state as it was 1 + n_delays steps ago."""
    names = ["h", *(f"h_{k}" for k in range(1, n_delays + 1))]
    return cell(f"tanh(linear(x, {names[-1]})), {', '.join(names[:-1])}", ", ".join(names))


def place_of(cell: Cell, op: str) -> int:
    [found] = (i for i, n in take_apart(cell).nodes.items() if n.op == op)
    return found


def results(cell: Cell, operator: str, op: str, **rules: Any) -> set[str]:
    """All texts that the operator gives for the one node of an operation, over many seeds."""
    opened = Mutations(operators=(operator,), **rules)
    found = set[str]()
    for seed in range(300):
        draft = MUTATIONS[operator](take_apart(cell), place_of(cell, op), Random(seed), opened)
        if draft is not None:
            found.add(dumps(put_together(without_idle_delays(draft), "f", "")).removeprefix("def "))
    return found


# What a delay is.


@pytest.mark.parametrize(
    ("line", "states", "expected"),
    [
        ("tanh(h + x)", "h", [1]),
        ("tanh(h + x), h", "h, a", [1, 2]),
        ("tanh(b + x), h, a", "h, a, b", [1, 2, 3]),
        ("b, h, tanh(a + x)", "a, b, h", [3, 2, 1]),
        ("tanh(a + b + x), h, h", "h, a, b=1", [1, 2, 2]),
        ("tanh(h + x), c", "h, c", [1, 1]),  # it holds itself
        ("tanh(h + x), d, c", "h, c, d", [1, 1, 1]),  # they change places
        ("tanh(h + x), d, c, c", "h, c, d, e", [1, 1, 1, 1]),  # one that hangs on a circle
        ("tanh(h + x), x", "h, c", [1, 1]),  # the past of x is computed from x
        ("h + x, tanh(h)", "h, c", [1, 1]),
    ],
)
def test_how_many_steps_ago_a_state_was_new(line: str, states: str, expected: list[int]) -> None:
    found = cell(line, states)
    assert lags(found) == expected
    assert n_computed(found) == expected.count(1)


def test_a_delay_reads_what_the_state_was_with_numbers() -> None:
    """h(t) = x(t) + h(t - 8) / 2, by a loop over h itself."""
    eight = loads(str(line_of(7)).replace("tanh(linear(x, h_7))", "x + 0.5 * h_7"))
    xs = list(np.random.default_rng(0).normal(size=(30, 2, 3)))

    def no_weights(cell: Cell, i: int, sizes: list[int]) -> Weights:
        raise AssertionError(f"node {i} learns nothing")

    found = [outputs[0] for outputs in run(eight, xs, 3, no_weights).outputs]
    h: list[Array] = [np.zeros((2, 3))] * 8
    for x in xs:
        h.append(x + 0.5 * h[-8])
    assert np.allclose(found, h[8:], **EXACT_ALGEBRA)


# delay_state


def test_delay_state_reads_a_state_as_it_was() -> None:
    assert results(cell("tanh(h) + x"), "delay_state", "tanh", max_delay=3) == {
        "f(x, h, h_1):\n    return tanh(h_1) + x, h\n",
        "f(x, h, h_1, h_2):\n    return tanh(h_2) + x, h, h_1\n",
    }
    assert results(cell("tanh(x) + h"), "delay_state", "tanh") == set(), "it reads no state"


def test_one_of_two_readers_is_delayed_and_lines_are_shared() -> None:
    assert results(cell("h * h + x"), "delay_state", "mul", max_delay=2) == {
        "f(x, h, h_1):\n    return h_1 * h + x, h\n",
        "f(x, h, h_1):\n    return h * h_1 + x, h\n",
    }
    two = cell("tanh(h) * b + x, h, a", "h, a, b")
    found = results(two, "delay_state", "tanh", max_delay=3)
    assert found == {
        "f(x, h, a, b):\n    return tanh(a) * b + x, h, a\n",
        "f(x, h, a, b):\n    return tanh(b) * b + x, h, a\n",
    }
    assert results(two, "delay_state", "mul", max_delay=3) == {
        "f(x, h):\n    return tanh(h) * h + x\n",
        "f(x, h, a):\n    return tanh(h) * a + x, h\n",
    }, "a delay may become another one, or none, and what nothing reads goes"


def test_the_delay_has_the_first_value_and_the_width_of_its_state() -> None:
    states = "h, s: 1 = 0.5"
    start = "f(x, h, s: 1 = 0.5, s_1: 1 = 0.5)"
    found = results(cell("tanh(h) + x * sin(s), 0.9 * s", states), "delay_state", "sin")
    assert f"{start}:\n    return tanh(h) + x * sin(s_1), 0.9 * s, s\n" in found


def test_delays_count_apart_from_states() -> None:
    rnn, eight, nine = ZOO["rnn"], line_of(7), line_of(8)
    assert lags(eight)[-1] == 8
    assert broken_rule(eight, OPEN, OPEN.counted_states(rnn)) == ""
    message = "it reads a state of 9 steps ago, above max_delay = 8"
    assert broken_rule(nine, OPEN, OPEN.counted_states(rnn)) == message
    assert "it has 8 states, its parent 1" in broken_rule(eight, Mutations(), 1), "not open"
    more = Mutations(operators=OPEN.operators, change_states=True, max_states=1)
    assert broken_rule(eight, more) == ""
    assert broken_rule(ZOO["lstm"], more) == "it has 2 states, above max_states = 1"
    assert "it has 8 states, above max_states = 4" in broken_rule(
        eight, Mutations(change_states=True)
    )


def test_a_step_of_delay_state_reaches_every_delay_up_to_the_limit() -> None:
    rules = Mutations(operators=("delay_state",), most=1, max_delay=5)
    children = [mutate(ZOO["rnn"], seed, rules).cell for seed in range(60)]
    assert {max(lags(child)) for child in children} == {2, 3, 4, 5}
    assert {n_computed(child) for child in children} == {1}


def test_delays_come_and_go_in_a_walk() -> None:
    walk = random_walk(ZOO["rnn"], 120, 2, Mutations(operators=OPEN.operators, min_operations=5))
    longest = Counter[int]()
    for mutant in walk:
        check_recurrent(mutant.cell)
        assert broken_rule(mutant.cell, OPEN, 1) == ""
        assert loads(dumps(mutant.cell)) == mutant.cell
        longest[max(lags(mutant.cell))] += 1
    sequence = [max(lags(mutant.cell)) for mutant in walk]
    assert len(longest) > 3
    assert any(b < a for a, b in pairwise(sequence)), "a delay went"


def test_where_delays_are_not_open_a_cell_with_delays_is_mutated_as_before() -> None:
    """A line whose reader goes is an idle part there, as studies of before have it."""
    child = mutate(ZOO["tau_gru"], 3, Mutations())
    assert len(child.cell.states) == 5
    only_reader = Mutations(operators=("replace_by_ancestor",), most=1, max_draws=300)
    two = cell("tanh(linear(h)) + x * relu(a), h", "h, a")
    texts = set()
    for seed in range(30):
        try:
            texts.add(str(mutate(two, seed, only_reader).cell).split("return ")[1])
        except NoMutant:
            continue
    assert texts
    assert all(text.endswith(", h\n") for text in texts)


# bilinear


def test_bilinear_adds_a_product_of_two_matrices() -> None:
    assert results(cell("tanh(x + h)"), "bilinear", "tanh") == {
        f"f(x, h):\n    return {text}\n"
        for text in (
            "tanh(x + h + linear(x) * linear(h))",
            "tanh(x + h + linear(x) * linear(x))",
            "tanh(x + h + linear(h) * linear(h))",
            "tanh(x + h + linear(h) * linear(x))",
        )
    } | {
        f"f(x, h):\n    v1 = x + h\n    return {text}\n"
        for text in (
            "tanh(v1 + linear(v1) * linear(v1))",
            "tanh(v1 + linear(x) * linear(v1))",
            "tanh(v1 + linear(h) * linear(v1))",
            "tanh(v1 + linear(v1) * linear(x))",
            "tanh(v1 + linear(v1) * linear(h))",
        )
    }
    assert results(cell("tanh(x + h)"), "bilinear", "add") == set()


def test_bilinear_of_a_matrix_changes_what_it_multiplies() -> None:
    found = results(cell("linear(h) + x"), "bilinear", "linear")
    assert "f(x, h):\n    return linear(h + linear(x) * linear(h)) + x\n" in found


def test_the_multiplicative_rnn_is_two_mutations_from_a_plain_one() -> None:
    """Sutskever et al. 2011: tanh(W x + W (W x * W h)), whose matrices here have biases."""
    target = cell("tanh(linear(x, linear(x) * linear(h)))")
    rnn = ZOO["rnn"]
    draft = take_apart(rnn)
    [recurrent] = (
        i for i, n in draft.nodes.items() if n.op == "linear" and n.args == (draft.states[0],)
    )
    keys = set()
    for seed in range(100):
        child = MUTATIONS["bilinear"](draft, recurrent, Random(seed), OPEN)
        assert child is not None
        total = child.nodes[recurrent].args[0]
        product = child.nodes[total].args[1]
        keys.add(put_together(child.redirected(total, product), "f", "").key)
    assert target.key in keys
