"""Recordings of the eager backend give what it gives. There is no GPU here: `Again` stands for the
recorder of CUDA, and replays by calling again, into the same memory, as a CUDA graph does."""

import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nas.compile import eager, graphs
from nas.compile.capture import MOST, SEEN, Device
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from nas.compile.stacked import StackedCell
from nas.errors import CellError
from nas.zoo import ZOO
from tests.compile.recorder import Again
from tests.compile.test_stacked import CELLS, Problem, in_turn, together
from tests.known import compiled
from tests.tensors import seeded
from tests.tolerances import SAME_FORMULA

CPU = torch.device("cpu")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Again]:
    made = Again()
    monkeypatch.setattr(graphs, "_devices", {CPU: Device(made)})
    return made


def third(layer: EagerCell | StackedCell, *given: Any) -> Any:
    """What a layer gives when its shape has run before."""
    for _ in range(SEEN):
        graphs.run_layer(layer, *given)
    return graphs.run_layer(layer, *given)


@pytest.mark.parametrize("name", compiled(CELLS))
def test_members_that_are_replayed_give_what_layers_give(name: str, recorder: Again) -> None:
    place = list(CELLS).index(name)
    problem = Problem(CELLS[name], (1, 3)[place % 2], (4, 4, 4), place % 5 > 2, place % 7 > 3)
    for ours, expected in zip(together(third, problem), in_turn(problem), strict=True):
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(one, other, **SAME_FORMULA)
    assert recorder.n_replayed == 2


def layer_of(name: str = "gru", seed: int = 0, **kwargs: Any) -> EagerCell:
    made = EagerCell(ZOO[name], 3, 4, dtype=torch.float64, **kwargs)
    made.reset_parameters(1.0, seeded(seed))
    return made


def inputs_of(seed: int, steps: int = 3) -> tuple[Tensor, Tensor]:
    random = seeded(seed)
    x = torch.randn(steps * 2, 3, generator=random, dtype=torch.float64, requires_grad=True)
    return x, torch.randn(2, 4, generator=random, dtype=torch.float64, requires_grad=True)


def of(run: Callable[..., Any], layer: EagerCell, seed: int, steps: int = 3) -> list[Tensor]:
    x, start = inputs_of(seed, steps)
    y, finals, _ = run(layer, x, Rows((2,) * steps), [start], [], False)
    return [y, *finals, x, start]


def gradients(found: list[Tensor], layer: EagerCell) -> list[Tensor]:
    y, final, x, start = found
    loss = (y.sin().cumsum(0) * 0.1).sum() + final.square().sum()
    return list(torch.autograd.grad(loss, [x, start, *layer.parameters()]))


def agree(ours: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, **SAME_FORMULA)


def test_what_a_caller_keeps_is_not_overwritten_by_the_next_replay(recorder: Again) -> None:
    """Two layers of one shape, as of a stack, whose backward passes come in any order."""
    layers = [layer_of(seed=k) for k in range(3)]
    for _ in range(SEEN):
        of(graphs.run_layer, layers[0], 9)
    found = [of(graphs.run_layer, layer, k) for k, layer in enumerate(layers)]
    for order in ((1, 0, 2), (2, 2, 0)):  # also a second time, from a history that is kept
        for k in order:
            expected = of(eager.run_layer, layers[k], k)
            agree(found[k], expected)
            ours = torch.autograd.grad(
                found[k][0].sin().sum(), list(layers[k].parameters()), retain_graph=True
            )
            agree(ours, torch.autograd.grad(expected[0].sin().sum(), list(layers[k].parameters())))
    assert recorder.n_recorded == 2, "one forward and one backward for all of them"


def test_a_backward_pass_after_its_forward_pass_replays_nothing_twice(recorder: Again) -> None:
    layer = layer_of()
    for seed in range(SEEN + 2):
        agree(
            gradients(of(graphs.run_layer, layer, seed), layer),
            gradients(of(eager.run_layer, layer, seed), layer),
        )
    assert (recorder.n_recorded, recorder.n_replayed) == (2, 4)


