"""The windows of DRAW as C, with their gradients; `nas/nn/draw.py` has the same in torch.

Of an image of 8 x 8 pixels there is so little to compute that torch spends nearly all of the time
of a window on starting some 50 operations and as many of their gradients. Each image is gone
through by itself, so that what a member gives does not depend on the others.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.compile import native
from nas.compile.backend import Backend, described
from nas.compile.recording import is_recorded, is_transformed

SOURCE = Path(__file__).with_suffix(".c")


def runs_in_c(backend: Backend, tensor: Tensor) -> bool:
    """Whether windows on a tensor of this kind are computed in C."""
    return described(backend, tensor) == "C" and not is_transformed() and not is_recorded(tensor)


def look(pictures: Tensor, canvas: Tensor, five: Tensor, n: int, side: int) -> Tensor:
    """Return what windows of n x n filters show of pictures, (images, pixels), and of what canvases
    lack, (…, images, pixels): (…, images, 2 * n * n). Windows are (…, images, 5)."""
    function: Any = _Look  # torch declares no types of `apply`
    result: Tensor = function.apply(_library(n, side, canvas.dtype), pictures, canvas, five)
    return result


def write_on(canvas: Tensor, patch: Tensor, five: Tensor, n: int, side: int) -> Tensor:
    """Return canvases, (…, pixels), with patches, (…, n * n), at their windows, (…, 5)."""
    function: Any = _Write
    result: Tensor = function.apply(_library(n, side, canvas.dtype), canvas, patch, five)
    return result


class _Library:
    """The compiled functions for one number of filters and of pixels."""

    def __init__(self, n: int, side: int, dtype: torch.dtype) -> None:
        self.n = n
        text = f"#define N {n}\n#define SIDE {side}\n{SOURCE.read_text()}#undef N\n#undef SIDE\n"
        loaded = native.library(text, dtype == torch.float64)
        pointer, number = ctypes.c_void_p, ctypes.c_long
        self.look = loaded.function("look", *[pointer] * 4, number, number)
        self.look_back = loaded.function("look_back", *[pointer] * 6, number, number)
        self.write_on = loaded.function("write_on", *[pointer] * 4, number)
        self.write_back = loaded.function("write_back", *[pointer] * 5, number)


@cache
def _library(n: int, side: int, dtype: torch.dtype) -> _Library:
    return _Library(n, side, dtype)


def _places(*tensors: Tensor) -> list[int]:
    """Return where C finds the values of contiguous tensors."""
    return [tensor.data_ptr() for tensor in tensors]


class _Look(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, library: _Library, *given: Tensor) -> Tensor:
        pictures, canvas, five = (tensor.contiguous() for tensor in given)
        patch = canvas.new_empty(*canvas.shape[:-1], 2 * library.n**2)
        sizes = (len(pictures), five.numel() // 5)
        library.look(*_places(pictures, canvas, five, patch), *sizes)
        ctx.library = library
        ctx.save_for_backward(pictures, canvas, five)
        return patch

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        pictures, canvas, five = ctx.saved_tensors
        found = torch.empty_like(canvas), torch.empty_like(five)
        places = _places(pictures, canvas, five, gradient.contiguous(), *found)
        ctx.library.look_back(*places, len(pictures), five.numel() // 5)
        return None, None, *found


class _Write(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, library: _Library, *given: Tensor) -> Tensor:
        before, patch, five = (tensor.contiguous() for tensor in given)
        canvas = torch.empty_like(before)
        library.write_on(*_places(before, patch, five, canvas), five.numel() // 5)
        ctx.library = library
        ctx.save_for_backward(patch, five)
        return canvas

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        patch, five = ctx.saved_tensors
        found = torch.empty_like(patch), torch.empty_like(five)
        of_canvas = gradient.contiguous()
        places = _places(patch, five, of_canvas, *found)
        ctx.library.write_back(*places, five.numel() // 5)
        return None, gradient, *found
