"""nas.RNN beyond torch: what only cells have, and the manners of a module.

That it equals torch's own modules is the matter of `test_convert.py`.
"""

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import nas
from nas.errors import CellError
from nas.nn.rnn import RNN
from tests.tensors import LENGTHS, B, D, H, assert_close, flat, normal, seeded
from tests.tolerances import HALF

# What only cells have.


@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_a_stack_with_verticals_equals_equations_by_hand(backend):
    """Depth-gated LSTM (Yao et al. 2015, arXiv:1508.03790): c of the layer below enters c."""
    text = (
        "def depth_gated(x, h, c, *, below):\n"
        "    d = sigmoid(linear(x) + diagonal(c) + diagonal(below))\n"
        "    i = sigmoid(linear(x, h))\n"
        "    f = sigmoid(linear(x, h))\n"
        "    c_new = d * below + f * c + i * tanh(linear(x, h))\n"
        "    return sigmoid(linear(x, h)) * tanh(c_new), c_new, c_new\n"
    )
    rnn = RNN(nas.cell(text), D, H, 2, dtype=torch.float64, backend=backend)
    p = {name: value.detach() for name, value in rnn.named_parameters()}
    xs = normal(4, B, D)
    expected = []
    h, c = ([torch.zeros(B, H, dtype=torch.float64) for _ in range(2)] for _ in range(2))
    for x in xs:
        below = torch.zeros(B, H, dtype=torch.float64)
        for k in range(2):
            both = torch.cat([x, h[k]], -1)

            def gate(name: str, seen: Tensor, k: int = k) -> Tensor:
                return seen @ p[f"layers.{k}.{name}_weight"].T + p[f"layers.{k}.{name}_bias"]

            d = gate("d", x) + c[k] * p[f"layers.{k}.d_2_weight"]
            d = torch.sigmoid(d + below * p[f"layers.{k}.d_3_weight"])
            i, f = torch.sigmoid(gate("i", both)), torch.sigmoid(gate("f", both))
            c[k] = d * below + f * c[k] + i * torch.tanh(gate("c_new", both))
            h[k] = torch.sigmoid(gate("y", both)) * torch.tanh(c[k])
            x, below = h[k], c[k]
        expected.append(x)
    y, (h_final, c_final) = rnn(xs)
    assert_close(y, torch.stack(expected))
    assert_close(h_final, torch.stack(h))
    assert_close(c_final, torch.stack(c))


CLOCK = "def clock(x, h=0.5):\n    return tanh(linear(x, h)) * cos(step()) + h\n"
DELAY = "def delay(x, past: input):\n    return linear(past, x), x\n"


def test_a_state_of_the_inputs_width_in_both_ways():
    cell = nas.cell(DELAY)
    rnn = RNN(cell, 8, 4, 2, bidirectional=True, dtype=torch.float64)
    x = normal(5, B, 8)
    y, past = rnn(x)
    assert past.shape == (4, B, 8)
    forward, backward = rnn.layers[0], rnn.layers[1]
    before = torch.cat([torch.zeros(1, B, 8, dtype=torch.float64), x[:-1]])
    after = torch.cat([x[1:], torch.zeros(1, B, 8, dtype=torch.float64)])
    first = [
        torch.cat([seen, x], -1) @ m.get_parameter("y_weight").T + m.get_parameter("y_bias")
        for m, seen in ((forward, before), (backward, after))
    ]
    assert_close(past[0], x[-1])
    assert_close(past[1], x[0])
    assert_close(past[2], torch.cat(first, -1)[-1])
    assert y.shape == (5, B, 8)


def test_an_output_of_the_inputs_width_widens_a_stack_in_both_ways():
    cell = nas.cell("def through(x, h):\n    return x, tanh(linear(x, h))\n")
    rnn = RNN(cell, D, H, 3, bidirectional=True, dtype=torch.float64)
    x = normal(5, B, D)
    y, h = rnn(x)
    assert rnn.output_size == 4 * D
    assert torch.equal(y, x.repeat(1, 1, 8))
    assert h.shape == (6, B, H)


def test_a_state_whose_width_differs_between_layers_is_refused():
    with pytest.raises(CellError, match=r"delay has a state of the input's width, which differs"):
        RNN(nas.cell(DELAY), 3, 4, 2)


