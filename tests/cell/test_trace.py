"""Tracing: a Python function becomes the cell that its text would be."""

import cProfile
import threading
from typing import Annotated

import pytest

import nas
from nas.cell import Value, linear, loads, scalar, sigmoid, step, tanh, trace
from nas.errors import CellError
from nas.zoo import SOURCES
from tests.cell import future_annotations


def test_local_variables_name_the_nodes():
    def gru(x, h):
        """The docstring stays."""
        r = sigmoid(linear(x, h))
        z = sigmoid(linear(x, h))
        n = tanh(linear(x, r * h))
        return z * h + (1 - z) * n

    text = (
        'def gru(x, h):\n    """The docstring stays."""\n    r = sigmoid(linear(x, h))\n'
        "    z = sigmoid(linear(x, h))\n    n = tanh(linear(x, r * h))\n"
        "    return z * h + (1 - z) * n\n"
    )
    assert str(trace(gru)) == text
    assert trace(gru).key == nas.zoo["gru"].key


def test_name_and_doc_can_be_given():
    cell = trace(lambda x, h: tanh(linear(x, h)), "mine", "Of my own.")
    assert str(cell).startswith('def mine(x, h):\n    """Of my own."""\n')


def test_every_python_operator_is_an_op():
    def f(x, h):
        a = 2 + h
        b = 2 - a
        c = 2 * b
        d = 2 / c
        return -(d**2) + d * h - d / h + h

    expected = loads(
        "def f(x, h):\n    a = 2 + h\n    b = 2 - a\n    c = 2 * b\n    d = 2 / c\n"
        "    return -square(d) + d * h - d / h + h\n"
    )
    assert trace(f) == expected


def test_signature_gives_widths_and_initial_values():
    def f(x, h, past: "input", s: 1 = 0.5, c=-1, *, below):
        return h, x, s, c, below

    expected = "def f(x, h, past: input, s: 1 = 0.5, c=-1, *, below):"
    assert str(trace(f)).splitlines()[0] == expected


def test_widths_for_type_checkers():
    def f(x: Value, h: Value, past: Annotated[Value, "input"], s: Annotated[Value, 1]):
        return h + linear(x), x, s

    assert str(trace(f)).splitlines()[0] == "def f(x, h, past: input, s: 1):"


def test_annotations_from_the_future_mean_the_same():
    expected = "def f(x, h, past: input, s: 1 = 0.5):"
    assert str(trace(future_annotations.f)).splitlines()[0] == expected


def test_an_inner_function_may_write_equations_and_its_names_are_its_own():
    def gate(seen):
        hidden_name = linear(seen)
        return sigmoid(hidden_name)

    def f(x, h):
        g = gate(x)
        return g * h

    assert "hidden_name" not in str(trace(f))


def test_traces_nest():
    def outer(x, h):
        inner = trace(lambda x, h: tanh(linear(x, h)), "inner")
        a = tanh(h)
        assert len(inner.nodes) == 4
        return a

    assert str(trace(outer)) == "def outer(x, h):\n    a = tanh(h)\n    return a\n"


def test_a_variable_that_holds_a_value_of_another_cell_names_nothing():
    kept = []
    trace(lambda x, h: kept.append(tanh(h)) or h, "first")

    def second(x, h):
        foreign = kept[0]
        assert foreign.index == 2
        return sigmoid(h)

    assert "foreign" not in str(trace(second))


def test_values_of_two_cells_do_not_mix():
    kept = []
    trace(lambda x, h: kept.append(h) or h, "first")
    with pytest.raises(CellError, match="add mixes values of two cells"):
        trace(lambda x, h: h + kept[0], "second")


def branch(x, h):
    return h if h else x


WRONG = {
    "if on a value": (branch, "the same at every step: no `if` on one of its values"),
    "cube": (lambda x, h: h**3, r"a power is only \*\* 2 \(op square\), got \*\* 3"),
    "no value": (lambda x, h: h + "1", "add takes values of the cell or numbers, got '1'"),
    "truth": (lambda x, h: h + True, "add takes values of the cell or numbers, got True"),
    "returns a number": (lambda x, h: 1, "must return values of the cell, got 1"),
    "returns nothing": (lambda x, h: None, "must return values of the cell, got None"),
    "returns too many": (lambda x, h: (h, h, h), "1 states and must return 1 new states"),
    "star": (lambda x, *h: x, r"its states are named one by one, got \*h"),
    "no state": (lambda x: x, "has no state"),
    "initial value": (lambda x, h=None: h, "initial must be a number, got None"),
    "width": (lambda x, h: linear(h, width=1.5), "width must be input, hidden or a positive whole"),
}


@pytest.mark.parametrize(("function", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_cell_is_named(function, message):
    with pytest.raises(CellError, match=message):
        trace(function, "wrong")


def test_an_unknown_width_is_named():
    def f(x, h: "wide"):
        return h

    with pytest.raises(CellError, match=r"width must be input, hidden or a pos.* got 'wide'"):
        trace(f)


def test_equations_outside_a_trace_are_refused():
    with pytest.raises(CellError, match=r"step is an equation: call it inside a function given to"):
        step()


def test_a_failed_trace_leaves_nothing_behind():
    with pytest.raises(CellError):
        trace(lambda x, h: 1, "wrong")
    with pytest.raises(CellError, match="scalar is an equation"):
        scalar()


def test_a_profiler_goes_on_after_a_trace():
    def after(): ...

    profiler = cProfile.Profile()
    with profiler:
        cell = trace(SOURCES["gru"])
        after()
    assert str(cell) == str(trace(SOURCES["gru"]))
    assert after.__code__ in {entry.code for entry in profiler.getstats()}


def test_threads_trace_apart():
    found = {}

    def work(name):
        found[name] = {str(trace(SOURCES["gru"], name)) for _ in range(50)}

    threads = [threading.Thread(target=work, args=(f"t{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(texts) == 1 for texts in found.values())
    assert len(found) == 4