def test_gradients_follow_weights_that_change(recorder: Again) -> None:
    layer = layer_of()
    for seed in range(SEEN + 2):
        ours = gradients(of(graphs.run_layer, layer, seed), layer)
        agree(ours, gradients(of(eager.run_layer, layer, seed), layer))
        with torch.no_grad():
            for parameter, gradient in zip(layer.parameters(), ours[2:], strict=True):
                parameter -= 0.1 * gradient
    found = of(graphs.run_layer, layer, 0)
    of(graphs.run_layer, layer, 1)  # so that the forward part is replayed once more
    with torch.no_grad():
        next(layer.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients(found, layer)


def test_a_shape_is_recorded_by_all_that_decides_its_operations(recorder: Again) -> None:
    def times(call: Callable[[], Any]) -> int:
        before = recorder.n_recorded
        for _ in range(SEEN + 2):
            call()
        return recorder.n_recorded - before

    layer, (x, start) = layer_of(), inputs_of(0)
    rows = Rows((2, 2, 2))
    run = graphs.run_layer
    assert times(lambda: run(layer, x, rows, [start], [], False)) == 2
    assert times(lambda: run(layer_of(seed=3), x, rows, [start], [], False)) == 0, "other weights"
    assert times(lambda: run(layer, x, rows, [start], [], True)) == 2, "backward in time"
    assert times(lambda: run(layer, x.detach(), rows, [start], [], False)) == 2, "data"
    assert times(lambda: run(layer, x[:4], Rows((2, 2)), [start], [], False)) == 2, "fewer steps"
    assert times(lambda: run(layer_of(bias=False), x, rows, [start], [], False)) == 2, "no bias"
    assert times(lambda: run(layer_of("mgu"), x, rows, [start], [], False)) == 2, "another cell"
    with torch.no_grad():
        assert times(lambda: run(layer, x, rows, [start], [], False)) == 1, "forward alone"
    with torch.inference_mode():
        assert times(lambda: run(layer, x, rows, [start], [], False)) == 1, "inference"
    later = Rows((2, 2, 2), first=5)
    assert times(lambda: run(layer, x, later, [start], [], False)) == 0, "it has no clock"


def test_a_clock_goes_on(recorder: Again) -> None:
    cell = next(c for c in ZOO.values() if any(n.op == "step" for n in c.nodes))
    layer = EagerCell(cell, 4, 4, dtype=torch.float64)
    x = torch.randn(4, 4, generator=seeded(), dtype=torch.float64)
    states = [torch.zeros(2, n, dtype=torch.float64) for n in layer.sizes[1 : 1 + len(cell.states)]]
    with torch.no_grad():
        for first in (0, 5):
            given = (x, Rows((2, 2), first), states, [], False)
            agree([third(layer, *given)[0]], [eager.run_layer(layer, *given)[0]])


def test_a_bounded_number_is_kept_and_comes_back_when_it_runs_often(recorder: Again) -> None:
    layer, device = layer_of("rnn"), graphs._devices[CPU]
    with torch.no_grad():
        for steps in range(1, MOST + 2):
            for _ in range(SEEN + 1):
                of(graphs.run_layer, layer, 0, steps)
        assert len(device._captures) == MOST
        assert recorder.n_recorded == MOST + 1
        for expected in (MOST + 1, MOST + 1, MOST + 2):  # the first one was dropped
            of(graphs.run_layer, layer, 0, 1)
            assert recorder.n_recorded == expected
        graphs.forget()
        assert not device._captures


def test_what_cannot_be_recorded_runs_eagerly_with_the_reason(
    recorder: Again, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: object) -> None:
        raise RuntimeError("CUDA error: operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(recorder, "record", fail)
    layer, x = layer_of(), inputs_of(0)
    ours = third(layer, x[0], Rows((2, 2, 2)), [x[1]], [], False)
    agree([ours[0]], [of(eager.run_layer, layer, 0)[0]])
    assert "operation not permitted when stream is capturing" in caplog.text
    third(layer, x[0], Rows((2, 2, 2)), [x[1]], [], False)
    assert caplog.text.count("not permitted") == 1


def test_another_thread_has_no_part_in_recordings(recorder: Again) -> None:
    device, found = Device(recorder), []
    assert device.is_own
    thread = threading.Thread(target=lambda: found.append(device.is_own))
    thread.start()
    thread.join()
    assert found == [False]
    assert device.is_own


def test_gradients_of_gradients_are_refused(recorder: Again) -> None:
    layer, (x, start) = layer_of(), inputs_of(0)
    y = third(layer, x, Rows((2, 2, 2)), [start], [], False)[0]
    with pytest.raises(CellError, match=r"no gradients of gradients .* backend=\"eager\""):
        torch.autograd.grad(y.sum(), x, create_graph=True)


class Stream:
    """Stands for a stream of CUDA, and for the block in which it is the current one."""

    current: "Stream"

    def __init__(self, name: object) -> None:
        self.name = name

    def wait_stream(self, other: "Stream") -> None:
        """Do nothing."""

    def __enter__(self) -> None:
        self.before, Stream.current = Stream.current, self

    def __exit__(self, *_: object) -> None:
        Stream.current = self.before


def test_after_a_capture_that_fails_work_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the end of a capture fails too, torch leaves the stream of the capture current."""
    default = Stream.current = Stream("default")
    graph = SimpleNamespace(capture_begin=lambda *_, **__: None, capture_end=lambda: 1 / 0)
    fakes: dict[str, Any] = {
        "Stream": Stream,
        "CUDAGraph": lambda: graph,
        "stream": lambda stream: stream,
        "current_stream": lambda device: Stream.current,
        "graph_pool_handle": lambda: (0, 1),
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
    recorder, seen = graphs.CudaRecorder(torch.device("cuda:1")), list[object]()
    recorder.warm_up(lambda: seen.append(Stream.current.name))

    def run() -> list[Tensor | None]:
        seen.append(Stream.current.name)
        return []

    with pytest.raises(ZeroDivisionError):
        recorder.record(run)
    assert seen == [torch.device("cuda:1")] * 2, "recorded where it was warmed up"
    assert Stream.current is default


class OnDevice(TorchDispatchMode):
    """Refuses what a CUDA graph cannot hold: copies from the CPU, and numbers that Python reads."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        name = str(function)
        given = [a for a in args if isinstance(a, Tensor)]
        assert "_local_scalar_dense" not in name
        assert all(one.device.type == "meta" for one in given), name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", compiled(CELLS))
def test_a_step_makes_nothing_on_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, which stands for a GPU. Fixed matrices are copied once, before."""
    cell, rows = CELLS[name], Rows((2, 2))
    layer = EagerCell(cell, 8, 8, device="meta")
    states = [torch.empty(2, n, device="meta") for n in layer.sizes[1 : 1 + len(cell.states)]]
    below = [torch.empty(4, 8, device="meta") for _ in cell.verticals]
    given = (layer, torch.empty(4, 8, device="meta"), rows, states, below, len(name) % 2 == 0)
    eager.run_layer(*given)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a tensor is made on the CPU")

    monkeypatch.setattr(Tensor, "new_tensor", refuse)
    monkeypatch.setattr(torch, "tensor", refuse)
    monkeypatch.setattr(torch, "as_tensor", refuse)
    with OnDevice():
        eager.run_layer(*given)
