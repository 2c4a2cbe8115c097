"""The network around a cell: how weights are drawn, and that it is what torch would build."""

import math

import pytest
import torch
from torch import Tensor, nn

from nas.nn.layers import States
from nas.nn.model import SequenceModel
from nas.zoo import ZOO
from tests.tolerances import OTHER_KERNEL_32, OTHER_KERNEL_64

SYMBOLS, WIDTH = 11, 64


def built(name: str, scale: float = 1.4, layers: int = 2, seed: int = 0) -> SequenceModel:
    model = SequenceModel(ZOO[name], SYMBOLS, WIDTH, layers, dropout=0.0)
    model.reset_parameters(scale, torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize("scale", [0.3, 2.8])
@pytest.mark.parametrize("name", ["lstm", "gru", "mut1"])
def test_weights_are_uniform_within_scale_over_root_of_width(name: str, scale: float) -> None:
    bound = scale / math.sqrt(WIDTH)
    for label, weight in built(name, scale).named_parameters():
        if label.endswith("bias"):
            continue
        values = weight.detach().double()
        assert values.abs().max() <= bound, label
        assert values.abs().max() > 0.98 * bound, label
        # Of U[-b, b] the variance is b^2 / 3; n draws estimate it within sqrt(4 / (5 n)).
        error = 4 * math.sqrt(4 / (5 * values.numel()))
        assert float(values.var() / (bound**2 / 3)) == pytest.approx(1, abs=error), label
        assert abs(float(values.mean())) < 4 * bound / math.sqrt(3 * values.numel()), label


def test_biases_start_at_zero_but_where_the_cell_says_otherwise() -> None:
    for name, forget in (("lstm", 0.0), ("lstm_b", 1.0)):
        for label, bias in built(name).named_parameters():
            if label.endswith("bias"):
                start = forget if label.endswith("f_bias") else 0.0
                assert torch.equal(bias, torch.full_like(bias, start)), label


def test_the_seed_alone_decides_the_weights() -> None:
    first, again, other = built("gru"), built("gru"), built("gru", seed=1)
    for label, weight in first.named_parameters():
        assert torch.equal(weight, again.get_parameter(label))
        if not label.endswith("bias"):
            assert not torch.equal(weight, other.get_parameter(label))


def joined(states: States) -> Tensor:
    return states if isinstance(states, Tensor) else torch.cat(states)


@pytest.mark.parametrize("name", ["lstm", "gru", "mut2"])
def test_two_windows_with_the_state_passed_are_one_long_run(name: str) -> None:
    model = built(name).double()
    tokens = torch.randint(SYMBOLS, (9, 3), generator=torch.Generator().manual_seed(1))
    whole, final = model(tokens, None)
    first, state = model(tokens[:4], None)
    second, last = model(tokens[4:], state)
    assert whole.shape == (9, 3, SYMBOLS)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(joined(last), joined(final))
    lost, _ = model(tokens[4:], None)
    assert not torch.allclose(lost, second), "the state matters"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_model_of_lstm_is_torchs_embedding_lstm_and_linear(
    dtype: torch.dtype, layers: int
) -> None:
    model = built("lstm", layers=layers).to(dtype)
    lstm = nn.LSTM(WIDTH, WIDTH, layers, dtype=dtype)
    with torch.no_grad():
        for k, layer in enumerate(model.rnn.layers):
            weight = torch.cat([layer.get_parameter(f"{gate}_weight") for gate in "ifgo"])
            getattr(lstm, f"weight_ih_l{k}").copy_(weight[:, :WIDTH])
            getattr(lstm, f"weight_hh_l{k}").copy_(weight[:, WIDTH:])
            getattr(lstm, f"bias_ih_l{k}").zero_()
            getattr(lstm, f"bias_hh_l{k}").zero_()
    tokens = torch.randint(SYMBOLS, (6, 5), generator=torch.Generator().manual_seed(2))
    outputs, (h, c) = lstm(nn.functional.embedding(tokens, model.embedding.weight))
    logits, state = model(tokens, None)
    close = OTHER_KERNEL_64 if dtype == torch.float64 else OTHER_KERNEL_32
    torch.testing.assert_close(logits, outputs @ model.head.weight.T + model.head.bias, **close)
    torch.testing.assert_close(joined(state), torch.cat([h, c]), **close)


def test_dropout_acts_before_the_output_layer_and_only_in_training() -> None:
    model = SequenceModel(ZOO["gru"], SYMBOLS, WIDTH, 1, dropout=0.5)
    model.reset_parameters(1.4, torch.Generator().manual_seed(0))
    tokens = torch.randint(SYMBOLS, (6, 5), generator=torch.Generator().manual_seed(2))
    states = [joined(model(tokens, None)[1]) for _ in range(2)]
    assert torch.equal(*states), "with one layer, no state sees it"
    assert not torch.equal(model(tokens, None)[0], model(tokens, None)[0])
    model.eval()
    outputs = model.rnn(model.embedding(tokens))[0]
    assert torch.equal(model(tokens, None)[0], model.head(outputs))
