"""An ONNX graph gives what torch gives, at any length and batch."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nas.errors import SearchError, UserError
from nas.export import graph
from nas.export.graph import to_onnx
from nas.export.operators import COMPOSED, OPERATORS
from nas.export.verify import SHAPES, example, outputs, session_of, write_onnx
from nas.nn.meaning import meaning_of
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN
from nas.nn.trained import TrainedModel
from nas.zoo import ZOO
from tests.export.examples import CELLS, COMPUTED, arguments, module, of_op
from tests.shares import every_eighth
from tests.tolerances import OTHER_RUNTIME_32

OTHERS = ((2, 4), (9, 1), (13, 3))
"""(time, batch), none of which the command itself compares."""


FEW = ((1, 4), (2, 3))
"""For cells that let differences grow from step to step."""


def check(network: RNN | TrainedModel, shapes: Sequence[tuple[int, int]] = OTHERS) -> None:
    session = session_of(to_onnx(network).SerializeToString())
    for n_steps, batch in shapes:
        inputs = example(network, n_steps, batch)
        found = session.run(None, inputs)
        for ours, wanted in zip(found, outputs(network, inputs), strict=True):
            if wanted.dtype.kind == "f":
                np.testing.assert_allclose(ours, wanted, **OTHER_RUNTIME_32)
            else:
                assert (ours == wanted).all()


def of(name: str) -> RNN:
    cell = CELLS[name]
    return module(cell, torch.float32, **arguments(cell, torch.float64))


@pytest.mark.parametrize("name", ["lstm", "mut1", "everything", "deep", "clock", "structures"])
def test_some_graphs_give_what_torch_gives(name: str) -> None:
    check(of(name))


@pytest.mark.parametrize("op", COMPUTED)
def test_each_op_gives_what_torch_gives(op: str) -> None:
    check(module(of_op(op), torch.float32, input_size=3, hidden_size=4), FEW)


@pytest.mark.parametrize("name", every_eighth(CELLS))
def test_every_graph_gives_what_torch_gives(name: str) -> None:
    check(of(name))


def test_tokens_become_logits() -> None:
    torch.manual_seed(0)
    network = SequenceModel(ZOO["lstm"], 7, 5, 2, dropout=0.5)
    check(TrainedModel(network, meaning_of({}, network.interface)))


def test_lengths_of_the_test_are_not_those_of_the_command() -> None:
    assert not set(OTHERS) & set(SHAPES)


def test_length_and_batch_are_open_and_inputs_have_their_names() -> None:
    described = to_onnx(of("lstm")).graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*described.input, *described.output)
    }
    assert shapes == {
        "x": ["time", "batch", 2],
        "y": ["time", "batch", 6],
        **{name: [4, "batch", 3] for name in ("h_0", "c_0", "h_n", "c_n")},
    }


def test_a_graph_that_gives_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPERATORS, "tanh", ("Sigmoid", {}))
    with pytest.raises(SearchError, match=r"differs from torch by .* is not written"):
        write_onnx(of("lstm"), tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_of_one_length_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that stops after three steps, as a traced loop would."""
    whole = graph.Network.stack

    def cut(self: graph.Network, rnn: RNN, x: str) -> str:
        bounds = [self.constant(f"b{k}", np.array([k], np.int64)) for k in (0, 3)]
        return whole(self, rnn, self.op("Slice", x, *bounds))

    monkeypatch.setattr(graph.Network, "stack", cut)
    with pytest.raises(SearchError, match="is not written"):
        write_onnx(of("gru"), tmp_path / "cut.onnx")
    assert not list(tmp_path.iterdir())


def test_the_file_holds_the_cell(tmp_path: Path) -> None:
    path = tmp_path / "gru.onnx"
    assert write_onnx(of("gru"), path) < 1e-6
    stored = onnx.load(path)
    assert {p.key: p.value for p in stored.metadata_props} == {
        "nas.cell": str(ZOO["gru"]),
        "nas.key": ZOO["gru"].key,
    }


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install .*\[onnx\]"):
        write_onnx(of("gru"), tmp_path / "gru.onnx")


def test_operators_are_those_of_the_cell_language() -> None:
    """Every op of the table has its operator, or is made of some."""
    assert {*OPERATORS, *COMPOSED} == set(COMPUTED)
