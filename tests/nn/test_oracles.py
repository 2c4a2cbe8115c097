"""Other people's code computes what our cells compute: Keras and torchrecurrent.

Keras has the only widely used GRU that resets before the matrix; torchrecurrent a peephole LSTM.
"""

import os
import tempfile

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.nn.rnn import RNN
from tests.tensors import B, D, H, normal
from tests.tolerances import OTHER_KERNEL_32, OTHER_KERNEL_64

os.environ["KERAS_BACKEND"] = "torch"  # both are read when Keras is imported
os.environ["KERAS_HOME"] = tempfile.mkdtemp()  # else it writes a file into the home directory
keras = pytest.importorskip("keras")
torchrecurrent = pytest.importorskip("torchrecurrent")

TOLERANCES = {"float32": OTHER_KERNEL_32, "float64": OTHER_KERNEL_64}


def randomised(cell: str, dtype: torch.dtype) -> RNN:
    rnn = RNN(cell, D, H, batch_first=True, dtype=dtype)
    rnn.reset_parameters(2.0, torch.Generator().manual_seed(0))
    for name, parameter in rnn.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return rnn


def part(rnn: RNN, name: str) -> Tensor:
    return rnn.get_parameter(f"layers.0.{name}").detach()


def keras_weights(rnn: RNN, gates: str) -> list[np.ndarray]:
    """Keras's (in, gates x out) kernels and its one bias, from our matrices on [x, h]."""
    weights = [part(rnn, f"{gate}_weight") for gate in gates]
    kernel = torch.cat([w[:, :D] for w in weights]).T
    recurrent = torch.cat([w[:, D:] for w in weights]).T
    bias = torch.cat([part(rnn, f"{gate}_bias") for gate in gates])
    return [v.numpy() for v in (kernel, recurrent, bias)]


@pytest.mark.parametrize(
    ("cell", "layer", "gates", "options", "dtype"),
    [
        # In float64 Keras's GRU rounds to float32 on its way (measured: 7e-8), its LSTM does not.
        ("gru", keras.layers.GRU, "zrn", {"reset_after": False}, "float32"),
        ("lstm", keras.layers.LSTM, "ifgo", {}, "float32"),
        ("lstm", keras.layers.LSTM, "ifgo", {}, "float64"),
    ],
)
def test_keras_agrees(cell, layer, gates, options, dtype):
    ours = randomised(cell, getattr(torch, dtype))
    theirs = layer(H, return_sequences=True, dtype=dtype, **options)
    x = normal(B, 6, D).to(getattr(torch, dtype))
    theirs.build(x.shape)
    theirs.set_weights(keras_weights(ours, gates))
    expected = theirs(x)
    torch.testing.assert_close(ours(x)[0], expected, **TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_torchrecurrent_agrees_on_peepholes(dtype):
    ours = randomised("lstm_peephole", getattr(torch, dtype))
    theirs = torchrecurrent.PeepholeLSTMCell(D, H).to(getattr(torch, dtype))
    weights = [part(ours, f"{gate}_weight") for gate in "ifgo"]
    with torch.no_grad():
        theirs.weight_ih.copy_(torch.cat([w[:, :D] for w in weights]))
        theirs.weight_hh.copy_(torch.cat([w[:, D:] for w in weights]))
        theirs.weight_ph.copy_(torch.cat([part(ours, f"{gate}_2_weight") for gate in "ifo"]))
        theirs.bias_ih.copy_(torch.cat([part(ours, f"{gate}_bias") for gate in "ifgo"]))
        theirs.bias_hh.zero_()
    x = normal(B, 6, D).to(getattr(torch, dtype))
    state = tuple(torch.zeros(B, H, dtype=x.dtype) for _ in range(2))
    outputs = []
    for t in range(6):
        state = theirs(x[:, t], state)
        outputs.append(state[0])
    y, (h, c) = ours(x)
    for value, oracle in ((y, torch.stack(outputs, 1)), (h[0], state[0]), (c[0], state[1])):
        torch.testing.assert_close(value, oracle, **TOLERANCES[dtype])
