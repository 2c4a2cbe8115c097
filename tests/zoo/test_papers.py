"""Every cell of the zoo computes its paper's equations, has its parameters and names its source."""

import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nas
from nas.cell import Cell
from nas.compile.reference import EagerCell
from nas.zoo import SOURCES, lstm
from tests.tolerances import SAME_FORMULA
from tests.zoo.papers import PAPERS, Parameters

H = 5

# Matrices that read x, matrices that read h (or a gate), biases, and vectors (peepholes).
PARTS: dict[str, tuple[int, int, int, int]] = {
    "rnn": (1, 1, 1, 0),
    "irnn": (1, 1, 1, 0),
    "lstm": (4, 4, 4, 0),
    "lstm_b": (4, 4, 4, 0),
    "lstm_peephole": (4, 4, 4, 3),
    "lstm_peephole_i": (4, 4, 4, 1),
    "lstm_peephole_f": (4, 4, 4, 1),
    "lstm_peephole_o": (4, 4, 4, 1),
    "lstm_peephole_if": (4, 4, 4, 2),
    "lstm_peephole_io": (4, 4, 4, 2),
    "lstm_peephole_fo": (4, 4, 4, 2),
    "lstm_nig": (3, 3, 3, 2),
    "lstm_nfg": (3, 3, 3, 2),
    "lstm_nog": (3, 3, 3, 2),
    "lstm_niaf": (4, 4, 4, 3),
    "lstm_noaf": (4, 4, 4, 3),
    "lstm_np": (4, 4, 4, 0),
    "lstm_cifg": (3, 3, 3, 2),
    "lstm_fgr": (4, 4 + 9, 4, 3),
    "lstm_no_f": (3, 3, 3, 0),
    "lstm_no_i": (3, 3, 3, 0),
    "lstm_no_o": (3, 3, 3, 0),
    "gru": (3, 3, 3, 0),
    "gru_v1": (3, 3, 4, 0),
    "mgu": (2, 2, 2, 0),
    "mut1": (2, 2, 3, 0),
    "mut2": (2, 3, 3, 0),
    "mut3": (3, 3, 3, 0),
    "ugrnn": (2, 2, 2, 0),
    "janet": (2, 2, 2, 0),
    "mingru": (2, 0, 2, 0),
}


def input_size(cell: Cell) -> int:
    return H if cell.needs_equal_widths else 3


@pytest.mark.parametrize("name", nas.zoo)
def test_a_cell_computes_the_equations_of_its_paper(name):
    cell = nas.zoo[name]
    size = input_size(cell)
    module = EagerCell(cell, size, H, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7, generator=generator)
    rng = np.random.default_rng(2)
    xs = rng.normal(size=(4, 2, size))
    ours = list(torch.tensor(rng.normal(size=(len(cell.states), 2, H))))
    theirs = [[state[b].numpy() for state in ours] for b in range(2)]
    for t, x in enumerate(xs):
        y, ours, _ = module(torch.tensor(x), ours, [], t)
        for b in range(2):
            theirs[b] = list(PAPERS[name](Parameters(module), x[b], *theirs[b]))
            found = [value[b].detach().numpy() for value in (y, *ours)]
            np.testing.assert_allclose(found, [theirs[b][0], *theirs[b]], **SAME_FORMULA)


@pytest.mark.parametrize("name", nas.zoo)
def test_parameters_by_formula(name):
    on_x, on_h, biases, vectors = PARTS[name]
    i, h = (7, 7) if nas.zoo[name].needs_equal_widths else (3, 7)
    matrices = on_x * i * h + on_h * h * h
    assert nas.zoo[name].n_params(i, h) == matrices + (biases + vectors) * h
    assert nas.zoo[name].n_params(i, h, bias=False) == matrices + vectors * h


@pytest.mark.parametrize(
    ("name", "module", "n_double_biases"),
    [("rnn", nn.RNN, 1), ("lstm", nn.LSTM, 4), ("gru_v1", nn.GRU, 2)],
)
def test_parameters_are_those_of_torch_but_for_its_second_biases(name, module, n_double_biases):
    n_torch = sum(p.numel() for p in module(3, 7).parameters())
    assert nas.zoo[name].n_params(3, 7) == n_torch - n_double_biases * 7


def test_only_the_mutants_with_a_bare_x_need_equal_widths():
    assert {name for name in nas.zoo if nas.zoo[name].needs_equal_widths} == {"mut1", "mut2"}


def test_initial_values_that_papers_give():
    def attr(cell: str, attribute: str) -> list[object]:
        return [v for n in nas.zoo[cell].nodes for k, v in n.attrs if k == attribute]

    assert attr("lstm_b", "bias") == [0.0, 1.0, 0.0, 0.0]
    assert "f = sigmoid(linear(x, h, bias=1))" in str(nas.zoo["lstm_b"])
    assert attr("irnn", "eye") == [0.0, 1.0]
    for name in nas.zoo:
        if name not in ("lstm_b", "irnn"):
            assert set(attr(name, "bias")) == {0.0}
            assert set(attr(name, "eye")) == {0.0}
        assert set(attr(name, "initial")) == {0.0}


@pytest.mark.parametrize("name", nas.zoo)
def test_a_cell_names_its_source(name):
    cell = nas.zoo[name]
    assert cell.name == name
    assert re.search(r"\b(19|20)\d\d\b", cell.doc), cell.doc


def test_every_function_of_a_family_file_is_listed():
    files = {path.stem for path in Path(lstm.__file__).parent.glob("*.py")} - {"__init__"}
    modules = [importlib.import_module(f"nas.zoo.{file}") for file in sorted(files)]
    functions = {
        f
        for module in modules
        for _, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and f is not lstm.peephole
    }
    assert functions <= set(SOURCES.values())
    assert list(nas.zoo) == list(SOURCES) == list(PAPERS) == list(PARTS)


def test_the_zoo_is_a_mapping():
    assert nas.zoo["gru"] is nas.zoo["gru"]
    assert "gru" in nas.zoo
    assert "nothing" not in nas.zoo
    assert repr(nas.zoo).startswith(f"<zoo of {len(SOURCES)} cells: rnn, irnn,")
    with pytest.raises(KeyError, match="nothing"):
        nas.zoo["nothing"]
