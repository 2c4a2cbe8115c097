"""The eager reference: a torch function for each op. It is slow, and the oracle of every backend.

`EagerCell` holds the parameters of a layer in one direction under names made from the cell's text,
so that a state_dict does not depend on the backend that runs it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.cell.count import check_sizes, size
from nas.cell.graph import Node, is_learned
from nas.cell.ops import FIXED, INPUTS
from nas.errors import CellError

Operand = Tensor | float


def _tensor(a: Operand, like: Operand | None = None) -> Tensor:
    if isinstance(a, Tensor):
        return a
    if isinstance(like, Tensor):
        if like.is_cpu:
            return like.new_tensor(a)
        # Made where it is used: a CUDA graph cannot hold a copy from the CPU.
        return torch.full((), a, dtype=like.dtype, device=like.device)
    return torch.tensor(a, dtype=torch.float64)


def _layer_norm(a: Tensor, eps: float) -> Tensor:
    centred = a - a.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps)


def _rms_norm(a: Tensor, eps: float) -> Tensor:
    return a / torch.sqrt(a.square().mean(-1, keepdim=True) + eps)


# What each elementwise or row op does to torch tensors; attributes follow the arguments.
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": lambda a, b: torch.maximum(_tensor(a, b), _tensor(b, a)),
    "min": lambda a, b: torch.minimum(_tensor(a, b), _tensor(b, a)),
    "blend": lambda a, b, c: a * b + (1 - a) * c,
    "neg": lambda a: -a,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "hard_sigmoid": lambda a, slope: F.hardtanh(slope * a + 0.5, 0.0, 1.0),
    "softplus": lambda a: F.softplus(a, threshold=40.0),  # exact from there on; exp(89) is inf
    "exp": torch.exp,
    "log": torch.log,
    "abs": torch.abs,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "floor": torch.floor,
    "sin": torch.sin,
    "cos": torch.cos,
    "silu": F.silu,
    "gelu": F.gelu,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "softmax": lambda a: torch.softmax(a, -1),
}


def of_numbers(n: Node, args: Sequence[float]) -> float:
    """The result of an operation on numbers, in float64, whatever a module's dtype."""
    return float(FUNCTIONS[n.op](*map(_tensor, args), *(value for _, value in n.attrs)))


