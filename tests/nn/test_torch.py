"""`nas.RNN` under torch's machinery gives what the eager backend gives outside of it."""

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

import nas
from nas.errors import CellError
from nas.nn.rnn import RNN
from tests.tensors import LENGTHS, assert_close, flat, normal
from tests.tolerances import OTHER_RUNTIME_32

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated")  # torch uses it itself
D, H = 3, 4
CELLS = ("mut1", "gru", "lstm", "clockwork_rnn", "grid_lstm")
"""Products before the loop; one and two states; a clock; verticals."""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        yield


def pair(name: str = "gru", **options: Any) -> tuple[RNN, RNN]:
    """A module on its own backend, and the same on the eager one."""
    torch.manual_seed(0)
    inputs = H if nas.zoo[name].needs_equal_widths else D
    ours = RNN(name, inputs, H, dtype=torch.float64, **options)
    theirs = RNN(name, inputs, H, dtype=torch.float64, **{**options, "backend": "eager"})
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def sequences(rnn: RNN, steps: int = 5, batch: int = 2, seed: int = 0) -> Tensor:
    return normal(steps, batch, rnn.input_size, seed=seed)


def gradients(run: Callable[..., Any], rnn: RNN, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    loss = sum(tensor.square().sum() for tensor in flat(run(x)))
    assert isinstance(loss, Tensor)
    return list(torch.autograd.grad(loss, [x, *rnn.parameters()]))


def assert_all_close(ours: Any, theirs: Any) -> None:
    for one, other in zip(flat(ours), flat(theirs), strict=True):
        assert_close(one, other)


# torch.compile.


@pytest.mark.parametrize(
    "name", [CELLS[0], *(pytest.param(name, marks=pytest.mark.process) for name in CELLS[1:])]
)
def test_a_compiled_module_has_no_graph_break_and_is_the_same(name: str) -> None:
    rnn, eager = pair(name, num_layers=2)
    compiled = torch.compile(rnn, fullgraph=True, backend="aot_eager")
    x = sequences(rnn)
    assert_all_close(compiled(x), eager(x))
    assert_all_close(gradients(compiled, rnn, x), gradients(eager, eager, x))
    with torch.no_grad():
        assert_all_close(compiled(x), eager(x))


@pytest.mark.process
def test_torchs_compiler_is_imported_where_it_is_used_alone() -> None:
    """It takes as long to import as torch. Batches, packed ones, gradients and steps need none."""
    code = """
import sys, torch, nas
from torch.nn.utils.rnn import pack_sequence
rnn = nas.RNN("gru", 3, 4)
y, h = rnn(pack_sequence([torch.zeros(2, 3), torch.zeros(1, 3)]))
rnn(torch.zeros(2, 1, 3))[0].sum().backward()
rnn.step(torch.zeros(2, 3), h)
assert "torch._dynamo" not in sys.modules
torch.compile(rnn, backend="eager", fullgraph=True)(torch.zeros(2, 1, 3))
assert "torch._dynamo" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_a_model_compiled_by_inductor_trains_as_it_is() -> None:
    rnn, eager = pair("lstm", bidirectional=True)

    def loss(rnn: RNN, x: Tensor) -> Tensor:
        return rnn(torch.tanh(x))[0].sigmoid().sum(-1)

    x = sequences(rnn)
    compiled = torch.compile(lambda x: loss(rnn, x), fullgraph=True)
    assert_all_close(gradients(compiled, rnn, x), gradients(lambda x: loss(eager, x), eager, x))


@pytest.mark.process  # long
def test_a_compiled_module_takes_other_lengths_and_cells() -> None:
    run = torch.compile(lambda rnn, x: rnn(x), fullgraph=True, backend="aot_eager", dynamic=True)
    for steps, batch in ((5, 2), (7, 3), (9, 4)):
        for name in ("gru", "gru_v1"):  # of equal shapes, but for a bias
            rnn, eager = pair(name)
            x = sequences(rnn, steps, batch)
            assert_all_close(run(rnn, x), eager(x))


@pytest.mark.parametrize("order", LENGTHS)
@pytest.mark.parametrize("given", [False, pytest.param(True, marks=pytest.mark.process)])
def test_a_compiled_module_reads_packed_sequences(order: str, given: bool) -> None:
    rnn, eager = pair("lstm")
    parts = [normal(n, D, seed=n) for n in LENGTHS[order]]
    packed = nn.utils.rnn.pack_sequence(parts, enforce_sorted=order == "sorted")
    state = (normal(1, len(parts), H, seed=1), normal(1, len(parts), H, seed=2))
    compiled = torch.compile(rnn, backend="aot_eager")
    assert_all_close(
        compiled(packed, state if given else None), eager(packed, state if given else None)
    )


def test_tokens_are_read_under_compile_as_without() -> None:
    rnn, eager = pair("gru")
    table, tokens = normal(4, D), torch.randint(4, (7, 3))
    compiled = torch.compile(rnn.forward_tokens, fullgraph=True, backend="aot_eager")
    assert_all_close(compiled(tokens, table), eager.forward_tokens(tokens, table))
    with pytest.raises(CellError, match="tokens must be at least 0 and below 4"):
        compiled(tokens + 2, table)


# Fake tensors, make_fx, export, traces.


def test_fake_tensors_have_the_shapes_of_real_ones() -> None:
    with FakeTensorMode():
        y, (h, c) = RNN("lstm", D, H, 2)(torch.randn(5, 2, D))
    assert (y.shape, h.shape, c.shape) == ((5, 2, H), (2, 2, H), (2, 2, H))


@pytest.mark.parametrize("mode", ["real", "symbolic"])
def test_make_fx_records_what_holds_for_other_inputs(mode: str) -> None:
    rnn, eager = pair("lstm", num_layers=2)

    def run(parameters: dict[str, Tensor], x: Tensor) -> Any:
        return torch.func.functional_call(rnn, parameters, (x,))

    parameters = dict(rnn.named_parameters())
    recorded = make_fx(run, tracing_mode=mode)(parameters, sequences(rnn))
    x = sequences(rnn, *((7, 3) if mode == "symbolic" else (5, 2)), seed=1)
    assert_all_close(recorded(parameters, x), eager(x))


@pytest.mark.parametrize(
    "name", ["gru", *(pytest.param(name, marks=pytest.mark.process) for name in ("lstm", "mut1"))]
)
def test_a_program_is_exported_for_any_batch_with_torchs_own_operations(name: str) -> None:
    rnn, eager = pair(name, num_layers=2)
    program = torch.export.export(rnn, (sequences(rnn),), dynamic_shapes=({1: Dim("b")},))
    assert not any("nas" in str(node.target) for node in program.graph.nodes)
    x = sequences(rnn, batch=6)
    assert_all_close(program.module()(x), eager(x))


@pytest.mark.parametrize("backend", ["auto", "c"])
def test_a_program_for_any_length_has_the_loop_as_operator(backend: str, tmp_path) -> None:
    rnn, eager = pair("mut1", backend=backend)
    dynamic = {0: Dim("t"), 1: Dim("b")}
    program = torch.export.export(rnn, (sequences(rnn),), dynamic_shapes=(dynamic,))
    assert any("nas.loop" in str(node.target) for node in program.graph.nodes)
    torch.export.save(program, tmp_path / "rnn.pt2")
    module, x = torch.export.load(tmp_path / "rnn.pt2").module(), sequences(rnn, 9, 6)
    assert_all_close(module(x), eager(x))
    loss = module(x)[0].square().sum()
    found = torch.autograd.grad(loss, list(module.parameters()))
    expected = torch.autograd.grad(eager(x)[0].square().sum(), list(eager.parameters()))
    assert_all_close(found, expected)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_trace_holds_for_other_lengths_and_trains(name: str, tmp_path) -> None:
    rnn, eager = pair(name, num_layers=2)
    traced = torch.jit.trace(rnn, (sequences(rnn),))
    torch.jit.save(traced, tmp_path / "rnn.pt")
    loaded, x = torch.jit.load(tmp_path / "rnn.pt"), sequences(rnn, 9, 6)
    assert_all_close(loaded(x), eager(x))
    assert_all_close(gradients(traced, traced, x), gradients(eager, eager, x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of this exporter
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_torchs_onnx_graph_is_for_one_length_and_says_so(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    rnn, eager = (module.float() for module in pair("gru"))
    x, path = sequences(rnn).float(), tmp_path / "rnn.onnx"
    dynamic = {"x": {1: "batch"}}
    with pytest.warns(UserWarning, match=r"sequences of 5 steps.*nas.export CELL --onnx OUT.onnx"):
        torch.onnx.export(rnn, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=dynamic)
    other = sequences(rnn, batch=6).float()
    found = onnxruntime.InferenceSession(path).run(None, {"x": other.numpy()})
    for ours, theirs in zip(found, flat(eager(other)), strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), theirs, **OTHER_RUNTIME_32)


def test_a_dispatch_mode_sees_the_module() -> None:
    rnn, eager = pair("gru")
    with FlopCounterMode(display=False):
        y = rnn(sequences(rnn))
    assert_all_close(y, eager(sequences(rnn)))


def test_the_operator_passes_torchs_own_checks() -> None:
    """Schema, fake results, autograd and the whole of AOTAutograd, with shapes as symbols."""
    rnn, _ = pair("lstm")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.compile.operator.torch.ops.nas.loop", lambda *given: seen.append(given))
        with pytest.raises(TypeError), FlopCounterMode(display=False):
            rnn(sequences(rnn))
        # The memory of a call is a result too, and parts of it are never written.
        patch.undo()
        patch.setattr("nas.compile.call.block_of", lambda size, like: like.new_zeros(size))
        torch.library.opcheck(torch.ops.nas.loop.default, seen[0])


# Derivatives of other kinds.


@pytest.mark.parametrize("frozen", [False, True])
def test_forward_mode_derivatives_are_those_of_eager(frozen: bool) -> None:
    tangents = []
    for rnn in pair("lstm"):
        rnn.requires_grad_(not frozen)
        with forward_ad.dual_level():
            x = forward_ad.make_dual(sequences(rnn), sequences(rnn, seed=1))
            tangents.append(forward_ad.unpack_dual(rnn(x)[0]).tangent)
    assert_close(*tangents)


def test_jacobians_by_forward_mode_and_by_torch_func() -> None:
    rnn, eager = pair("gru")
    x = sequences(rnn)
    expected = torch.autograd.functional.jacobian(lambda x: eager(x)[0], x)
    found = torch.autograd.functional.jacobian(
        lambda x: rnn(x)[0], x, vectorize=True, strategy="forward-mode"
    )
    assert_close(found, expected)
    assert_close(torch.func.jacrev(lambda x: rnn(x)[0])(x), expected)
    assert_close(torch.func.jacfwd(lambda x: rnn(x)[0])(x), expected)
    assert_close(torch.autograd.functional.jacobian(lambda x: rnn(x)[0], x), expected)


def test_gradients_of_many_outputs_at_once_name_the_way_out() -> None:
    rnn, _ = pair("gru")
    x = sequences(rnn)
    with pytest.raises(CellError, match='backend="eager"'):
        torch.autograd.functional.jacobian(lambda x: rnn(x)[0], x, vectorize=True)
    y, weight = rnn(x)[0], rnn.layers[0].n_weight
    many = normal(2, *y.shape)
    with pytest.raises(CellError, match='backend="eager"'):
        torch.autograd.grad(y, weight, many, is_grads_batched=True)


# Hooks and parametrizations.


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "spectral norm": lambda layer: nn.utils.spectral_norm(layer, "n_weight"),
    "weight norm": lambda layer: nn.utils.weight_norm(layer, "n_weight"),
    "pruning": lambda layer: prune.l1_unstructured(layer, "n_weight", 0.5),
    "parametrized spectral norm": lambda layer: parametrizations.spectral_norm(layer, "n_weight"),
    "parametrized weight norm": lambda layer: parametrizations.weight_norm(layer, "n_weight"),
    "orthogonal": lambda layer: parametrizations.orthogonal(
        layer, "n_weight", orthogonal_map="cayley"
    ),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.process)])
def test_changed_weights_take_effect_as_in_eager(change: str, compiled: bool) -> None:
    results = []
    for rnn in pair("gru", num_layers=2):
        plain = rnn(sequences(rnn))[0]
        rnn(sequences(rnn))
        torch.manual_seed(1)
        CHANGES[change](rnn.layers[0])
        run = torch.compile(rnn, backend="aot_eager") if compiled and not results else rnn
        ys = [run(sequences(rnn))[0] for _ in range(3)]
        sum(y.square().sum() for y in ys[:1]).backward()
        ys[-1].sum().backward()
        results.append([*ys, *(p.grad for p in rnn.parameters())])
        if change != "weight norm" and change != "parametrized weight norm":
            assert not torch.allclose(ys[0], plain), "the change changes something"
    assert_all_close(*results)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weights_that_are_loaded_into_a_normed_layer_count() -> None:
    rnn, _ = pair("gru")
    nn.utils.weight_norm(rnn.layers[0], "n_weight")
    before = rnn(sequences(rnn))[0]
    state = rnn.state_dict()
    state["layers.0.n_weight_g"] = 2 * state["layers.0.n_weight_g"]
    rnn.load_state_dict(state)
    found = rnn(sequences(rnn))[0]
    weight = state["layers.0.n_weight_v"]
    with torch.no_grad():
        other, _ = pair("gru")
        norms = weight.norm(dim=1, keepdim=True)
        other.layers[0].n_weight.copy_(weight / norms * state["layers.0.n_weight_g"])
    assert_close(found, other(sequences(rnn))[0])
    assert not torch.allclose(found, before)


@pytest.mark.parametrize("backend", ["auto", "c", "eager"])
@pytest.mark.parametrize("name", ["n_weight", "r_bias"])
def test_a_parameter_that_lost_its_shape_is_one_sentence(backend: str, name: str) -> None:
    rnn = RNN("gru", D, H, backend=backend)
    rnn(torch.randn(5, 2, D))
    getattr(rnn.layers[0], name).data = torch.randn(1, 1)
    with pytest.raises(CellError, match=rf"{name} of a layer of gru must have the shape \(4"):
        rnn(torch.randn(5, 2, D))


def test_a_parameter_of_another_layout_is_read_right() -> None:
    rnn, eager = pair("gru")
    rnn(sequences(rnn))
    weight = rnn.layers[0].n_weight
    weight.data = weight.data.t().contiguous().t()
    assert not weight.is_contiguous()
    assert_all_close(gradients(rnn, rnn, sequences(rnn)), gradients(eager, eager, sequences(rnn)))


def test_a_parameter_of_another_precision_is_torchs_own_error_or_a_sentence() -> None:
    rnn, x = RNN("gru", D, H), torch.randn(5, 2, D)
    rnn(x)
    rnn.layers[0].n_weight.data = rnn.layers[0].n_weight.data.double()
    with pytest.raises(RuntimeError, match="dtype"):
        rnn(x)
    rnn.backend = "c"
    with pytest.raises(CellError, match="must have one dtype and device"):
        rnn(x)


def test_hooks_of_a_layer_run_once_a_sequence() -> None:
    for rnn in pair("gru", num_layers=2):
        calls: list[int] = []
        rnn.layers[1].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        rnn(sequences(rnn))
        rnn(sequences(rnn))
        assert len(calls) == 2


# Empty batches, autocast, and the signature of nn.LSTM.


@pytest.mark.parametrize("backend", ["auto", "c", "eager"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_an_empty_batch_gives_empty_results_as_torch_does(backend: str, options: Any) -> None:
    rnn, lstm = RNN("lstm", D, H, backend=backend, **options), nn.LSTM(D, H, **options)
    x = torch.randn(5, 0, D, requires_grad=True)
    found, expected = flat(rnn(x)), flat(lstm(x))
    assert [t.shape for t in found] == [t.shape for t in expected]
    sum(t.sum() for t in found).backward()
    assert x.grad is not None
    assert all(p.grad is not None and not p.grad.any() for p in rnn.parameters())
    if not options:
        y, (h, c) = rnn.step(torch.randn(0, D))
        assert (y.shape, h.shape, c.shape) == ((0, H), (1, 0, H), (1, 0, H))
    y, _ = rnn.forward_tokens(torch.zeros(5, 0, dtype=torch.long), torch.randn(7, D))
    assert y.shape == expected[0].shape


@pytest.mark.parametrize("lower", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["auto", "c", "eager"])
def test_autocast_gives_the_precision_of_an_lstm(backend: str, lower: torch.dtype) -> None:
    lstm = nn.LSTM(D, H, 2)
    rnn = RNN.from_torch(lstm)
    rnn.backend = backend
    x = torch.randn(5, 2, D)
    exact = flat(rnn(x))
    with torch.autocast("cpu", lower):
        found, theirs = flat(rnn(x)), flat(lstm(x.to(lower)))
        again = flat(rnn(x.to(lower), (found[1], found[2])))
    assert [t.dtype for t in found + again] == [t.dtype for t in theirs + theirs]
    for one, other in zip(found, exact, strict=True):
        assert torch.equal(one, other.to(lower)), "computed in float32, then rounded"
    with torch.autocast("cpu", lower):
        assert rnn.double()(x.double())[0].dtype == torch.float64


def test_a_state_may_be_given_by_name_as_to_an_lstm() -> None:
    rnn, x = RNN("lstm", D, H), torch.randn(5, 2, D)
    state = (torch.randn(1, 2, H), torch.randn(1, 2, H))
    assert torch.equal(rnn(x, hx=state)[0], rnn(x, state)[0])
    assert torch.equal(rnn(input=x, hx=state)[0], rnn(x, state)[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bias": "False"}, "bias must be True or False, got 'False'"),
        ({"batch_first": 1}, "batch_first must be True or False, got 1"),
        ({"bidirectional": None}, "bidirectional must be True or False, got None"),
        ({"proj_size": 2}, 'proj_size must be 0, got 2: .* nas.RNN\\("lstm_projected"'),
        ({"num_layers": 1.5}, "num_layers must be a whole number, got 1.5"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"dropout": "0.5"}, "dropout is a probability"),
        ({"dropout": True}, "dropout is a probability"),
    ],
)
def test_arguments_of_other_types_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(CellError, match=said):
        RNN("lstm", D, H, **options)


def test_code_written_for_an_lstm_finds_its_attributes() -> None:
    rnn, lstm = RNN("lstm", D, H, 2, bidirectional=True), nn.LSTM(D, H, 2, bidirectional=True)
    for name in ("mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first"):
        assert getattr(rnn, name) == getattr(lstm, name)
    for name in ("dropout", "bidirectional", "proj_size"):
        assert getattr(rnn, name) == getattr(lstm, name)
    assert len(rnn.all_weights) == len(lstm.all_weights)
    with pytest.warns(UserWarning, match=r"dropout=0.5 drops outputs of all layers but the last"):
        RNN("lstm", D, H, dropout=0.5)


def test_a_module_says_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = RNN("gru", D, H)
    assert "gru, 3, 4, runs=C" in repr(rnn)
    assert "runs=eager" in repr(RNN("gru", D, H, device="meta"))
    assert "runs=eager" in repr(RNN("gru", D, H, dtype=torch.bfloat16))
    assert "runs=eager" in repr(RNN("gru", D, H, backend="eager"))
    monkeypatch.setenv("NAS_BACKEND", "eager")
    assert "runs=eager" in repr(rnn)


def test_a_copy_and_a_pickle_are_modules_like_the_first(tmp_path) -> None:
    rnn, _ = pair("gru")
    y = rnn(sequences(rnn))[0]
    torch.save(rnn, tmp_path / "rnn.pt")
    for other in (copy.deepcopy(rnn), torch.load(tmp_path / "rnn.pt", weights_only=False)):
        assert torch.equal(other(sequences(rnn))[0], y)
        other.layers[0].n_weight.data.zero_()
        assert torch.equal(rnn(sequences(rnn))[0], y)
    parametrizations.weight_norm(rnn.layers[0], "n_weight")
    assert torch.equal(copy.deepcopy(rnn)(sequences(rnn))[0], rnn(sequences(rnn))[0])
