"""The printed line calls a module of its cell as it must be called."""

import pytest
import torch

import nas
from nas.export.sizes import small_sizes
from nas.zoo import ZOO
from nas.zoo.usage import call_of, states_of, twin_of


@pytest.mark.parametrize("name", ["mut1", "lstm", "tau_gru", "rnn", "lem", "minlstm"])
def test_the_line_names_each_state_of_all_layers(name: str) -> None:
    cell = ZOO[name]
    rnn = nas.RNN(cell, *small_sizes(cell), num_layers=2, backend="eager")
    names = {"rnn": rnn, "x": torch.zeros(3, 5, rnn.input_size)}
    exec(call_of(cell), names)
    for state, width in zip(cell.states, rnn.state_sizes, strict=True):
        assert names[state.name].shape == (2, 5, width), "all layers, not one of them"


def test_the_twin_has_as_many_states() -> None:
    assert states_of(ZOO["mut1"]) == "h"
    assert twin_of(ZOO["mut1"]) == "torch.nn.GRU: its state h is a tensor"
    assert twin_of(ZOO["lstm"]) == "torch.nn.LSTM: its states (h, c) are a tuple"
    assert "(h, h_1, h_2, h_3, h_4) are a tuple of 5" in twin_of(ZOO["tau_gru"])
