"""K members of one layer as one module: the parameters of K EagerCells, stacked.

Members share a cell and sizes and differ in weights. A loop that runs them together pays Python,
autograd and the optimizer once. What a member gives is, to the bit, what it gives alone.
"""

import copy
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, TracedRows

LINE = 64
"""Bytes of a cache line, as wide as the widest vectors of a CPU."""


class StackedCell(nn.Module):
    """The parameters of `members` layers under EagerCell's names, each (members, …).

    A member's part of a parameter is contiguous, but members may lie apart in memory
    (`stride(0)` may exceed the size of a part): an optimizer keeps all parameters of a member in
    one row of a matrix.

    Raises:
        CellError: if the cell cannot have these sizes.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        members: int,
        *,
        bias: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        # In a tuple, so that its parameters, which have no values, are not this module's.
        self._template = (EagerCell(cell, input_size, hidden_size, bias, "meta", dtype),)
        self.cell = cell
        self.hidden_size = hidden_size
        self.sizes = self.template.sizes
        self.labels = self.template.labels
        self.members = members
        for name, parameter in self.template.named_parameters():
            tensor = torch.zeros((members, *parameter.shape), dtype=dtype)
            self.register_parameter(name, nn.Parameter(tensor))

    @property
    def template(self) -> EagerCell:
        """A member without values."""
        return self._template[0]

    @torch.no_grad()
    def reset_parameters(
        self, init_scales: Sequence[float], generators: Sequence[torch.Generator]
    ) -> None:
        """Draw member k as `EagerCell.reset_parameters(init_scales[k], generators[k])` does."""
        like = next(self.parameters(), torch.empty(0))
        member = copy.deepcopy(self.template).to(like.dtype).to_empty(device=like.device)
        pairs = zip(init_scales, generators, strict=True)
        for k, (init_scale, generator) in enumerate(pairs):
            member.reset_parameters(init_scale, generator)
            for name, drawn in member.named_parameters():
                self.get_parameter(name)[k] = drawn

    def weight_at(self, i: int) -> Tensor:
        """The weights of a node, (members, …)."""
        weight: Tensor = getattr(self, f"{self.labels[i]}_weight")
        return weight

    def bias_of(self, i: int) -> Tensor | None:
        """The biases of a linear map, (members, width), if it has them."""
        bias: Tensor | None = getattr(self, f"{self.labels[i]}_bias", None)
        return bias

    def with_parameters(self, parameters: Mapping[str, Tensor]) -> "StackedCell":
        """A layer with these tensors, (members, …), which may have a history, in place of its
        parameters."""
        layer = StackedCell.__new__(StackedCell)
        members = len(next(iter(parameters.values())))
        layer.__dict__ = {**self.__dict__, "_parameters": dict(parameters), "members": members}
        return layer

    def member(self, parameters: Mapping[str, Tensor]) -> EagerCell:
        """A layer with these parameters."""
        return self.template.with_parameters(parameters)

    def resolved(self) -> "StackedCell":
        """This layer: members have no hooks and no parametrizations."""
        return self

    def alone(
        self, apart: Callable[[Tensor], Sequence[Tensor]], nodes: Container[int] | None = None
    ) -> list[EagerCell]:
        """The members as layers of their own, with the parameters of all nodes or of these ones;
        `apart` takes a stacked tensor apart."""
        named = dict(self.named_parameters(recurse=False))
        if nodes is not None:
            owners = [label for i, label in self.labels.items() if i in nodes]
            wanted = {f"{label}_{kind}" for label in owners for kind in ("weight", "bias")}
            named = {name: tensor for name, tensor in named.items() if name in wanted}
        parts = parts_of(named.values(), self.members, apart)
        return [self.member(dict(zip(named, part, strict=True))) for part in parts]

    def member_state(self, k: int) -> dict[str, Tensor]:
        """The state_dict of member k alone, as views."""
        return {name: tensor.detach()[k] for name, tensor in self.named_parameters()}

    @torch.no_grad()
    def keep(self, indices: Sequence[int]) -> None:
        """Keep these members, in this order, and drop the others."""
        index = torch.tensor(indices, dtype=torch.long)
        for parameter in self.parameters():
            parameter.data = parameter.index_select(0, index.to(parameter.device))
            parameter.grad = None
        self.members = len(indices)


def parts_of(
    tensors: Iterable[Tensor], members: int, apart: Callable[[Tensor], Sequence[Tensor]]
) -> list[list[Tensor]]:
    """Each member's part of each tensor, which `apart` takes apart."""
    of_tensors = [apart(tensor) for tensor in tensors]
    return [[parts[k] for parts in of_tensors] for k in range(members)]


class Inputs(NamedTuple):
    """What a layer reads beside its states; for members, tensors with a leading dimension."""

    x: Tensor
    """(rows of all steps, width); with tokens, the table of their embeddings."""
    tokens: Tensor | None
    """(rows of all steps,), which members share."""
    rows: Rows | TracedRows
    verticals: Sequence[Tensor]
    reverse: bool

    def alone(self, apart: Callable[[Tensor], Sequence[Tensor]]) -> "list[Inputs]":
        """What each member reads; `apart` takes a stacked tensor apart."""
        parts = parts_of((self.x, *self.verticals), len(self.x), apart)
        return [self._replace(x=x, verticals=verticals) for x, *verticals in parts]


def is_aligned(tensor: Tensor) -> bool:
    """Whether the tensor begins a cache line, as that of a member alone does.

    Libraries round products otherwise where memory is otherwise aligned.
    """
    return tensor.data_ptr() % LINE == 0


def aligned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy at the start of a cache line."""
    return tensor if is_aligned(tensor) else tensor.clone()


class _Apart(torch.autograd.Function):
    """The parts of a stacked tensor. One function for all of them, as each costs microseconds."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(aligned, tensor.unbind()))

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return torch.stack(gradients)


class _Together(torch.autograd.Function):
    """Parts as one tensor; each has its gradient at the start of a cache line."""

    @staticmethod
    def forward(_: Any, *parts: Tensor) -> Tensor:
        return torch.stack(parts)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(aligned, gradient.unbind()))


def taken_apart(tensor: Tensor) -> list[Tensor]:
    """The members' parts of a stacked tensor, each at the start of a cache line, as the tensor of a
    member alone is."""
    function: Any = _Apart  # torch declares no types of `apply`
    return list(function.apply(tensor))


def stacked(parts: Iterable[Tensor]) -> Tensor:
    """What members give, as one tensor that goes back to each as if it were alone."""
    function: Any = _Together
    result: Tensor = function.apply(*parts)
    return result
