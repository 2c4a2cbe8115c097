"""Which backend runs a layer: generated C where it can, the eager reference elsewhere."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _python_dispatch

from nas.cell.cell import Cell
from nas.compile import eager, loop, operator
from nas.compile.loop import PLAIN
from nas.compile.native import CompilerError, compiler
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens, TracedRows
from nas.compile.stacked import StackedCell
from nas.errors import CellError

Backend = Literal["auto", "c", "eager"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
RunLayer = Callable[
    [
        EagerCell | StackedCell,
        Tensor | Tokens,
        Rows | TracedRows,
        Sequence[Tensor],
        Sequence[Tensor],
        bool,
    ],
    LayerOutput,
]
logger = logging.getLogger(__name__)


def check_backend(name: str) -> None:
    """Raise CellError if there is no such backend."""
    if name not in BACKENDS:
        raise CellError(f'backend must be one of {", ".join(BACKENDS)}, got "{name}".')


def usual() -> Backend:
    """The backend that "auto" stands for: that of the variable NAS_BACKEND, or "auto".

    The workers of a search inherit the variable.

    Raises:
        CellError: if it names no backend.
    """
    name = os.environ.get("NAS_BACKEND") or "auto"
    for known in BACKENDS:
        if name == known:
            return known
    raise CellError(f'the variable NAS_BACKEND must be one of {", ".join(BACKENDS)}, got "{name}".')


def trained_on(cell: Cell, width: int) -> Literal["c", "eager"]:
    """The backend of "auto" for a layer of this input and hidden size, on the CPU in float32."""
    if usual() == "eager":
        return "eager"
    try:
        loop.compiled(cell, width, width, torch.float32)
    except CompilerError:
        return "eager"
    return "c"


def choose(
    backend: Backend,
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    states: Sequence[Tensor],
    rows: Rows | TracedRows,
) -> RunLayer:
    """The function that runs `layer` on `x` and `states`.

    "auto" is C for float32 and float64 on the CPU; while torch traces, it is C as an operator that
    torch can record. It is eager elsewhere and, after a warning, where no compiler works. The
    variable NAS_BACKEND overrides it.

    Raises:
        CellError: if the backend is "c" and cannot run the layer.
    """
    if backend == "auto":
        backend = usual()
    if backend == "eager" or (isinstance(rows, Rows) and not rows.batch):
        return eager.run_layer
    is_plain, reason = _looked_at(layer, x, states)
    is_plain = is_plain and isinstance(rows, Rows)
    if not is_plain and backend == "auto" and not reason:
        reason = _unrolled(layer, rows)
    if reason:
        if backend == "c":
            raise CellError(f"backend c cannot run cell {layer.cell.name}: {reason}.")
        return eager.run_layer
    try:
        loop.compiled(layer.cell, layer.sizes[0], layer.hidden_size, x.dtype)
    except CompilerError as error:
        if backend == "c":
            raise CellError(f"backend c cannot run cell {layer.cell.name}: {error}.") from None
        _warn(str(error))
        return eager.run_layer
    return loop.run_layer if is_plain else operator.run_layer


def _looked_at(
    layer: EagerCell | StackedCell, x: Tensor | Tokens, states: Sequence[Tensor]
) -> tuple[bool, str]:
    """Whether all tensors can be read right now, and the reason why C cannot run the layer."""
    given = x.table if isinstance(x, Tokens) else x
    if not given.is_cpu:
        return True, f"it runs on the CPU, got a tensor on {x.device}"
    dtype = given.dtype
    if dtype not in loop.LANES:
        return True, f"it computes in float32 and float64, got {dtype}"
    is_plain = type(given) in PLAIN
    for tensor in (*layer._parameters.values(), *states):
        if tensor is None:
            continue
        if tensor.dtype is not dtype or not tensor.is_cpu:
            return True, (
                f"input, weights and states must have one dtype and device, got input of {dtype} "
                f"and {tensor.dtype} on {tensor.device}"
            )
        is_plain = is_plain and type(tensor) in PLAIN
    if is_transformed():
        return True, "function transforms (vmap, jvp, dual numbers) need backend eager"
    return is_plain, ""


def is_transformed() -> bool:
    """Whether a transform of torch.func or forward-mode differentiation is at work."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


def is_recorded(x: Tensor) -> bool:
    """Whether torch records operations: compiling, exporting, make_fx, fake tensors, tracing."""
    return (
        type(x) not in PLAIN
        or _python_dispatch.is_in_torch_dispatch_mode()
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
    )


def _unrolled(layer: EagerCell | StackedCell, rows: Rows | TracedRows) -> str:
    """Why "auto" records the operations of all steps, and not the loop as one operator."""
    if isinstance(layer, StackedCell):
        return "members are never traced"
    if torch.onnx.is_in_onnx_export():
        warnings.warn(
            f"this ONNX graph is for sequences of {int(rows.n_steps)} steps, as torch cannot write "
            "a loop: `python -m nas.export CELL --onnx OUT.onnx` writes a graph for any length.",
            stacklevel=2,
        )
        return "ONNX has no such operator"
    if torch.compiler.is_exporting() and not isinstance(rows.n_steps, torch.SymInt):
        return "a program that is exported for one length needs nothing but torch"
    return ""


def described(backend: Backend, parameter: Tensor) -> str:
    """What runs a layer with parameters of this device and precision: C or eager."""
    runs_in_c = parameter.is_cpu and parameter.dtype in loop.LANES
    if not runs_in_c or "eager" in (backend, usual()):
        return "eager"
    try:
        compiler()
    except CompilerError:
        return "eager"
    return "C"


@cache
def _warn(reason: str) -> None:
    """Log, once in a process, why cells run slowly."""
    logger.warning("cells run on the slow eager backend: %s", reason)
