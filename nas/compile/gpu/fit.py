"""Whether the kernels can run a layer, in a sentence where they cannot."""

import functools
import importlib.util
from collections.abc import Sequence

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.compile.gpu import CAPABILITY
from nas.compile.gpu.device import device_code, shared_memory
from nas.compile.gpu.kernels import Kernels, kernels
from nas.compile.gpu.writer import PRECISIONS, Precision
from nas.compile.native import CompilerError, compiler
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens, TracedRows
from nas.compile.stacked import StackedCell

MOST_ENTRIES = 16 * 64 * 64
"""The entries of a layer's matrices in the loop: an LSTM of 128 units. Code is written out for all
blocks, and takes minutes to compile beyond."""
MOST_VALUES = 2**31
"""Values of a row buffer of one member, which are counted in 32 bits."""


def obstacle(
    layer: EagerCell | StackedCell,
    x: Tensor | Tokens,
    states: Sequence[Tensor],
    rows: Rows | TracedRows,
) -> str:
    """Why the kernels cannot run a layer, its input, states and rows; empty if they can.

    All tensors are plain, of one precision and on one device. If the kernels can run the layer,
    their code is compiled, or comes from Triton's cache.
    """
    given = x.table if isinstance(x, Tokens) else x
    if isinstance(rows, TracedRows):
        return "torch records operations, which a kernel is not"
    if given.dtype != torch.float32:
        return f"the kernels compute in float32, got {given.dtype}"
    if torch.is_autocast_enabled(given.device.type):
        return "autocast rounds what the kernels read"
    if not _has_triton():
        return "triton is not installed: pip install triton"
    precision = PRECISIONS[torch.get_float32_matmul_precision()]
    if reason := _too_large(layer.cell, layer.sizes[0], layer.hidden_size, precision, rows.total):
        return reason
    return _no_room(layer, given.device, precision, ragged=not rows.dense)


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _too_large(
    cell: Cell, input_size: int, hidden_size: int, precision: Precision, total: int
) -> str:
    """Why a layer's sizes are too large whatever the GPU."""
    layout = kernels(cell, input_size, hidden_size, precision).layout
    entries = layout.n_weights
    if entries > MOST_ENTRIES:
        return (
            f"its matrices have {entries} entries within the loop, in blocks of up to 64 columns, "
            f"and the kernels take {MOST_ENTRIES}"
        )
    if total * layout.widest_row >= MOST_VALUES:
        return f"{total} rows of {layout.widest_row} values are more than 2**31 values"
    return ""


def _no_room(
    layer: EagerCell | StackedCell, device: torch.device, precision: Precision, *, ragged: bool
) -> str:
    """Why a device cannot hold a program of the kernels."""
    from triton import knobs

    if knobs.runtime.interpret:  # on any device, as NumPy
        return ""
    if device.type != "cuda":
        return f"the kernels run on GPUs of CUDA, got a tensor on {device}"
    try:
        compiler()  # Triton starts kernels by a few lines of C
    except CompilerError as error:
        return f"triton needs a C compiler: {error}"
    about = torch.cuda.get_device_properties(device)
    capability = 10 * about.major + about.minor
    if capability < CAPABILITY:
        version = f"{about.major}.{about.minor}"
        return f"the kernels need compute capability 8.0 or newer, {about.name} has {version}"
    most = shared_memory(device)
    made = kernels(layer.cell, layer.sizes[0], layer.hidden_size, precision, most)
    shared = _shared(made, capability, ragged=ragged)
    if shared > most:
        return f"a program takes {shared} bytes of shared memory, and {about.name} has {most}"
    return ""


@functools.lru_cache(maxsize=256)
def _shared(made: Kernels, capability: int, *, ragged: bool) -> int:
    """The shared memory of the kernel that takes more of it, in bytes."""
    codes = [device_code(made, name, capability, ragged=ragged) for name in ("forward", "backward")]
    return max(int(code.metadata.shared) for code in codes)