class EagerCell(nn.Module):
    """A step of a cell with its parameters, a torch function for each op.

    Weights are drawn from U[-s, s] with s = init_scale / sqrt(hidden_size) and biases start at the
    value that the cell gives them (0 unless it says otherwise).

    Raises:
        CellError: if the cell cannot have these sizes.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(cell, input_size, hidden_size)
        self.cell = cell
        self.hidden_size = hidden_size
        self.sizes = [size(width, input_size, hidden_size) for width in cell.widths]
        self.labels = parameter_labels(cell)
        self.program = [
            (i, cell.nodes[i]) for i in sorted(cell.live) if cell.nodes[i].op not in INPUTS
        ]
        self.shapes = {
            f"{label}_{part}": shape
            for i, label in self.labels.items()
            for part, shape in self._shapes(i, bias).items()
        }
        """The shapes of the parameters by name."""
        for name, shape in self.shapes.items():
            tensor = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(tensor))
        self.reset_parameters()

    def _shapes(self, i: int, bias: bool) -> dict[str, tuple[int, ...]]:
        n, width = self.cell.nodes[i], self.sizes[i]
        if n.op == "linear":
            shapes: dict[str, tuple[int, ...]] = {
                "weight": (width, sum(self.sizes[arg] for arg in n.args))
            }
            return shapes | ({"bias": (width,)} if bias and n.attr("bias") is not None else {})
        if n.op == "block_diagonal":
            blocks = int(n.number("blocks"))
            return {"weight": (blocks, width // blocks, width // blocks)}
        return {"weight": (width, width) if n.op in ("masked", "skew") else (width,)}

    @torch.no_grad()
    def reset_parameters(
        self, init_scale: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        """Draw new weights; the scale is that of Jozefowicz et al. 2015, section 3.7."""
        bound = init_scale / math.sqrt(self.hidden_size)
        for i, label in self.labels.items():
            n, weight = self.cell.nodes[i], self.get_parameter(f"{label}_weight")
            initial = n.attr("init") if n.op in ("vector", "scalar", "diagonal") else None
            if initial is not None:
                weight.fill_(float(initial))
            else:
                weight.uniform_(-bound, bound, generator=generator)
            if n.op == "linear" and (eye := n.number("eye")):
                weight.diagonal().add_(eye)
            if f"{label}_bias" in self._parameters:
                self.get_parameter(f"{label}_bias").fill_(n.number("bias"))

    def step(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        verticals: Sequence[Tensor],
        step: int | Tensor,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """One step: x (batch, input), states and verticals (batch, width); returns the same for y.

        `step` is the index of the step, (batch, 1) where it differs between sequences.
        """
        values = self.values(x, states, verticals, step)
        cell = self.cell
        y = self.row(values[cell.y], cell.y, x)
        new_states = [self.row(values[i], i, x) for i in cell.new_states]
        above = [self.row(values[i], i, x, self.hidden_size) for i in cell.new_verticals]
        return y, new_states, above

    def values(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        verticals: Sequence[Tensor],
        step: int | Tensor,
    ) -> dict[int, Operand]:
        """The values of all live nodes in one step; `row` gives one its full shape."""
        values: dict[int, Operand] = dict(enumerate((x, *states, *verticals)))
        for i, n in self.program:
            values[i] = self.value(i, n, [values[arg] for arg in n.args], x, step)
        return values

    def value(self, i: int, n: Node, args: list[Operand], x: Tensor, step: int | Tensor) -> Operand:
        if n.op == "constant":
            return n.number("value")
        if n.op == "step":
            return step.to(x.dtype) if isinstance(step, Tensor) else _tensor(float(step), x)
        if n.op == "unit":
            return self._unit(i, n, x)
        if is_learned(n):
            return self._learned(i, n, args, x)
        if n.op in FIXED:
            return F.linear(self.row(args[0], n.args[0], x), self.square(i, n, x))
        numbers = [arg for arg in args if isinstance(arg, float)]
        if len(numbers) == len(args):
            return of_numbers(n, numbers)
        return FUNCTIONS[n.op](*args, *(value for _, value in n.attrs))

    def _learned(self, i: int, n: Node, args: list[Operand], x: Tensor) -> Tensor:
        weight = self.weight_at(i)
        if not args:
            return weight
        rows = [self.row(a, arg, x) for a, arg in zip(args, n.args, strict=True)]
        if n.op == "diagonal":
            return rows[0] * weight
        if n.op == "block_diagonal":
            parts = rows[0].reshape(*rows[0].shape[:-1], *weight.shape[:2], 1)
            return torch.flatten(weight @ parts, -3)
        if n.op in ("masked", "skew"):
            return F.linear(rows[0], self.square(i, n, x))
        return F.linear(
            torch.cat(rows, -1) if len(rows) > 1 else rows[0],
            weight,
            self.bias_of(i),
        )

    def _unit(self, i: int, n: Node, x: Tensor) -> Tensor:
        index = torch.arange(self.sizes[i], device=x.device)
        blocks = n.attr("blocks")
        return (index // (self.sizes[i] // int(n.number("blocks"))) if blocks else index).to(
            x.dtype
        )

    def square(self, i: int, n: Node, x: Tensor) -> Tensor:
        """The matrix of a square map, made of its weight if it has one."""
        if n.op in FIXED:
            if x.is_cpu:
                return x.new_tensor(fixed_matrix(n, self.sizes[i]))
            return _copied(n, self.sizes[i], x.dtype, x.device)
        weight = self.weight_at(i)
        if n.op == "masked":
            return weight * block_mask(n, weight)
        return weight + n.number("transpose") * weight.mT

    def resolved(self) -> "EagerCell":
        """This layer, or a copy of it whose parameters are what hooks and parametrizations give.

        They replace a parameter by an attribute, which is read once here and not at each step.

        Raises:
            CellError: if a parameter has lost its shape, of which C reads all values.
        """
        parameters = self._parameters
        changed: dict[str, Tensor] = {}
        for name, shape in self.shapes.items():
            tensor = parameters.get(name)
            if tensor is None:
                tensor = changed[name] = getattr(self, name)
            if tensor is not None and tensor.shape != shape:
                raise CellError(
                    f"{name} of a layer of {self.cell.name} must have the shape {shape}, got "
                    f"{tuple(tensor.shape)}: assign a tensor of that shape."
                )
        return self.with_parameters({**parameters, **changed}) if changed else self

    def with_parameters(self, parameters: Mapping[str, Tensor | None]) -> "EagerCell":
        """A layer with these tensors, which may have a history, in place of its parameters."""
        layer = EagerCell.__new__(EagerCell)  # `copy` does not take parametrized modules
        layer.__dict__ = {**self.__dict__, "_parameters": dict(parameters)}
        return layer

    # A module's own look-up of plain parameters takes twice as long.

    def weight_at(self, i: int) -> Tensor:
        """The weight of a node."""
        weight = self._parameters[f"{self.labels[i]}_weight"]
        assert isinstance(weight, Tensor)
        return weight

    def bias_of(self, i: int) -> Tensor | None:
        """The bias of a linear map, if it has one."""
        return self._parameters.get(f"{self.labels[i]}_bias")

    def row(self, value: Operand, index: int, x: Tensor, width: int | None = None) -> Tensor:
        """A value as (batch, width); constants and learned leaves are smaller."""
        shape = (*x.shape[:-1], width or self.sizes[index])
        row = _tensor(value, x)
        return row if row.shape == shape else row.expand(shape)


def block_mask(n: Node, weight: Tensor) -> Tensor:
    """1 where a masked matrix has an entry: blocks (i, j) with j >= i (upper) or j <= i (lower)."""
    block = torch.arange(weight.shape[-1], device=weight.device) // (
        weight.shape[-1] // int(n.number("blocks"))
    )
    after = block[None, :] >= block[:, None]
    return (after if n.attr("mask") == "block_upper" else after.T).to(weight.dtype)


@cache
def fixed_matrix(n: Node, width: int) -> NDArray[np.float64]:
    """The matrix of a map that is not learned."""
    if n.op == "cumsum":
        return np.tri(width)
    from scipy.linalg import expm

    row, column = np.arange(width)[:, None], np.arange(width)[None, :]
    below = np.where((row - column) % 2 == 0, -1.0, 1.0)
    flow = (2 * row + 1) * np.where(row < column, -1.0, below)
    return np.asarray(expm(flow / n.number("window")))


@lru_cache(maxsize=64)
def _copied(n: Node, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`fixed_matrix` on a GPU, copied there once."""
    return torch.as_tensor(fixed_matrix(n, width), dtype=dtype, device=device)


def parameter_labels(cell: Cell) -> dict[int, str]:
    """A name for each live node with parameters: that of the line of text it stands in."""
    line_of: dict[int, str] = {}
    for i in reversed(range(len(cell.nodes))):
        line_of[i] = cell.nodes[i].name or line_of.get(i, "y")
        for arg in cell.nodes[i].args:
            line_of[arg] = line_of[i]
    labels: dict[int, str] = {}
    taken: set[str] = set()
    lines = set(line_of.values())
    for i in sorted(cell.live):
        if is_learned(cell.nodes[i]):
            line = line_of[i]
            numbered = (f"{line}_{k}" for k in count(2))
            free = (label for label in numbered if label not in taken | lines)
            labels[i] = next(free) if line in taken else line
            taken.add(labels[i])
    return labels
