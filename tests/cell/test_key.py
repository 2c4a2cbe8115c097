"""The key: equal for all forms of one cell, different for cells that compute something else."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas
from nas.cell import Cell, arrange, canonical_form, dumps, key, loads
from tests.interpreter import Trace, by_name, run
from tests.rewriting import named, rewrite
from tests.strategies import HIDDEN_SIZE, cells, input_size
from tests.tolerances import EXACT_ALGEBRA


def trace_of(cell: Cell, n_steps: int = 3) -> Trace:
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(n_steps, 2, input_size(cell)))
    below = rng.normal(size=(n_steps, len(cell.verticals), 2, HIDDEN_SIZE))
    return run(cell, list(xs), HIDDEN_SIZE, by_name, below=[list(step) for step in below])


def assert_same_values(one: Trace, other: Trace) -> None:
    for step, other_step in zip(one.outputs, other.outputs, strict=True):
        for value, other_value in zip(step, other_step, strict=True):
            np.testing.assert_allclose(value, other_value, **EXACT_ALGEBRA)


@given(cells(finite=True), st.integers(0, 10**6), st.integers(1, 12))
def test_every_form_of_a_cell_has_its_key_and_its_values(cell, seed, n_rules):
    form = rewrite(cell, Random(seed), n_rules)
    assert canonical_form(form) == canonical_form(cell), dumps(arrange(form))
    assert key(arrange(form)) == cell.key
    expected = trace_of(named(cell))
    if expected.tame:
        assert_same_values(trace_of(form), expected)


def one_line(expression: str, signature: str = "x, h") -> Cell:
    return loads(f"def f({signature}):\n    return {expression}\n")


SAME = {
    "order of a sum": ("tanh(linear(x)) + sin(h)", "sin(h) + tanh(linear(x))"),
    "order of a linear map": ("linear(x, h)", "linear(h, x)"),
    "a linear map is a sum with one bias": (
        "linear(x, h, bias=1)",
        "linear(x, bias=1) + linear(h, bias=None)",
    ),
    "a bias is a learned vector": ("linear(h, bias=1)", "linear(h, bias=None) + vector(init=1)"),
    "1 - (1 - a)": ("1 - (1 - sigmoid(h))", "sigmoid(h)"),
    "a scaled difference as a factor": ("(x - h) * tanh(h)", "-((h - x) * tanh(h))"),
    "a scaled sum as a factor": ("(2 * x + 2 * h) * tanh(h)", "2 * (tanh(h) * (h + x))"),
    "a scaled sum as a divisor": ("x / (2 * sin(h) + 2 * h)", "0.5 * (x / (h + sin(h)))"),
    "two gates change places": (
        "sigmoid(linear(x, h)) * tanh(h) + sigmoid(linear(x, h)) * sin(h)",
        "sigmoid(linear(x, h)) * sin(h) + sigmoid(linear(x, h)) * tanh(h)",
    ),
    "order of a product": ("(x * h) * sin(h)", "x * (sin(h) * h)"),
    "order of a maximum": ("max(max(x, h), sin(h))", "max(x, max(sin(h), h))"),
    "order of a minimum": ("min(min(x, 1), 2)", "min(1, x)"),
    "rounding": ("0.1 * h + 0.2 * h", "0.3 * h"),
    "what rounding leaves": ("0.1 * h + (0.2 * h - 0.3 * h) + sin(h)", "sin(h)"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_one_cell_written_twice_has_one_key(one, other):
    assert one_line(one).key == one_line(other).key


P, Q = "    p = linear(x)\n", "    q = linear(x)\n"
DIFFERENT = {
    "two maps or one": (f"{P}{Q}    return p * q + h", f"{P}    return p * p + h"),
    "one map in two gates or two": (
        f"{P}    return sigmoid(p) * h + tanh(p)",
        f"{P}{Q}    return sigmoid(p) * h + tanh(q)",
    ),
    "the roles of x and h": (
        "    return sigmoid(linear(x)) * tanh(linear(h))",
        "    return tanh(linear(x)) * sigmoid(linear(h))",
    ),
    "which gate is shared": (
        f"{P}{Q}    return p * h + q * sin(h) + p * cos(h)",
        f"{P}{Q}    return p * h + q * sin(h) + q * cos(h)",
    ),
    "crossed pairs": (
        f"{P}{Q}    return tanh(p * q) + tanh(sin(p) * cos(p)) + h",
        f"{P}{Q}    return tanh(p * q) + tanh(sin(p) * cos(q)) + h",
    ),
    "forget bias": ("    return linear(h)", "    return linear(h, bias=1)"),
    "no bias": ("    return linear(h)", "    return linear(h, bias=None)"),
    "identity at the start": ("    return linear(h)", "    return linear(h, eye=1)"),
    "learned or added identity": ("    return linear(h, eye=1)", "    return linear(h) + h"),
    "dense or diagonal": ("    return linear(h, bias=None)", "    return diagonal(h)"),
    "mask": ("    return masked(h)", '    return masked(h, mask="block_lower")'),
    "number of blocks": ("    return masked(h)", "    return masked(h, blocks=2)"),
    "slope": ("    return leaky_relu(h)", "    return leaky_relu(h, slope=0.1)"),
    "learned number or vector": ("    return scalar() * h", "    return vector() * h"),
    "order of a difference": ("    return tanh(x - h)", "    return tanh(h - x)"),
    "order of a quotient": ("    return x / exp(h)", "    return exp(h) / x"),
    "order of a blend": ("    return blend(h, x, 0)", "    return blend(h, 0, x)"),
    "max or min": ("    return max(x, h)", "    return min(x, h)"),
    "a row of equal numbers or one": (
        "    return h * softmax(x - x)",
        "    return h * softmax(1 - 1)",
    ),
    "square or product of two": ("    return square(h)", "    return x * h"),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_different_cells_have_different_keys(one, other):
    first, second = (loads(f"def f(x, h):\n{lines}\n") for lines in (one, other))
    assert first.key != second.key


def test_initial_values_widths_and_order_of_states_are_in_the_key():
    signatures = ("x, h, c", "x, h=1, c=0", "x, h, c=1", "x, h: input, c", "x, h, *, c")
    found = {one_line("tanh(c), h", signature).key for signature in signatures}
    assert len(found) == len(signatures)
    assert one_line("h, sin(c)", "x, h, c").key != one_line("sin(h), c", "x, h, c").key
    above = {one_line(f"tanh({d}), d, e", "x, h, *, d, e").key for d in "de"}
    assert len(above) == 2
    assert one_line("h, h, c", "x, h, c").key == one_line("h, c", "x, h, c").key
    assert one_line("h - h, h").key != one_line("1 - 1, h").key  # y has the width 1
    assert one_line("c, h, c", "x, h, c").key != one_line("h, c", "x, h, c").key


def test_zoo_keys_differ_but_for_the_plain_lstm():
    by_key: dict[str, list[str]] = {}
    for name, cell in nas.zoo.items():
        by_key.setdefault(cell.key, []).append(name)
    assert [names for names in by_key.values() if len(names) > 1] == [["lstm", "lstm_np"]]
    assert nas.zoo.named(nas.zoo["lstm_np"].key) == "lstm"
    assert nas.zoo.named("0" * 16) == ""