@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_the_way_back_is_the_way_forth_of_the_reversed_sequence(backend):
    """Its step 0 is the last."""
    rnn = RNN(nas.cell(CLOCK), D, H, bidirectional=True, dtype=torch.float64, backend=backend)
    rnn.layers[1].load_state_dict(rnn.layers[0].state_dict())
    x = normal(5, B, D)
    y, state = rnn(x)
    flipped, flipped_state = rnn(x.flip(0))
    assert_close(y[..., H:], flipped[..., :H].flip(0))
    assert_close(state[1], flipped_state[0])


@pytest.mark.parametrize("form", LENGTHS)
@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_a_packed_batch_gives_what_its_sequences_give_alone(backend, form):
    """The step index counts within a sequence, in both directions, whatever its neighbours."""
    stack = {"bidirectional": True, "dtype": torch.float64, "backend": backend}
    rnn = RNN(nas.cell(CLOCK), D, H, 2, **stack)
    sequences = [normal(n, D, seed=n) for n in LENGTHS[form]]
    packed, state = rnn(pack_sequence(sequences, enforce_sorted=form == "sorted"))
    unpacked = nn.utils.rnn.unpack_sequence(packed)
    for k, sequence in enumerate(sequences):
        y, final = rnn(sequence)
        assert_close(unpacked[k], y)
        assert_close(state[:, k], final)


def test_states_start_where_the_cell_says():
    cell = nas.cell("def f(x, h=2, s: 1 = -inf):\n    return h + x, h, s\n")
    y, (h, s) = RNN(cell, H, H)(torch.zeros(1, B, H))
    assert (y == 2).all()
    assert (h == 2).all()
    assert s.shape == (1, B, 1)
    assert (s == -torch.inf).all()


def test_a_sequence_may_be_cut_in_two():
    rnn = RNN("lstm", D, H, 2, dtype=torch.float64)
    x = normal(6, B, D)
    whole, final = rnn(x)
    first, state = rnn(x[:4])
    second, cut = rnn(x[4:], state)
    assert_close(torch.cat([first, second]), whole)
    for ours, theirs in zip(cut, final, strict=True):
        assert_close(ours, theirs)


# Manners of a module.


def test_names_of_parameters_are_stable():
    names = [
        f"layers.{k}.{gate}_{part}"
        for k in range(4)
        for gate in ("i", "f", "g", "o")
        for part in ("weight", "bias")
    ]
    assert list(RNN("lstm", D, H, 2, bidirectional=True).state_dict()) == names


def copies() -> dict[str, Callable[[RNN], RNN]]:
    def through_state_dict(rnn: RNN) -> RNN:
        file = io.BytesIO()
        torch.save(rnn.state_dict(), file)
        file.seek(0)
        other = RNN(rnn.cell, D, H, 2)
        other.load_state_dict(torch.load(file, weights_only=True))
        return other

    return {
        "deepcopy": copy.deepcopy,
        "pickle": lambda rnn: pickle.loads(pickle.dumps(rnn)),
        "state_dict": through_state_dict,
    }


@pytest.mark.parametrize("way", copies())
def test_a_copy_is_equal_and_apart(way):
    rnn = RNN("lstm_peephole", D, H, 2)
    other = copies()[way](rnn)
    x = torch.randn(5, B, D, generator=seeded())
    before = rnn(x)[0]
    assert torch.equal(other(x)[0], before)
    other.reset_parameters(2.0)
    assert torch.equal(rnn(x)[0], before)
    assert not torch.equal(other(x)[0], before)


def test_reset_parameters_repeats_with_a_generator():
    rnn = RNN("gru", D, H, 2)
    rnn.reset_parameters(0.5, seeded(3))
    weights = [p.clone() for p in rnn.parameters()]
    rnn.reset_parameters(0.5, seeded(3))
    assert all(torch.equal(p, q) for p, q in zip(rnn.parameters(), weights, strict=True))
    assert max(p.abs().max().item() for p in rnn.parameters()) <= 0.5 / H**0.5


