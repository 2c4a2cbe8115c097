"""Residual and normalised stacks, against plain torch, in training and in exported files."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.compile.backend import Backend
from nas.errors import CellError
from nas.export.graph import to_onnx
from nas.export.plain import classes
from nas.nn.loading import read
from nas.nn.members import SequenceMembers
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN
from nas.nn.settings import STACKINGS, Stacking
from nas.protocol.evaluation import Evaluation
from nas.training.train import run
from nas.zoo import ZOO
from tests.tensors import normal, seeded
from tests.tolerances import OTHER_KERNEL_32, OTHER_KERNEL_64, OTHER_RUNTIME_32
from tests.training.plain import SEED, SETTINGS, XML

D, H, LAYERS, SYMBOLS = 3, 5, 3, 7


def by_torch(rnn: RNN, x: Tensor) -> Tensor:
    """The same with a torch.nn.LSTM a layer, each with our weights."""
    both, width = rnn.bidirectional, rnn.input_size
    for k in range(rnn.num_layers):
        layer = nn.LSTM(width, H, bidirectional=both, dtype=x.dtype)
        for direction in range(1 + both):
            given = rnn.layers[k * (1 + both) + direction]
            gates = {name: p.detach() for name, p in given.named_parameters()}
            names = ("i", "f", "g", "o")
            whole = torch.cat([gates[f"{gate}_weight"] for gate in names])
            ending = "_l0_reverse" if direction else "_l0"
            with torch.no_grad():
                getattr(layer, f"weight_ih{ending}").copy_(whole[:, :width])
                getattr(layer, f"weight_hh{ending}").copy_(whole[:, width:])
                bias = torch.cat([gates[f"{gate}_bias"] for gate in names])
                getattr(layer, f"bias_ih{ending}").copy_(bias)
                nn.init.zeros_(getattr(layer, f"bias_hh{ending}"))
        norm = nn.LayerNorm(width, elementwise_affine=False, dtype=x.dtype)
        y, _ = layer(norm(x) if k and "norm" in rnn.stacking else x)
        x = y + x if k and "residual" in rnn.stacking else y
        width = x.shape[-1]
    return x


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("stacking", STACKINGS)
def test_a_stack_is_what_torch_makes_of_its_parts(stacking: Stacking, bidirectional: bool) -> None:
    torch.manual_seed(0)
    options = {"bidirectional": bidirectional, "dtype": torch.float64}
    rnn = RNN("lstm", D, H, LAYERS, stacking=stacking, **options)
    x = normal(4, 2, D)
    torch.testing.assert_close(rnn(x)[0], by_torch(rnn, x), **OTHER_KERNEL_64)


def test_stackings_differ_and_have_no_parameters() -> None:
    outputs, states = [], []
    for stacking in STACKINGS:
        torch.manual_seed(0)
        rnn = RNN("gru", D, H, LAYERS, stacking=stacking, dtype=torch.float64)
        outputs.append(rnn(normal(4, 2, D))[0])
        states.append({k: v.shape for k, v in rnn.state_dict().items()})
    for k, one in enumerate(outputs):
        assert states[k] == states[0]
        assert all(not torch.allclose(one, other) for other in outputs[:k])
    assert "stacking" not in repr(RNN("gru", D, H))
    assert "stacking=norm" in repr(RNN("gru", D, H, stacking="norm"))


def test_one_layer_is_the_same_in_every_stacking() -> None:
    outputs = []
    for stacking in STACKINGS:
        torch.manual_seed(0)
        outputs.append(RNN("gru", D, H, stacking=stacking, dtype=torch.float64)(normal(4, 2, D))[0])
    assert all(torch.equal(one, outputs[0]) for one in outputs)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("stacking", STACKINGS)
def test_members_give_what_models_give(stacking: Stacking, backend: Backend) -> None:
    """With dropout, whose generators are alike."""
    sizes, options = (SYMBOLS, H, LAYERS), {"backend": backend, "stacking": stacking}
    model = SequenceMembers(ZOO["lstm"], *sizes, [0.0, 0.4], **options)
    model.reset_parameters((1.0, 2.0), (5, 6))
    tokens = torch.randint(SYMBOLS, (6, 2), generator=seeded())
    scores, _ = model(tokens, None)
    for k, (scale, dropout) in enumerate(((1.0, 0.0), (2.0, 0.4))):
        one = SequenceModel(ZOO["lstm"], SYMBOLS, H, LAYERS, dropout, stacking)
        one.reset_parameters(scale, seeded(5 + k))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5 + k)
            expected, _ = one(tokens, None)
        torch.testing.assert_close(scores[k], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stacking", STACKINGS[1:])
def test_a_graph_stacks_as_the_module_does(stacking: Stacking) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    rnn = RNN("gru", D, H, LAYERS, stacking=stacking, bidirectional=True, backend="eager")
    session = onnxruntime.InferenceSession(to_onnx(rnn).SerializeToString())
    x, h = normal(4, 2, D).float(), torch.zeros(2 * LAYERS, 2, H)
    y, *_ = session.run(None, {"x": x.numpy(), "h_0": h.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), rnn(x, h)[0].detach(), **OTHER_RUNTIME_32)


@pytest.mark.parametrize("stacking", STACKINGS[1:])
def test_a_plain_file_stacks_as_the_module_does(stacking: Stacking) -> None:
    torch.manual_seed(0)
    rnn = RNN("gru", D, H, LAYERS, stacking=stacking, bidirectional=True, backend="eager")
    code = [
        "import math, torch, torch.nn.functional as F",
        "from collections.abc import Sequence",
        "from torch import Tensor, nn",
        "from torch.nn.utils.rnn import PackedSequence, pack_sequence, unpack_sequence",
        classes(rnn.cell, stacking),
    ]
    names: dict[str, Any] = {}
    exec("\n".join(code), names)
    theirs = names["Gru"](D, H, LAYERS, bidirectional=True)
    theirs.load_state_dict(rnn.state_dict())
    x = normal(4, 2, D).float()
    torch.testing.assert_close(theirs(x)[0], rnn(x)[0], **OTHER_KERNEL_32)


def test_an_unknown_stacking_is_told() -> None:
    with pytest.raises(CellError, match=r'stacking must be one of plain, .*, got "dense"'):
        RNN("gru", D, H, stacking="dense")


def test_a_trained_stack_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Its settings count in training, and its weights say how they are stacked."""
    task = dataclasses.replace(XML, epochs=2)
    plain = dataclasses.replace(SETTINGS, num_layers=2)
    other = dataclasses.replace(plain, stacking="residual_norm")
    cell, results = ZOO["gru"], []
    for settings in (plain, other):
        results.append(run(Evaluation(str(cell), cell.key, task, (settings,), SEED)))
    assert results[0].outcomes[0].n_params == results[1].outcomes[0].n_params
    assert results[0].outcomes[0].curve != results[1].outcomes[0].curve
    for result, stacking in zip(results, ("plain", "residual_norm"), strict=True):
        (tmp_path / "w.safetensors").write_bytes(result.weights or b"")
        found = read(tmp_path / "w.safetensors")
        assert found.rnn.stacking == found.described.get("stacking", "plain") == stacking
