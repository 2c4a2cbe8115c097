"""Every cell of the zoo computes its paper's equations, has its parameters and names its source."""

import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import nas
from nas.zoo import SOURCES, lstm
from tests.tolerances import SAME_FORMULA
from tests.zoo.transcriptions import EQUAL_WIDTHS, INITIAL, PAPERS, PARTS, compared


@pytest.mark.parametrize("name", nas.zoo)
def test_a_cell_computes_the_equations_of_its_paper(name):
    for ours, paper in compared(name):
        np.testing.assert_allclose(ours, paper, **SAME_FORMULA)


@pytest.mark.parametrize("name", nas.zoo)
def test_parameters_by_formula(name):
    i, h = (8, 8) if nas.zoo[name].needs_equal_widths else (3, 8)
    parts = PARTS[name]
    if callable(parts):
        weights, biases = parts(i, h)
    else:
        on_x, on_h, n_biases, vectors = parts
        weights, biases = on_x * i * h + on_h * h * h + vectors * h, n_biases * h
    assert nas.zoo[name].n_params(i, h) == weights + biases
    assert nas.zoo[name].n_params(i, h, bias=False) == weights


@pytest.mark.parametrize(
    ("name", "module", "n_double_biases"),
    [("rnn", nn.RNN, 1), ("lstm", nn.LSTM, 4), ("gru_v1", nn.GRU, 2)],
)
def test_parameters_are_those_of_torch_but_for_its_second_biases(name, module, n_double_biases):
    n_torch = sum(p.numel() for p in module(3, 7).parameters())
    assert nas.zoo[name].n_params(3, 7) == n_torch - n_double_biases * 7


def test_only_cells_with_a_bare_x_need_equal_widths():
    assert {name for name in nas.zoo if nas.zoo[name].needs_equal_widths} == EQUAL_WIDTHS


USUAL = {"bias": {0.0, None}, "eye": {0.0}, "init": {0.0, None}, "initial": {0.0}}


@pytest.mark.parametrize("name", nas.zoo)
def test_initial_values_that_papers_give(name):
    """`INITIAL` has what is unusual, in the order of the nodes; no other cell has any."""
    attributes = [pair for n in nas.zoo[name].nodes for pair in n.attrs]
    found = {
        attribute: [value for key, value in attributes if key == attribute]
        for attribute, usual in USUAL.items()
        if {value for key, value in attributes if key == attribute} - usual
    }
    assert found == INITIAL.get(name, {})


def test_a_bias_that_starts_at_1_is_written():
    assert "f = sigmoid(linear(x, h, bias=1))" in str(nas.zoo["lstm_b"])


@pytest.mark.parametrize("name", nas.zoo)
def test_a_cell_names_its_source(name):
    cell = nas.zoo[name]
    assert cell.name == name
    assert re.search(r"\b(19|20)\d\d\b", cell.doc), cell.doc


def test_every_function_of_a_family_file_is_listed():
    others = {"__init__", "lookup", "nearest", "studied", "tracking", "usage"}
    files = {path.stem for path in Path(lstm.__file__).parent.glob("*.py")} - others
    modules = [importlib.import_module(f"nas.zoo.{file}") for file in sorted(files)]
    functions = {
        f
        for module in modules
        for _, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__
        and not f.__name__.startswith("_")
        and "Callable" not in str(inspect.signature(f))
    }
    assert functions <= set(SOURCES.values())
    assert list(nas.zoo) == list(SOURCES)
    assert set(SOURCES) == set(PAPERS) == set(PARTS)


def test_the_zoo_is_a_mapping():
    assert nas.zoo["gru"] is nas.zoo["gru"]
    assert "gru" in nas.zoo
    assert "nothing" not in nas.zoo
    assert repr(nas.zoo).startswith(f"<zoo of {len(SOURCES)} cells: rnn, irnn,")
    with pytest.raises(KeyError, match="nothing"):
        nas.zoo["nothing"]
