"""The output layer and the loss of all members in C, which `losses.py` has in torch.

A minibatch of a small model leaves so little to compute that torch spends most of its time on
starting some twenty operations for each member. Each member is gone through by itself, so that what
it gives does not depend on the others.
"""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas.compile import native
from nas.compile.backend import IN_C, usual
from nas.compile.buffers import block_of
from nas.compile.layer_pass import Place
from nas.compile.loop import LANES
from nas.compile.native import CompilerError
from nas.tasks.base import Head
from nas.training.window_tensors import TensorWindow

SOURCE = Path(__file__).with_name("losses.c")
ORDER: tuple[Head, ...] = ("categorical", "bernoulli", "gaussian")
"""The heads in the order of `head_t`."""


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


def runs_in_c(y: Tensor) -> bool:
    """Whether the losses of the rows that members give are computed in C."""
    return y.is_cpu and y.dtype in LANES and usual() in IN_C and _library(y.dtype) is not None


def differentiated_in_c(
    y: Tensor,
    weight: Tensor,
    bias: Tensor,
    window: TensorWindow,
    head: Head,
    place: Place = lambda _: None,
) -> tuple[Tensor, list[Tensor]]:
    """Return the losses, summed over scored positions, a stream, (members,), and the gradients of
    their sum by y, weight and bias, of the latter two where `place` says; other arguments as those
    of `losses`."""
    of = [y.new_empty(y.shape)]
    for parameter in (weight, bias):
        there = place(parameter)
        of.append(parameter.new_empty(parameter.shape) if there is None else there)
    return _run(y, weight, bias, window, head, None, of), of


def measured_in_c(
    y: Tensor, weight: Tensor, bias: Tensor, window: TensorWindow, head: Head
) -> tuple[Tensor, Tensor]:
    """Return the same losses, and whether each guess is right: (members, scored positions)."""
    right = torch.empty(len(y), len(window.targets), dtype=torch.bool)
    return _run(y, weight, bias, window, head, right, [None] * 3), right


def _run(
    y: Tensor,
    weight: Tensor,
    bias: Tensor,
    window: TensorWindow,
    head: Head,
    right: Tensor | None,
    of: list[Tensor] | list[None],
) -> Tensor:
    library = _library(y.dtype)
    assert library is not None, "`runs_in_c` was asked"
    y, weight, bias = (_whole(tensor) for tensor in (y, weight, bias))
    members, rows, width = y.shape
    kind = torch.int64 if head == "categorical" else y.dtype
    targets = window.targets.to(kind).contiguous()
    apart = [t.stride(0) for t in (y, weight, bias)]
    of_apart = [0 if t is None else t.stride(0) for t in of[1:]]
    n_scored, outputs = len(targets), weight.shape[1]
    each = (members, rows, n_scored, width, outputs, window.n_streams, ORDER.index(head))
    sizes = np.array([*each, *apart, *of_apart], dtype=np.int64)
    address = sizes.ctypes.data
    losses, scratch = y.new_empty(members), block_of(library.room(address), y)
    given = (y, weight, bias, window.places, targets, losses, right, *of, scratch)
    values = np.array([0 if t is None else t.data_ptr() for t in given], dtype=np.int64)
    library.losses(address, values.ctypes.data)
    return losses


def _whole(tensor: Tensor) -> Tensor:
    """The tensor, whose members are contiguous but may lie apart."""
    return tensor if tensor[0].is_contiguous() else tensor.contiguous()
