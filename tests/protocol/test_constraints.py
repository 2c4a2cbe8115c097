"""Sizes of models before training against torch, and constraints as text."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import UserError
from nas.nn.model import SequenceModel
from nas.nn.settings import Settings
from nas.protocol.config import ProtocolConfig
from nas.protocol.constraints import Limits, Model, read
from nas.protocol.settings import SettingsGrid
from nas.protocol.staged import Staged
from nas.tasks import Arithmetic
from nas.tasks.base import Interface
from nas.zoo import ZOO

FEATURES = Interface(inputs=3, outputs=2, tokens=False, head="gaussian")
TOKENS = Interface(inputs=11, outputs=11)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "mut1", "lstm_projected", "mlstm", "ugrnn"])
@pytest.mark.parametrize("interface", [FEATURES, TOKENS])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_sizes_are_those_of_the_model(name: str, interface: Interface, num_layers: int) -> None:
    settings = Settings(n_params=2500, num_layers=num_layers)
    sized = Model.of(ZOO[name], interface, settings)
    model = SequenceModel(sized.cell, interface, sized.hidden_size, num_layers, 0.0)
    assert sized.params == sum(p.numel() for p in model.parameters())
    model.rnn.backend = "eager"
    symbols = torch.zeros(1, 1, dtype=torch.long)
    x = symbols if interface.tokens else torch.zeros(1, 1, interface.inputs)
    y, state = model.rnn(model.embedding(x))
    with FlopCounterMode(display=False) as counter:
        model.rnn(model.embedding(x))
        model.head(y)
    assert sized.macs == counter.get_total_flops() // 2
    states = [state] if isinstance(state, torch.Tensor) else state
    assert sized.state_bytes == sum(s.numel() * s.element_size() for s in states)


def test_macs_of_vectors_and_blocks_by_hand() -> None:
    h = 8
    assert Model(ZOO["lstm_peephole"], TOKENS, h, 1).macs == 8 * h * h + 3 * h + h * 11
    assert Model(ZOO["indrnn"], TOKENS, h, 1).macs == h * h + h + h * 11


def test_stages_are_the_matrices_that_wait_for_one_another() -> None:
    expected = {"lstm": 1, "gru": 2, "sru": 0, "rhn_5": 5}
    assert {name: Model(ZOO[name], TOKENS, 8, 1).stages for name in expected} == expected


def test_a_limit_holds_for_the_largest_model() -> None:
    tasks = (Arithmetic(n_params=(3000, 6000)),)
    grid = SettingsGrid(num_layers=(1, 2))
    protocol = Staged(None, tasks, ProtocolConfig(), grid, 0)
    models = [
        Model.of(ZOO["gru"], tasks[0].interface, Settings(n_params=n_params, num_layers=layers))
        for n_params in (3000, 6000)
        for layers in (1, 2)
    ]
    most = max(model.state_bytes for model in models)
    text = str(ZOO["gru"])
    assert Limits(read([f"state_bytes <= {most}"]), protocol).broken(text) == {}
    tight = Limits(read([f"state_bytes<={most - 1}", "macs <= 1e6"]), protocol)
    assert tight.broken(text) == {f"state_bytes <= {most - 1}": most}
    excesses = tight.excesses(text)
    assert excesses[f"state_bytes <= {most - 1}"] == pytest.approx(1 / (most - 1))
    assert excesses["macs <= 1000000"] < 0


@pytest.mark.parametrize(
    "text", ["macs < 5", "macs", "flash <= 3", "macs <= -1", "macs <= 0", "macs <= x", "macs <= ."]
)
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="params, macs, state_bytes, stages, then <="):
        read([text])


def test_a_name_is_limited_once() -> None:
    with pytest.raises(UserError, match="macs twice"):
        read(["macs <= 5", "macs <= 6"])
