"""Compiled loops are good citizens of autograd, of threads and of memory."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import nas
from nas.compile import buffers
from nas.errors import CellError
from nas.nn.rnn import RNN
from tests.tensors import assert_close, normal

D, H = 3, 5
PEEPHOLE = "lstm_peephole"


def module(cell: str = "gru", backend: str = "c", dtype: torch.dtype = torch.float64) -> RNN:
    torch.manual_seed(0)
    return RNN(cell, D, H, backend=backend, dtype=dtype)


def gradients(rnn: RNN, x: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(rnn(x)[0].square().sum(), list(rnn.parameters())))


def assert_all_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other)


# Gradients.


@pytest.mark.parametrize("name", ["gru", PEEPHOLE, "gru_v1"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    rnn = RNN(name, 2, 3, backend="c", dtype=torch.float64)
    n_states = len(rnn.cell.states)
    states = [normal(1, 2, 3, seed=k).requires_grad_() for k in range(n_states)]
    x = normal(3, 2, 2, seed=9).requires_grad_()

    def outputs(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(dict(rnn.named_parameters()), rest[n_states:], strict=True))
        given = (x, rest[:n_states] if n_states > 1 else rest[0])
        y, final = torch.func.functional_call(rnn, parameters, given)
        return (y, *final) if n_states > 1 else (y, final)

    parameters = [p.detach().clone().requires_grad_() for p in rnn.parameters()]
    assert torch.autograd.gradcheck(outputs, (x, *states, *parameters), fast_mode=True)


@pytest.mark.parametrize("unused", ["y", "state"])
def test_a_result_that_no_loss_reads_has_no_say(unused: str) -> None:
    found = []
    for backend in ("c", "eager"):
        rnn = module(backend=backend)
        y, h = rnn(normal(4, 2, D))
        loss = h.square().sum() if unused == "y" else y.square().sum()
        found.append(list(torch.autograd.grad(loss, list(rnn.parameters()))))
    assert_all_close(*found)


@pytest.mark.parametrize("wanted", ["input", "state", "one weight"])
def test_gradients_of_a_part_alone(wanted: str) -> None:
    found = []
    for backend in ("c", "eager"):
        rnn = module(PEEPHOLE, backend).requires_grad_(False)
        x = normal(4, 2, D)
        h, c = normal(1, 2, H, seed=1), normal(1, 2, H, seed=2)
        leaf = {"input": x, "state": c, "one weight": next(rnn.parameters())}[wanted]
        leaf.requires_grad_()
        found.append(torch.autograd.grad(rnn(x, (h, c))[0].square().sum(), leaf))
    assert_all_close(*map(list, found))


def test_nothing_wants_a_gradient() -> None:
    rnn, x = module(), normal(4, 2, D)
    expected, _ = rnn(x)
    assert expected.requires_grad
    with torch.no_grad():
        without, _ = rnn(x)
    with torch.inference_mode():
        inferred, _ = rnn(x)
    frozen, _ = rnn.requires_grad_(False)(x)
    for y in (without, inferred, frozen):
        assert not y.requires_grad
        assert torch.equal(y, expected)


def test_a_gradient_of_a_gradient_is_refused() -> None:
    x = normal(4, 2, D).requires_grad_()
    y, _ = module()(x)
    with pytest.raises(CellError, match=r'no gradients of gradients .*take backend="eager"'):
        torch.autograd.grad(y.square().sum(), x, create_graph=True)


def test_a_graph_gives_the_same_gradient_twice_if_it_is_retained() -> None:
    rnn = module(PEEPHOLE)
    loss = rnn(normal(4, 2, D))[0].square().sum()
    parameters = list(rnn.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    second = torch.autograd.grad(loss, parameters)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, parameters)


def test_calls_between_do_not_change_a_gradient() -> None:
    rnn, xs = module(PEEPHOLE), [normal(4, 2, D, seed=k) for k in range(2)]
    expected = [gradients(rnn, x) for x in xs]
    losses = [rnn(x)[0].square().sum() for x in xs]
    with torch.no_grad():
        rnn(xs[0])
    for loss, gradient in zip(losses, expected, strict=True):
        assert_all_close(list(torch.autograd.grad(loss, list(rnn.parameters()))), gradient)


def test_a_weight_that_changes_before_the_gradient_is_noticed() -> None:
    rnn = module()
    loss = rnn(normal(4, 2, D))[0].square().sum()
    with torch.no_grad():
        next(rnn.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_outputs_may_be_written_into() -> None:
    rnn, x = module(), normal(4, 2, D)
    y, h = rnn(x)
    expected = torch.autograd.grad((y * 2).sum() + (h * 3).sum(), list(rnn.parameters()))
    y, h = rnn(x)
    loss = y.mul_(2).sum() + h.mul_(3).sum()
    assert_all_close(list(torch.autograd.grad(loss, list(rnn.parameters()))), list(expected))


# Inputs and modules of all sorts.


def test_strided_inputs() -> None:
    wide = normal(4, 2, 2 * D)
    state = normal(1, H, 2, seed=1).transpose(1, 2)
    for x in (wide[..., ::2], normal(2, 4, D).transpose(0, 1), normal(1, 2, D).expand(4, -1, -1)):
        found = [rnn(x, state) for rnn in (module(), module(backend="eager"))]
        assert_all_close(*map(list, found))
        with torch.no_grad():
            assert_close(module()(x.contiguous(), state.contiguous())[0], found[0][0])


def test_strided_weights() -> None:
    rnn, eager = module(PEEPHOLE), module(PEEPHOLE, "eager")
    for name, parameter in list(rnn.layers[0].named_parameters()):
        if parameter.dim() == 2:
            transposed = nn.Parameter(parameter.detach().t().contiguous().t())
            setattr(rnn.layers[0], name, transposed)
    x = normal(4, 2, D)
    assert_close(rnn(x)[0], eager(x)[0])
    assert_all_close(gradients(rnn, x), gradients(eager, x))


def test_a_gradient_that_is_strided() -> None:
    found = []
    for backend in ("c", "eager"):
        rnn = module(backend=backend)
        y, h = rnn(normal(4, 2, D))
        loss = (y.transpose(0, 2) * normal(H, 2, 4)).sum() + h.sum()  # h's is one number, expanded
        found.append(list(torch.autograd.grad(loss, list(rnn.parameters()))))
    assert_all_close(*found)


def test_a_module_goes_to_double_precision_and_back() -> None:
    rnn, x = module(dtype=torch.float32), normal(4, 2, D)
    before, _ = rnn(x.float())
    double, _ = rnn.double()(x)
    after, _ = rnn.float()(x.float())
    assert torch.equal(before, after)
    assert double.dtype == torch.float64
    assert (double - before).abs().max() < 1e-6


def test_function_transforms_run_eagerly() -> None:
    x = normal(4, 2, D)
    rnn, auto = module(), module(backend="auto")
    for context in (torch.enable_grad, torch.no_grad):
        with context():
            found = torch.vmap(lambda one: auto(one)[0], in_dims=1, out_dims=1)(x)
            assert_close(found, rnn(x)[0])
    with pytest.raises(CellError, match=r"vmap, .*need backend eager"):
        torch.vmap(lambda one: rnn(one)[0], in_dims=1)(x)


# Threads and memory.


def test_threads_share_a_module() -> None:
    rnn = RNN(PEEPHOLE, 24, 24, backend="c")
    xs = [torch.randn(30, 8, 24, generator=torch.Generator().manual_seed(k)) for k in range(8)]
    expected = [gradients(rnn, x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: gradients(rnn, xs[k % 8]), range(64)))
    for k, gradient in enumerate(found):
        assert all(torch.equal(g, e) for g, e in zip(gradient, expected[k % 8], strict=True))


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_calls_do_not_leak() -> None:
    rnn = RNN(PEEPHOLE, 64, 64, backend="c")
    x = torch.randn(20, 20, 64, requires_grad=True)
    sizes = []
    gc.disable()  # nothing may wait for the collector: a call takes megabytes
    try:
        for k in range(150):
            y, (h, _) = rnn(x)
            if k % 3:  # a call in three is without a gradient
                (y.sum() + h.sum()).backward()
            sizes.append(resident())
    finally:
        gc.enable()
    # One call keeps 5 MB; a leak of one in ten calls would be 50 MB.
    assert sizes[-1] - sizes[49] < 10e6


def memory_of(y: torch.Tensor) -> torch.Tensor:
    """The block of memory that a call keeps for its gradient."""
    saved = y.grad_fn
    while not hasattr(saved, "saved_tensors"):
        saved = saved.next_functions[0][0]
    return saved.saved_tensors[0]


def test_memory_is_used_again_when_the_graph_is_gone_and_not_before() -> None:
    rnn, x = module(), normal(4, 2, D)
    first, _ = rnn(x)
    second, _ = rnn(x)
    places = [memory_of(y).data_ptr() for y in (first, second)]
    assert places[0] != places[1]
    del first
    third, _ = rnn(x)
    assert memory_of(third).data_ptr() == places[0]
    second.sum().backward()
    fourth, _ = rnn(x)
    assert memory_of(fourth).data_ptr() != places[0]


def test_memory_is_freed_after_the_gradient() -> None:
    y, _ = module()(normal(4, 2, D))
    y.sum().backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        memory_of(y)


def test_memory_that_waits_for_use_is_bounded() -> None:
    graphs = [module()(normal(4 + 40 * k, 2, D)) for k in range(3 * buffers.KEPT_BLOCKS)]
    assert len(buffers._pool) <= buffers.KEPT_BLOCKS
    for y, _ in graphs:
        y.sum().backward()
    assert len(buffers._pool) <= buffers.KEPT_BLOCKS


def test_a_module_frees_its_weights() -> None:
    rnn = module()
    rnn(normal(4, 2, D))[0].sum().backward()
    weight = weakref.ref(next(rnn.parameters()))
    del rnn
    gc.collect()
    assert weight() is None


def test_the_backend_is_a_choice_of_the_module() -> None:
    for backend in ("c", "eager"):
        y, _ = nas.RNN("gru", D, H, backend=backend)(torch.zeros(2, 1, D))
        names = set()
        place = y.grad_fn
        while place is not None:
            names.add(place.name())
            place = place.next_functions[0][0] if place.next_functions else None
        assert ("_RunBackward" in names) == (backend == "c")
