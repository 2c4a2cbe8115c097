"""The output layer and the loss of all members in C, which `losses.py` has in torch.

A minibatch of a small model leaves so little to compute that torch spends most of its time on
starting some twenty operations for each member. Each member is gone through by itself, so that what
it gives does not depend on the others.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas.compile import native
from nas.compile.backend import IN_C, usual
from nas.compile.buffers import block_of
from nas.compile.call import MULTIPLIED
from nas.compile.loop import LANES
from nas.compile.native import CompilerError
from nas.errors import UserError
from nas.tasks.base import Head
from nas.training.window_tensors import TensorWindow

SOURCE = Path(__file__).with_name("losses.c")
ORDER: tuple[Head, ...] = ("categorical", "bernoulli", "gaussian")
"""The heads in the order of `head_t`."""
NO_FAULT = np.iinfo(np.int64).min

Layer = tuple[Tensor, Tensor, Tensor]
"""y, (members, rows, width), and the weight and bias of the output layer; or their gradients."""


class _Library:
    """The compiled functions for one precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        loaded = native.library(SOURCE.read_text(), dtype == torch.float64)
        pointers = ctypes.c_void_p, ctypes.c_void_p
        self.losses = loaded.function("losses", *pointers)
        self._room = loaded.function("room", *pointers)

    def room(self, sizes: int) -> int:
        """The number of values for which `losses` needs room, from the address of its sizes."""
        count = ctypes.c_long()
        self._room(sizes, ctypes.addressof(count))
        return count.value


@cache
def _library(dtype: torch.dtype) -> _Library | None:
    try:
        return _Library(dtype)
    except CompilerError:  # the cells, which are compiled before, have said so
        return None


def runs_in_c(y: Tensor, weight: Tensor, window: TensorWindow) -> bool:
    """Whether losses are computed in C, on one thread: not where others would help torch with what
    one member has to do."""
    if not y.is_cpu or y.dtype not in LANES or usual() not in IN_C:
        return False
    products = len(window.targets) * weight.shape[-2] * weight.shape[-1]
    if torch.get_num_threads() > 1 and products > MULTIPLIED:
        return False
    return _library(y.dtype) is not None


def losses_in_c(
    layer: Layer,
    window: TensorWindow,
    head: Head,
    gradients: Layer | None = None,
    right: Tensor | None = None,
) -> Tensor:
    """Return the losses, summed over scored positions, a stream, (members,).

    Fill `gradients` with those of their sum, and `right`, (members, scored positions), with whether
    each guess is right.

    Raises:
        UserError: if targets are not such as the head reads, or places not rows of y.
    """
    library = _library(layer[0].dtype)
    assert library is not None, "`runs_in_c` was asked"
    y, weight, bias = (_whole(tensor) for tensor in layer)
    members, rows, width = y.shape
    outputs, is_part = weight.shape[1], window.places is not None
    _check_shapes(window, head, rows, outputs)
    targets = window.targets.to(torch.int64 if head == "categorical" else y.dtype).contiguous()
    scored = None if window.places is None else window.places.long().contiguous()
    each = (members, rows, len(targets), is_part, width, outputs)
    into: Sequence[Tensor | None] = gradients or (None, None, None)
    apart = [0 if t is None else t.stride(0) for t in (y, weight, bias, *into[1:])]
    sizes = np.array([*each, window.n_streams, ORDER.index(head), *apart], dtype=np.int64)
    address = sizes.ctypes.data
    losses, scratch = y.new_empty(members), block_of(library.room(address), y)
    faults = np.full(2, NO_FAULT)
    given = (y, weight, bias, scored, targets, losses, right, *into, scratch)
    places = [0 if tensor is None else tensor.data_ptr() for tensor in given]
    fault = faults.ctypes.data
    values = np.array([*places, fault, fault + faults.itemsize], dtype=np.int64)
    library.losses(address, values.ctypes.data)
    no_class, no_place = faults.tolist()
    if no_class != NO_FAULT:
        rule = f"at least 0 and below {outputs}, the classes of the output layer"
        raise UserError(f"targets must be {rule}, got {no_class}.")
    if no_place != NO_FAULT:
        rule = f"at least 0 and below {rows}, the steps of a minibatch"
        raise UserError(f"places of scored steps must be {rule}, got {no_place}.")
    return losses


def _check_shapes(window: TensorWindow, head: Head, rows: int, outputs: int) -> None:
    """Raise UserError unless targets have the shape and type that C reads."""
    targets, scored = window.targets, rows if window.places is None else len(window.places)
    shape = (scored,) if head == "categorical" else (scored, outputs)
    if targets.shape != shape:
        raise UserError(
            f"targets of a window must have the shape {shape}, got {tuple(targets.shape)}."
        )
    if head == "categorical" and (targets.is_floating_point() or targets.is_complex()):
        raise UserError(f"targets that are classes must be whole numbers, got {targets.dtype}.")


def _whole(tensor: Tensor) -> Tensor:
    """The tensor, whose members are contiguous but may lie apart."""
    return tensor if tensor[0].is_contiguous() else tensor.contiguous()
