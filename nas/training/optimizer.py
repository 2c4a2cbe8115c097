"""Gradient steps for all members at once: SGD with momentum, or AdamW, with the formulas of torch.

Each member has its own rate, momentum and clip norm. A member's parameters are one row of a matrix,
so that a step is a few torch operations whatever the number of members and of parameters; on the
CPU it is one pass in C.
"""

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.compile import native
from nas.compile.backend import described
from nas.nn.settings import Settings

SOURCE = Path(__file__).with_suffix(".c")

SLOT = 16
"""Every parameter begins at a multiple of this many values: 64 bytes of float32, a memory line."""
ROW = 32
"""Every member begins at a multiple of this many values, two of the widest vectors: no vector
operation then ends inside a member, where its last values could be rounded in another way."""
BETA_1, BETA_2, EPSILON, WEIGHT_DECAY = 0.9, 0.999, 1e-8, 0.01
"""The constants of AdamW (Loshchilov & Hutter 2019), as in torch."""


class StackedOptimizer:
    """Owns the memory of stacked parameters, (members, …) each, and of their gradients.

    The settings' optimizer must be one for all members.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], settings: Sequence[Settings]) -> None:
        self.parameters = list(parameters)
        self.kind = settings[0].optimizer
        assert all(setting.optimizer == self.kind for setting in settings)
        self.n_steps = 0
        self._pack()
        self.rates = self._column([setting.learning_rate for setting in settings])
        self.clip_norms = self._column([setting.clip_norm for setting in settings])
        self.momenta = self._column([setting.momentum for setting in settings])
        n_moments = {"sgd": int(self.momenta.any()), "adamw": 2}[self.kind]
        self.moments = [torch.zeros_like(self.values) for _ in range(n_moments)]
        runs_in_c = described("auto", self.values) == "C"
        self._in_c = _functions(self.values.dtype) if runs_in_c else None

    def _column(self, values: Sequence[float]) -> Tensor:
        # By float64: a rate beyond float32 is infinite, and its member diverges.
        return torch.tensor(values, dtype=torch.float64).to(self.values).unsqueeze(1)

    @torch.no_grad()
    def _pack(self) -> None:
        """Copy the parameters into rows of a matrix, and make them views of it."""
        starts, end = [], 0
        for parameter in self.parameters:
            starts.append(end)
            end += _rounded(parameter[0].numel(), SLOT)
        first = self.parameters[0]
        self.values = first.new_zeros((len(first), _rounded(end, ROW)))
        self.gradients = torch.zeros_like(self.values)
        self._places: dict[int, Tensor] = {}
        for parameter, start in zip(self.parameters, starts, strict=True):
            place = slice(start, start + parameter[0].numel())
            parameter.data = self.values[:, place].view(parameter.shape).copy_(parameter)
            parameter.grad = None
            self._places[id(parameter)] = self.gradients[:, place].view(parameter.shape)

    def place(self, tensor: Tensor) -> Tensor | None:
        """Where the gradient of a parameter may be written, which is zero before each step, in
        place of its `grad`; None for other tensors."""
        return self._places.get(id(tensor))

    @torch.no_grad()
    def take_gradients(self) -> Tensor:
        """Add the parameters' gradients to what was written to their places; return the norm of
        each member's, (members,)."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                self._places[id(parameter)].add_(parameter.grad)
                parameter.grad = None
        if self._in_c is None:
            norms: Tensor = torch.linalg.vector_norm(self.gradients, dim=1)
            return norms
        norms, step = self.gradients.new_empty(len(self.gradients)), self._step(None)
        self._in_c["norms"](step.ctypes.data, norms.data_ptr())  # `step` lives until C is done
        return norms

    def _step(self, norms: Tensor | None) -> NDArray[np.int64]:
        """`step_t` of optimizer.c."""
        moments = [*self.moments, None, None][:2]
        given = (self.values, self.gradients, *moments, norms)
        settings = (self.clip_norms, self.rates, self.momenta)
        places = [0 if t is None else t.data_ptr() for t in (*given, *settings)]
        return np.array([*self.values.shape, *places], dtype=np.int64)

    @torch.no_grad()
    def step(self, norms: Tensor) -> None:
        """Scale each gradient down to its clip norm and take a step.

        `norms` are what `take_gradients` returned, all finite.
        """
        self.n_steps += 1
        if self._in_c is not None:
            self._step_in_c(self._step(norms))
            return
        scales = (self.clip_norms / (norms.unsqueeze(1) + 1e-6)).clamp_(max=1.0)
        steps = self.gradients.mul_(scales)
        if self.kind == "adamw":
            self._adamw(steps)
        else:  # a member without momentum is rounded alike, whether others have one or not
            if self.moments:
                steps = self.moments[0].mul_(self.momenta).add_(steps)
            self.values.addcmul_(steps, -self.rates)
        self.gradients.zero_()

    def _step_in_c(self, step: NDArray[np.int64]) -> None:
        assert self._in_c is not None
        if self.kind == "sgd":
            self._in_c["sgd"](step.ctypes.data)
            return
        corrections = (1 - BETA_1**self.n_steps, math.sqrt(1 - BETA_2**self.n_steps))
        constants = np.array([BETA_1, BETA_2, EPSILON, WEIGHT_DECAY, *corrections])
        self._in_c["adamw"](step.ctypes.data, constants.ctypes.data)

    def _adamw(self, gradients: Tensor) -> None:
        mean, square = self.moments
        self.values.mul_(1 - self.rates * WEIGHT_DECAY)
        mean.lerp_(gradients, 1 - BETA_1)
        square.mul_(BETA_2).addcmul_(gradients, gradients, value=1 - BETA_2)
        root = math.sqrt(1 - BETA_2**self.n_steps)
        divisor = square.sqrt().div_(root).add_(EPSILON)
        step_sizes = self.rates / -(1 - BETA_1**self.n_steps)
        self.values.addcmul_(mean / divisor, step_sizes)

    def set_rates(self, rates: Sequence[float]) -> None:
        self.rates = self._column(rates)

    @torch.no_grad()
    def keep(self, indices: Sequence[int]) -> None:
        """Keep these members; the parameters must have been cut down to them before."""
        index = torch.tensor(indices, dtype=torch.long, device=self.values.device)
        gradients = self.gradients[index]
        self.moments = [moment[index] for moment in self.moments]
        self.rates, self.clip_norms, self.momenta = (
            column[index] for column in (self.rates, self.clip_norms, self.momenta)
        )
        self._pack()
        self.gradients.copy_(gradients)


@cache
def _functions(dtype: torch.dtype) -> dict[str, Any] | None:
    """The functions of optimizer.c by name; None if they cannot be compiled."""
    one = ctypes.c_void_p
    try:
        loaded = native.library(SOURCE.read_text(), dtype == torch.float64)
    except native.CompilerError:  # the cells, which are compiled too, say so
        return None
    numbers = {"norms": 2, "sgd": 1, "adamw": 2}
    return {name: loaded.function(name, *[one] * count) for name, count in numbers.items()}


def _rounded(number: int, unit: int) -> int:
    return -(-number // unit) * unit
