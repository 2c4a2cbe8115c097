"""K members of one layer as one module: the parameters of K EagerCells, stacked.

Members share a cell and sizes and differ in weights. A loop that runs them together pays Python,
autograd and the optimizer once.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.compile.reference import EagerCell


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
        bias: bool = True,
        device: torch.device | str | None = None,
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
        for name, one in self.template.named_parameters():
            tensor = torch.zeros((members, *one.shape), device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(tensor))

    @property
    def template(self) -> EagerCell:
        """One member without values, for `torch.func.functional_call`."""
        return self._template[0]

    @torch.no_grad()
    def reset_parameters(
        self, init_scales: Sequence[float], generators: Sequence[torch.Generator]
    ) -> None:
        """Draw member k as `EagerCell.reset_parameters(init_scales[k], generators[k])` does."""
        like = next(self.parameters(), torch.empty(0))
        one = copy.deepcopy(self.template).to(like.dtype).to_empty(device=like.device)
        pairs = zip(init_scales, generators, strict=True)
        for k, (init_scale, generator) in enumerate(pairs):
            one.reset_parameters(init_scale, generator)
            for name, drawn in one.named_parameters():
                self.get_parameter(name)[k] = drawn

    def weight_at(self, i: int) -> Tensor:
        """The weights of a node, (members, …)."""
        weight: Tensor = getattr(self, f"{self.labels[i]}_weight")
        return weight

    def bias_of(self, i: int) -> Tensor | None:
        """The biases of a linear map, (members, width), if it has them."""
        bias: Tensor | None = getattr(self, f"{self.labels[i]}_bias", None)
        return bias

    def alone(self, through: Callable[[Tensor], Tensor]) -> list[EagerCell]:
        """The members as layers of their own, whose parameters lead back to the stacked ones
        `through` a function."""
        found = []
        parts = {
            name: [through(part) for part in tensor.unbind()]
            for name, tensor in self.named_parameters()
        }
        for k in range(self.members):
            one = copy.copy(self.template)
            # As functional_call does; the parts are tensors with a history, not parameters.
            one.__dict__["_parameters"] = {name: part[k] for name, part in parts.items()}
            found.append(one)
        return found

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
