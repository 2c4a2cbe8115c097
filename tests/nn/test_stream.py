"""A stream gives what steps and a whole sequence give, to the bit where it is the same code."""

import pytest
import torch
from torch.testing import assert_close

import nas
from nas.errors import CellError
from nas.nn.rnn import RNN

D, H, T = 3, 4, 6
CLOCK = "def clock(x, h=0.5):\n    return tanh(linear(x, h)) * cos(step()) + h\n"
CELLS = ("gru", "lstm", "lstm_peephole", "mut1", "lstm_layer_norm")
COMPILED_ANEW, IN_TORCH = ("mut1",), ("lstm_layer_norm",)


def states_of(state: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    return [state] if isinstance(state, torch.Tensor) else list(state)


@torch.no_grad()
def stepped(rnn: RNN, x: torch.Tensor) -> torch.Tensor:
    """The output of a first step."""
    return rnn.step(x)[0]


def with_both(rnn: RNN, x: torch.Tensor, state=None):
    """Outputs and states of single steps, and of a stream."""
    stream = rnn.stream(state, batch_size=x.shape[1])
    expected, seen = [], []
    with torch.no_grad():
        for index, row in enumerate(x):
            y, state = rnn.step(row, state, index)
            expected.append(y)
            seen.append(stream.step(row))
    return torch.stack(expected), state, torch.stack(seen), stream


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_stream_is_what_steps_are(name: str, num_layers: int, batch: int) -> None:
    torch.manual_seed(0)
    rnn = RNN(name, H, H, num_layers).eval()
    x = torch.randn(T, batch, H)
    expected, state, seen, stream = with_both(rnn, x)
    assert stream.is_prepared == (name not in IN_TORCH)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if name in COMPILED_ANEW else {"rtol": 0, "atol": 0}
    assert_close(seen, expected, **tolerance)
    for own, other in zip(states_of(stream.state), states_of(state), strict=True):
        assert_close(own, other, **tolerance)
    whole, _ = rnn(x)
    assert_close(seen, whole.detach(), rtol=1e-5, atol=1e-6)
    assert not seen.requires_grad


def test_states_may_be_given_and_a_stream_begins_again() -> None:
    rnn = RNN("lstm", D, H, dtype=torch.float64).eval()
    x, start = torch.randn(T, 1, D, dtype=torch.float64), [torch.randn(1, 1, H).double()] * 2
    expected, _, seen, stream = with_both(rnn, x, tuple(start))
    assert torch.equal(seen, expected)
    stream.reset(tuple(start))
    assert torch.equal(torch.stack([stream.step(row) for row in x]), expected)
    stream.reset()
    assert torch.equal(stream.step(x[0]), stepped(rnn, x[0]))


def test_outputs_are_fresh_and_weights_are_read_where_they_are() -> None:
    rnn = RNN("gru", D, H)
    stream = rnn.stream()
    x = torch.randn(1, D)
    first = stream.step(x)
    kept = first.clone()
    stream.step(x)
    assert torch.equal(first, kept)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.mul_(2)
    stream.reset()
    assert torch.equal(stream.step(x), stepped(rnn, x))
    assert not torch.equal(stream.step(x), kept)


def test_a_sequence_alone_may_come_without_its_batch_dimension() -> None:
    rnn = RNN("gru", D, H)
    x = torch.randn(2, D)
    stream, other = rnn.stream(), rnn.stream()
    for row in x:
        assert torch.equal(stream.step(row), other.step(row[None])[0])
    rows = rnn.stream(batch_size=2)
    assert torch.equal(rows.step(x.T.contiguous().T), stepped(rnn, x))


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_clocks_count_and_joined_layers_are_joined(backend) -> None:
    x = torch.randn(T, 1, D)
    expected, _, seen, stream = with_both(RNN(nas.cell(CLOCK), D, H, backend=backend).eval(), x)
    assert torch.equal(seen, expected)
    assert stream.index == T
    stacked = RNN("gru", D, H, 2, stacking="residual", backend=backend).eval()
    expected, _, seen, _ = with_both(stacked, x)
    assert torch.equal(seen, expected)


def test_what_cannot_be_streamed_is_one_sentence() -> None:
    with pytest.raises(CellError, match="bidirectional must be False"):
        RNN("gru", D, H, bidirectional=True).stream()
    with pytest.raises(CellError, match="batch_size must be a positive whole number, got 0"):
        RNN("gru", D, H).stream(batch_size=0)
    stream = RNN("gru", D, H).stream()
    for wrong in (torch.randn(2, D), torch.randn(1, D + 1), torch.randn(1, D).double()):
        with pytest.raises(CellError, match=r"takes x of shape \(1, 3\) and torch.float32, got"):
            stream.step(wrong)
    with pytest.raises(CellError, match="state h must have the shape"):
        stream.reset(torch.zeros(1, 1, H + 1))