@pytest.mark.parametrize("name", ["lstm", "gru_v1", "mingru"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions(name, dtype):
    rnn = RNN(name, D, H, 2, dtype=torch.float64)
    x = normal(2, B, D)
    expected, _ = rnn(x)
    y, state = copy.deepcopy(rnn).to(dtype)(x.to(dtype))
    assert {v.dtype for v in flat(y, state)} == {dtype}
    atol = HALF.get(str(dtype).removeprefix("torch."), 0)
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=atol)


def test_half_precision_of_every_kind_of_node():
    text = (
        "def f(x, h):\n"
        "    a = softplus(max(h, 0)) + hard_sigmoid(block_diagonal(h)) * step()\n"
        "    return layer_norm(a) + rms_norm(gelu(masked(h))) + vector(init=1) * 0.5\n"
    )
    y, _ = RNN(nas.cell(text), 4, 4, dtype=torch.bfloat16)(
        torch.ones(2, B, 4, dtype=torch.bfloat16)
    )
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()


def test_a_cell_may_be_a_name_a_text_or_a_file(tmp_path):
    (tmp_path / "mine.cell").write_text(str(nas.zoo["gru"]))
    for source in ("gru", str(nas.zoo["gru"]), tmp_path / "mine.cell", nas.zoo["gru"]):
        assert RNN(source, D, H).cell == nas.zoo["gru"]


def test_what_a_module_prints():
    assert RNN("gru", D, H).extra_repr() == "gru, 3, 4, runs=C"
    rnn = RNN("lstm", D, H, 2, False, True, 0.5, True)
    assert rnn.extra_repr() == (
        "lstm, 3, 4, num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True, "
        "runs=C"
    )
    assert repr(rnn).startswith("RNN(\n  lstm, 3, 4, num_layers=2")


def test_flatten_parameters_exists_for_code_written_for_torch():
    assert RNN("gru", D, H).flatten_parameters() is None


GRU, LSTM = RNN("gru", D, H, 2), RNN("lstm", D, H, 2)
WRONG_CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "no steps": (
        lambda: GRU(torch.zeros(0, B, D)),
        r"takes sequences of at least one step, got \(0, 3, 3\)",
    ),
    "one dimension": (
        lambda: GRU(torch.zeros(D)),
        r"takes 2-D \(unbatched\) or 3-D input, got \(3,",
    ),
    "features": (
        lambda: GRU(torch.zeros(5, B, D + 1)),
        "RNN of gru has input_size 3, got input with 4 features",
    ),
    "packed features": (
        lambda: GRU(pack_sequence([torch.zeros(2, D + 1)])),
        "RNN of gru has input_size 3, got input with 4 features",
    ),
    "one state of two": (
        lambda: LSTM(torch.zeros(5, B, D), torch.zeros(2, B, H)),
        r"RNN of lstm takes the states \(h, c\), got 1 tensors",
    ),
    "two states of one": (
        lambda: GRU(torch.zeros(5, B, D), (torch.zeros(2, B, H),) * 2),
        r"RNN of gru takes the states \(h\), got 2 tensors",
    ),
    "layers of a state": (
        lambda: LSTM(torch.zeros(5, B, D), (torch.zeros(2, B, H), torch.zeros(1, B, H))),
        r"state c must have the shape \(2, 3, 4\), got \(1, 3, 4\)",
    ),
    "batch of a state": (
        lambda: GRU(torch.zeros(5, B, D), torch.zeros(2, 1, H)),
        r"state h must have the shape \(2, 3, 4\), got \(2, 1, 4\)",
    ),
    "batched state of an unbatched input": (
        lambda: GRU(torch.zeros(5, D), torch.zeros(2, 1, H)),
        r"state h must have the shape \(2, 4\), got \(2, 1, 4\)",
    ),
    "layers": (lambda: RNN("gru", D, H, 0), "num_layers must be at least 1, got 0"),
    "dropout": (
        lambda: RNN("gru", D, H, dropout=1.5),
        r"dropout is a probability in \[0, 1\], got",
    ),
    "widths": (lambda: RNN("mut1", D, H), "input_size must equal hidden_size, got 3 and 4"),
    "name": (lambda: RNN("grru", D, H), 'no cell "grru". Did you mean "gru"?'),
}


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_a_wrong_call_is_named(call, message):
    with pytest.raises(CellError, match=message):
        call()


def test_a_copied_module_shares_its_cell() -> None:
    rnn = RNN(nas.zoo["gru"], D, H)
    assert copy.deepcopy(rnn).cell is rnn.cell
    again = pickle.loads(pickle.dumps(rnn.cell))
    assert again == rnn.cell
    assert hash(again) == hash(rnn.cell)
