"""Which backend runs a layer: generated C on the CPU; on GPUs generated kernels, else CUDA graphs;
and the eager reference elsewhere."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.compile import eager, graphs, loop, operator
from nas.compile.gpu import fit, run
from nas.compile.loop import PLAIN
from nas.compile.native import CompilerError, compiler
from nas.compile.recording import is_recorded, is_transformed
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens, TracedRows
from nas.compile.stacked import StackedCell
from nas.errors import CellError

Backend = Literal["auto", "c", "triton", "graph", "eager"]
TRANSFORMED = "function transforms (vmap, jvp, dual numbers) need backend eager"
BACKENDS: tuple[Backend, ...] = get_args(Backend)
IN_C: tuple[Backend, ...] = ("auto", "c")
"""Those that run on the CPU in C."""
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
Obstacle = Callable[
    [EagerCell | StackedCell, Tensor | Tokens, Sequence[Tensor], Rows | TracedRows], str
]
"""Why a backend cannot run a layer, its input, states and rows; empty if it can."""
ON_GPUS: dict[Backend, tuple[Obstacle, RunLayer]] = {
    "triton": (fit.obstacle, run.run_layer),
    "graph": (graphs.obstacle, graphs.run_layer),
}
"""The backends of GPUs, the fastest first."""
_broken: dict[tuple[Backend, Cell, int, int, torch.dtype], str] = {}
"""What a backend's compiler raised for a layer of these sizes, so that no batch tries again."""
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
    if usual() not in IN_C:
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
    torch can record. On a GPU it is the first of `ON_GPUS` that can run the layer. It is eager
    elsewhere and, after a warning, where no compiler works. The variable NAS_BACKEND overrides it.

    Raises:
        CellError: if the backend is another than "eager" and cannot run the layer.
    """
    if backend == "auto":
        backend = usual()
    if backend not in IN_C or (isinstance(rows, Rows) and not rows.batch):
        return _on_gpu(backend, layer, x, states, rows)
    is_plain, reason = _looked_at(layer, x, states)
    is_plain = is_plain and isinstance(rows, Rows)
    if not is_plain and backend == "auto" and not reason:
        reason = _unrolled(layer, rows)
    if reason:
        if backend == "c":
            raise CellError(f"backend c cannot run cell {layer.cell.name}: {reason}.")
        return _on_gpu(backend, layer, x, states, rows)
    try:
        loop.compiled(layer.cell, layer.sizes[0], layer.hidden_size, x.dtype)
    except CompilerError as error:
        if backend == "c":
            raise CellError(f"backend c cannot run cell {layer.cell.name}: {error}.") from None
        _warn(str(error))
        return eager.run_layer
    return loop.run_layer if is_plain else operator.run_layer


def _on_gpu(
    backend: Backend,
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    states: Sequence[Tensor],
    rows: Rows | TracedRows,
) -> RunLayer:
    """The backend of that name; of "auto" the first that can run the layer, eager if none can."""
    if isinstance(rows, Rows) and not rows.batch:
        return eager.run_layer
    for name, (obstacle, run_layer) in ON_GPUS.items():
        if backend != name and (backend != "auto" or x.device.type != "cuda"):
            continue
        about = (name, layer.cell, layer.sizes[0], layer.hidden_size, x.dtype)
        try:
            reason = _unusual(layer, x, states) or _broken.get(about, "")
            reason = reason or obstacle(layer, x, states, rows)
        except Exception as error:  # of a compiler: another backend gives the same result
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            _broken[about] = reason
            _warn(f"{reason} (backend {name})", "a slower backend of the GPU")
        if not reason:
            return run_layer
        if backend == name:
            raise CellError(f"backend {name} cannot run cell {layer.cell.name}: {reason}.")
        logger.debug("backend %s does not run cell %s: %s", name, layer.cell.name, reason)
    return eager.run_layer


def _unusual(layer: EagerCell | StackedCell, x: Tensor | Tokens, states: Sequence[Tensor]) -> str:
    """Why nothing but torch's own operations can take tensors on a GPU."""
    given = x.table if isinstance(x, Tokens) else x
    is_plain = not is_recorded(given)
    for tensor in (*layer._parameters.values(), *states):
        if tensor is None:
            continue
        if tensor.dtype is not given.dtype or tensor.device != given.device:
            return _mixed(given, tensor)
        is_plain = is_plain and type(tensor) in PLAIN
    if not is_plain:
        return "torch records operations, which a launch as a whole is not"
    return TRANSFORMED if is_transformed() else ""


def _mixed(given: Tensor, tensor: Tensor) -> str:
    return (
        f"input, weights and states must have one dtype and device, got input of {given.dtype} "
        f"and {tensor.dtype} on {tensor.device}"
    )


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
            return True, _mixed(given, tensor)
        is_plain = is_plain and type(tensor) in PLAIN
    if is_transformed():
        return True, TRANSFORMED
    return is_plain, ""


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
    """What runs a layer with parameters of this device and precision: C, a backend of GPUs if the
    input allows it, or eager."""
    named = usual() if backend == "auto" else backend
    if parameter.is_cuda and named != "eager":
        return next(iter(ON_GPUS)) if named == "auto" else named
    runs_in_c = parameter.is_cpu and parameter.dtype in loop.LANES
    if not runs_in_c or named not in IN_C:
        return "eager"
    try:
        compiler()
    except CompilerError:
        return "eager"
    return "C"


@cache
def _warn(reason: str, on: str = "the slow eager backend") -> None:
    """Log, once in a process, why cells run slowly."""
    logger.warning("cells run on %s: %s", on, reason)
