"""What "auto" means, and how a whole search is told to use another backend."""

import pytest
import torch

from nas.compile import eager, loop
from nas.compile.backend import choose
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from nas.compile.stacked import StackedCell
from nas.errors import CellError
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
    with pytest.raises(CellError, match='NAS_BACKEND must be one of auto, c, eager, got "cuda"'):
        choose("auto", LAYER, X, [STATE], ROWS)
