"""The conformance suite fails on each kind of broken space, and says why."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import optuna
import pytest
from optuna.trial import BaseTrial

from nas.cell import Cell, loads, renamed
from nas.spaces import Gates, Params, Space
from nas.testing.spaces import check_recurrent, check_space
from nas.zoo import ZOO

INNER = Gates(states=("merged",))
COUNT = itertools.count()


@dataclass(frozen=True, eq=False)
class Broken(Space):
    """The merged gate space, with one method replaced at a time."""

    name: str = "broken"
    fault: str = ""

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        return cls(name)

    def __eq__(self, other: object) -> bool:
        return self.fault != "identity" and isinstance(other, Broken)

    @property
    def version(self) -> str:
        return f"1-{next(COUNT)}" if self.fault == "version" else "1"

    def propose(self, trial: BaseTrial) -> Cell:
        cell = INNER.propose(trial)
        if self.fault == "seed":
            return renamed(cell, f"cell_{next(COUNT)}")
        if self.fault == "fixed" and type(trial) is not optuna.Trial:
            return renamed(cell, "another")
        if self.fault == "text":
            return replace(cell, doc=" not clean ")
        return cell

    def contains(self, cell: Cell) -> bool:
        return self.fault != "contains" and INNER.contains(cell)

    def params_of(self, cell: Cell) -> Params | None:
        found = INNER.params_of(cell)
        if self.fault == "params" and found is not None:
            return {**found, "candidate_activation": "identity"}
        return found

    def size(self) -> int | None:
        return {"few": 3, "none": 0}.get(self.fault, INNER.size())

    def describe(self) -> str:
        if self.fault == "lines":
            return f"{self.size()}\ncells"
        return "cells" if self.fault == "unsaid" else f"{self.size()} cells"


def test_wrapped_space_conforms() -> None:
    check_space(Broken(), [ZOO["gru"]])


BROKEN = {
    "identity": "space broken: a pickled copy must equal the space.",
    "version": "version must depend on the contents alone, got 1-",
    "seed": "RandomSampler must give the same cells from the same seed.",
    "fixed": "must always give\ndef ",
    "text": "the text must give the cell again:\ndef ",
    "contains": "a proposed cell must be inside:\ndef ",
    "params": "params_of must give the cell, got {",
    "few": r"size\(\) is 3, but \d\d+ were drawn.",
    "none": r"size\(\) must be positive and describe\(\) must say it, got 0",
    "lines": r"describe\(\) must be one line, got '604\\ncells'.",
    "unsaid": r"describe\(\) must say it, got 604 and 'cells'.",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_space_is_told(fault: str) -> None:
    with pytest.raises(AssertionError, match=BROKEN[fault]):
        check_space(Broken(fault=fault))


def test_start_cells_must_be_inside() -> None:
    with pytest.raises(AssertionError, match="the start cell lstm must be inside"):
        check_space(INNER, [ZOO["lstm"]])
    with pytest.raises(AssertionError, match=r"params_of\(gru\) must give that cell, got \{"):
        check_space(Broken(fault="params"), [ZOO["gru"]])


RECURRENT = [
    ("def f(x, h):\n    return tanh(linear(h))", "y must depend on x."),
    ("def f(x, h):\n    return tanh(linear(x))", "y must depend on the state h."),
    (
        "def f(x, h, c):\n    return tanh(linear(x, h)), c + linear(x)",
        "y must depend on the state c.",
    ),
    ("def f(x, h, c):\n    return tanh(linear(x, h, c)), c", "the state c must be written."),
]


@pytest.mark.parametrize(("text", "message"), RECURRENT)
def test_cell_that_is_not_recurrent_is_told(text: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_recurrent(loads(text))


def test_state_may_reach_the_output_through_another_state() -> None:
    check_recurrent(loads("def f(x, h, d):\n    return tanh(linear(h, d)), linear(x)"))


def test_check_is_quiet_and_leaves_optunas_verbosity(caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.enable_propagation()
    try:
        check_space(INNER)
    finally:
        optuna.logging.disable_propagation()
    assert optuna.logging.get_verbosity() == before
    assert not caplog.records
