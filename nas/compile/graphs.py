"""CUDA graphs of the eager backend: what takes some thousand launches is replayed by one.

A shape that runs for the third time is recorded (`capture.py`), and replayed from then on with the
kernels that the eager backend chose: results are the same up to rounding.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from functools import cache

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.compile import eager
from nas.compile.capture import Device, Replay, replayed
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens, TracedRows
from nas.compile.stacked import Inputs, StackedCell

logger = logging.getLogger(__name__)
_devices: dict[torch.device, Device] = {}


class CudaRecorder:
    """Records by `torch.cuda.graph`; all recordings of a device share a pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run a function where it is recorded then: libraries take the memory there that they need
        at first."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            run()
        current.wait_stream(self._stream)

    def record(
        self, run: Callable[[], Sequence[Tensor | None]]
    ) -> tuple[Sequence[Tensor | None], Replay]:
        graph = torch.cuda.CUDAGraph()
        # The outer block goes back to this stream also where a capture fails. Other threads, such
        # as loaders of data, may do with CUDA what they like meanwhile.
        with (
            torch.cuda.stream(torch.cuda.current_stream(self._device)),
            torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"),
        ):
            results = run()
        return results, graph.replay


def obstacle(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    states: Sequence[Tensor],
    rows: Rows | TracedRows,
) -> str:
    """Why no CUDA graph can run a layer on an input that torch can read now; empty if one can."""
    if x.device.type != "cuda":
        return f"it runs on GPUs, got a tensor on {x.device}"
    if not isinstance(rows, Rows):
        return "torch records operations, not replays"
    if not rows.dense:
        return "sequences have several lengths"
    if torch.is_autocast_enabled("cuda"):
        return "autocast keeps copies of weights between calls"
    if torch.cuda.is_current_stream_capturing():
        return "another CUDA graph is being recorded"
    if torch.cuda.current_stream(x.device) != torch.cuda.default_stream(x.device):
        return "it replays on torch's default stream alone"
    if not _device(x.device).is_own:
        return "another thread replays CUDA graphs"
    return ""


def run_layer(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    rows: Rows | TracedRows,
    states: Sequence[Tensor],
    verticals: Sequence[Tensor],
    reverse: bool,
) -> LayerOutput:
    """As `nas.compile.eager.run_layer`, replayed where the shape was recorded."""
    assert isinstance(rows, Rows), "a replay needs numbers"
    device = _device(x.device)
    x = x.rows() if isinstance(x, Tokens) else x
    own = layer.named_parameters() if isinstance(layer, StackedCell) else layer._parameters.items()
    parameters = {name: tensor for name, tensor in own if tensor is not None}
    given = [x, *states, *verticals, *parameters.values()]

    def work(given: Sequence[Tensor]) -> list[Tensor]:
        """The same of other tensors of these shapes."""
        x, *rest = given
        n, m = len(states), len(states) + len(verticals)
        inputs = Inputs(x, None, rows, rest[n:m], reverse)
        replaced = dict(zip(parameters, rest[m:], strict=True))
        if isinstance(layer, StackedCell):
            found = eager.run_at_once(layer.template, replaced, inputs, rest[:n])
        else:
            found = eager.run_alone(layer, replaced, inputs, rest[:n])
        return [found[0], *found[1], *found[2]]

    key = _key(layer.cell, rows, given, tuple(parameters), reverse=reverse)
    capture = device.capture_of(key, work, given)
    if capture is None:
        if reason := device.refused.get(key):
            _warn(reason)
        return eager.run_layer(layer, x, rows, states, verticals, reverse)
    y, *others = replayed(capture, given)
    return y, others[: len(states)], others[len(states) :]


def _key(
    cell: Cell, rows: Rows, given: Sequence[Tensor], names: tuple[str, ...], *, reverse: bool
) -> Hashable:
    """All that decides which operations run, and on what memory."""
    modes = (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_float32_matmul_precision(),
    )
    shapes = tuple((tensor.shape, tensor.dtype, tensor.requires_grad) for tensor in given)
    clock = rows.first if any(n.op == "step" for n in cell.nodes) else 0
    return cell, rows, clock, names, shapes, reverse, modes


def forget() -> None:
    """Drop all recordings of this process and their memory."""
    for device in _devices.values():
        device.forget()


def _device(device: torch.device) -> Device:
    if device not in _devices:
        _devices[device] = Device(CudaRecorder(device))
    return _devices[device]


@cache
def _warn(reason: str) -> None:
    """Log, once in a process, why a shape is not replayed."""
    logger.warning("cells run one operation after another on a GPU: recording them: %s", reason)
