"""What "auto" means, and how a whole search is told to use another backend."""

import logging

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from nas.compile import backend, eager, loop
from nas.compile.backend import choose
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from nas.compile.stacked import StackedCell
from nas.errors import CellError
from nas.nn.rnn import RNN
from nas.zoo import ZOO

LAYER, STACKED = EagerCell(ZOO["gru"], 4, 4), StackedCell(ZOO["gru"], 4, 4, 2)
X, STATE, ROWS = torch.zeros(3, 4), torch.zeros(2, 4), Rows((2, 1))


@pytest.mark.parametrize(
    ("variable", "given", "compiles"),
    [
        (None, "auto", True),
        ("", "auto", True),
        ("auto", "auto", True),
        ("c", "auto", True),
        ("eager", "auto", False),
        ("eager", "c", True),
        ("c", "eager", False),
    ],
)
def test_the_variable_says_what_auto_is_and_nothing_else(monkeypatch, variable, given, compiles):
    monkeypatch.delenv("NAS_BACKEND", raising=False)
    if variable is not None:
        monkeypatch.setenv("NAS_BACKEND", variable)
    expected = loop.run_layer if compiles else eager.run_layer
    assert choose(given, LAYER, X, [STATE], ROWS) is expected
    chosen = choose(given, STACKED, X.expand(2, 3, 4), [STATE.expand(2, 2, 4)], ROWS)
    assert chosen is expected


def test_under_c_what_cannot_be_compiled_is_an_error(monkeypatch):
    monkeypatch.setenv("NAS_BACKEND", "c")
    with pytest.raises(CellError, match=r"backend c cannot run cell gru: .*float16"):
        choose("auto", LAYER, X.half(), [STATE], ROWS)


def test_an_unknown_backend_is_one_sentence(monkeypatch):
    monkeypatch.setenv("NAS_BACKEND", "cuda")
    with pytest.raises(CellError, match='must be one of auto, c, triton, graph, eager, got "cuda"'):
        choose("auto", LAYER, X, [STATE], ROWS)


def test_a_backend_of_gpus_that_is_named_says_what_it_needs(monkeypatch):
    with pytest.raises(CellError, match=r"backend graph cannot run cell gru: it runs on GPUs, got"):
        choose("graph", LAYER, X, [STATE], ROWS)
    with pytest.raises(CellError, match=r"one dtype and device, got input of torch\.float16"):
        choose("graph", LAYER, X.half(), [STATE], ROWS)
    with pytest.raises(CellError, match="it runs on GPUs"):
        RNN("gru", 4, 4, backend="graph")(torch.zeros(1, 1, 4))  # the short way of the C as well
    monkeypatch.setenv("NAS_BACKEND", "graph")
    with pytest.raises(CellError, match="it runs on GPUs"):
        RNN("gru", 4, 4)(torch.zeros(1, 1, 4))


def test_on_a_gpu_the_first_backend_that_can_runs_it(monkeypatch, caplog):
    """Tensors that say that they are on a GPU; nothing is run."""
    with FakeTensorMode():
        x, state = torch.zeros(3, 4, device="cuda"), torch.zeros(2, 4, device="cuda")
        weights = {name: torch.zeros(s, device="cuda") for name, s in LAYER.shapes.items()}
    layer = LAYER.with_parameters(weights)
    monkeypatch.setattr(backend, "is_recorded", lambda x: False)
    monkeypatch.setattr(backend, "PLAIN", (FakeTensor,))
    first, second = (lambda *_: "first"), (lambda *_: "second")
    reasons = {"first": "", "second": ""}
    table = {
        name: (lambda *_, name=name: reasons[name], run)
        for name, run in {"first": first, "second": second}.items()
    }
    monkeypatch.setattr(backend, "ON_GPUS", table)
    caplog.set_level(logging.DEBUG)
    assert choose("auto", layer, x, [state], ROWS) is first
    assert choose("second", layer, x, [state], ROWS) is second
    reasons["first"] = "it is too wide"
    assert choose("auto", layer, x, [state], ROWS) is second
    assert "backend first does not run cell gru: it is too wide" in caplog.text
    with pytest.raises(CellError, match="backend first cannot run cell gru: it is too wide"):
        choose("first", layer, x, [state], ROWS)
    with pytest.raises(CellError, match="backend c cannot run cell gru: it runs on the CPU"):
        choose("c", layer, x, [state], ROWS)
    monkeypatch.setattr(backend, "_broken", {})
    tries: list[object] = []
    monkeypatch.setitem(table, "first", (lambda *_: tries.append(1) or 1 / 0, first))
    for _ in range(2):
        assert choose("auto", layer, x, [state], ROWS) is second, "whatever a compiler raises"
    assert len(tries) == 1
    assert "run on a slower backend of the GPU: ZeroDivisionError: division" in caplog.text
    reasons["second"] = "neither"
    assert choose("auto", layer, x, [state], ROWS) is eager.run_layer
    assert choose("auto", layer, x, [STATE], ROWS) is eager.run_layer, "two devices"
    assert choose("auto", LAYER, X.half(), [STATE], ROWS) is eager.run_layer, "the CPU has neither"
