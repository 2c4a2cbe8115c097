"""torch's own inputs for the tests of its recurrent modules, on `nas.RNN` with both backends.

The checks are those of torch's test/test_modules.py that are about the CPU: forward against the
reference, factory arguments, pickles, state_dicts, copies, strides, gradients and second ones.
What is refused: projections (another cell has them), and second derivatives by the backend c.
"""

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal import common_modules

from nas.errors import CellError
from nas.nn.convert import copy_weights
from nas.nn.rnn import RNN
from tests.tensors import assert_close, flat

INFOS = {info.module_cls: info for info in common_modules.module_db}
CELLS = {nn.RNN: {"tanh": "rnn", "relu": "irnn"}, nn.LSTM: {None: "lstm"}, nn.GRU: {None: "gru_v1"}}


def samples() -> list[Any]:
    """A module, the arguments that make it, and an input, each."""
    found = []
    for kind in CELLS:
        make = INFOS[kind].module_inputs_func
        given = (INFOS[kind], "cpu", torch.float64, False, True)
        for sample in make(*given, with_packed_sequence=True):
            found.append(pytest.param(kind, sample, id=f"{kind.__name__}-{len(found)}"))
    return found


SAMPLES = samples()
BACKENDS = pytest.mark.parametrize("backend", ["c", "eager"])


def made(kind: Any, sample: Any, backend: str, **options: Any) -> RNN:
    """`nas.RNN` from torch's arguments."""
    arguments = dict(sample.constructor_input.kwargs)
    cell = CELLS[kind][arguments.pop("nonlinearity", None)]
    return RNN(cell, **{"dtype": torch.float64, "backend": backend, **arguments, **options})


def refused(sample: Any) -> bool:
    return bool(sample.constructor_input.kwargs.get("proj_size"))


def run(module: nn.Module, sample: Any) -> list[Tensor]:
    return flat(module(*sample.forward_input.args, **sample.forward_input.kwargs))


@BACKENDS
@pytest.mark.parametrize(("kind", "sample"), SAMPLES)
def test_torchs_inputs(kind: Any, sample: Any, backend: str) -> None:
    if refused(sample):
        with pytest.raises(CellError, match="lstm_projected"):
            made(kind, sample, backend)
        return
    theirs = kind(**sample.constructor_input.kwargs, dtype=torch.float64)
    ours = made(kind, sample, backend)
    copy_weights(theirs, ours.layers)
    expected = run(theirs, sample)
    for found, other in zip(run(ours, sample), expected, strict=True):
        assert_close(found, other)


@BACKENDS
@pytest.mark.parametrize(("kind", "sample"), [p for p in SAMPLES if not refused(p.values[1])][::5])
def test_copies_compute_the_same(kind: Any, sample: Any, backend: str) -> None:
    ours = made(kind, sample, backend)
    buffer = io.BytesIO()
    torch.save(ours, buffer)
    buffer.seek(0)
    loaded = made(kind, sample, backend)
    loaded.load_state_dict(ours.state_dict(), strict=True)
    for other in (copy.deepcopy(ours), torch.load(buffer, weights_only=False), loaded):
        assert all(map(torch.equal, run(other, sample), run(ours, sample)))
    moved = made(kind, sample, backend, dtype=torch.float32)
    assert {p.dtype for p in moved.parameters()} == {torch.float32}
    moved.to(torch.float64).load_state_dict(ours.state_dict())
    assert all(map(torch.equal, run(moved, sample), run(ours, sample)))
    on_meta = made(kind, sample, backend, device="meta")
    assert {p.device.type for p in on_meta.parameters()} == {"meta"}


def differentiable(sample: Any) -> tuple[Tensor, ...]:
    given = sample.forward_input.args
    return tuple(t.detach().clone().requires_grad_() for t in flat(*given))


def called(rnn: RNN, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    x, *states = tensors
    return tuple(flat(rnn(x, tuple(states) if len(states) > 1 else (*states, None)[0])))


def whole_samples() -> list[Any]:
    """One sample of each kind of call: without packed ones, whose data come in a tuple."""
    plain = [p for p in SAMPLES if isinstance(p.values[1].forward_input.args[0], Tensor)]
    return [p for p in plain if not refused(p.values[1])]


@BACKENDS
@pytest.mark.parametrize(("kind", "sample"), whole_samples()[::3])
def test_gradients_and_strides(kind: Any, sample: Any, backend: str) -> None:
    rnn = made(kind, sample, backend)
    tensors = differentiable(sample)
    assert torch.autograd.gradcheck(lambda *given: called(rnn, given), tensors, fast_mode=True)
    spread = [t.detach().repeat_interleave(2, -1)[..., ::2].requires_grad_() for t in tensors]
    assert not any(t.is_contiguous() for t in spread)
    results = []
    for given in (tensors, tuple(spread)):
        outputs = called(rnn, given)
        weights = [torch.linspace(0, 1, o.numel()).double().view_as(o) for o in outputs]
        loss = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
        found = torch.autograd.grad(loss, [*given, *rnn.parameters()])
        results.append([*outputs, *found])
    for one, other in zip(*results, strict=True):
        assert_close(one, other)
    if backend == "c":
        loss = called(rnn, tensors)[0].sum()
        with pytest.raises(CellError, match="gradients of gradients"):
            torch.autograd.grad(loss, tensors, create_graph=True)
    else:
        assert torch.autograd.gradgradcheck(
            lambda *given: called(rnn, given), tensors, fast_mode=True
        )
