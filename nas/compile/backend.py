"""Which backend runs a layer: generated C where it can, the eager reference elsewhere."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.compile import eager, loop
from nas.compile.native import CompilerError
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens
from nas.compile.stacked import StackedCell
from nas.errors import CellError

Backend = Literal["auto", "c", "eager"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
RunLayer = Callable[
    [EagerCell | StackedCell, Tensor | Tokens, Rows, Sequence[Tensor], Sequence[Tensor], bool],
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
) -> RunLayer:
    """The function that runs `layer` on `x` and `states`.

    "auto" is C for float32 and float64 on the CPU. It is eager elsewhere and, after a warning,
    where no compiler works. The variable NAS_BACKEND overrides it.

    Raises:
        CellError: if the backend is "c" and cannot run the layer.
    """
    if backend == "auto":
        backend = usual()
    if backend == "eager":
        return eager.run_layer
    if reason := _obstacle(layer, x, states):
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
    return loop.run_layer


def _obstacle(layer: EagerCell | StackedCell, x: Tensor | Tokens, states: Sequence[Tensor]) -> str:
    if x.device.type != "cpu":
        return f"it runs on the CPU, got a tensor on {x.device}"
    if x.dtype not in loop.LANES:
        return f"it computes in float32 and float64, got {x.dtype}"
    dtype = x.dtype
    for tensor in (*layer._parameters.values(), *states):
        if tensor is not None and not (tensor.dtype == dtype and tensor.is_cpu):
            return (
                f"input, weights and states must have one dtype and device, got input of {x.dtype} "
                f"and {tensor.dtype} on {tensor.device}"
            )
    if torch.is_autocast_enabled("cpu"):
        return "under torch.autocast it would compute in two dtypes"
    if torch._C._are_functorch_transforms_active():
        return "function transforms such as vmap need backend eager"
    if torch._C._get_tracing_state() or torch.compiler.is_exporting():
        return "it cannot be traced or exported"
    return ""


@cache
def _warn(reason: str) -> None:
    """Log, once in a process, why cells run slowly."""
    logger.warning("cells run on the slow eager backend: %s", reason)
