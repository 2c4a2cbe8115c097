"""K members of a network as one module: what a batched training run trains."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.compile.backend import Backend
from nas.compile.layer import StackedLayer
from nas.compile.layer_pass import LayerPass, passes
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens
from nas.compile.stacked import StackedCell, aligned, stacked, taken_apart
from nas.nn.layers import Layers
from nas.nn.model import Network, SequenceModel
from nas.nn.rnn import RNN
from nas.nn.settings import Stacking
from nas.tasks.base import Interface

MemberStates = list[list[Tensor]]
"""By layer, the states of a cell, each (members, batch, width)."""


class RNNMembers(Layers):
    """The layers of K `RNN`s that run in one direction.

    Args:
        rnn: one of them; only its sizes are used.
    """

    def __init__(self, rnn: RNN, members: int, backend: Backend) -> None:
        super().__init__(rnn.cell, rnn.hidden_size, backend, rnn.stacking)
        self.output_size = rnn.output_size
        self.layers = nn.ModuleList()
        for layer in rnn.layers:
            assert isinstance(layer, EagerCell)
            self.layers.append(StackedLayer(rnn.cell, layer.sizes[0], rnn.hidden_size, members))

    def run(
        self,
        x: Tensor | Tokens,
        rows: Rows,
        state: MemberStates | None,
        dropped: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, MemberStates]:
        """Run all steps of all layers, x (K, rows of all steps, width) to y likewise; return the
        states after the last step too. `dropped` is applied between layers."""
        return self.run_layers(x, rows, state or self._first(x, rows), dropped)

    @property
    def passes(self) -> bool:
        """Whether `passed` can run the layers."""
        layers = [layer for layer in self.layers if isinstance(layer, StackedLayer)]
        is_plain = self.stacking == "plain" or len(layers) == 1
        return is_plain and all(passes(layer, self.backend) for layer in layers)

    def passed(self, x: Tensor | Tokens, rows: Rows, state: MemberStates | None) -> list[LayerPass]:
        """The passes of the layers over x, each over the y of the one below, which gets a `grad`
        on the way back."""
        made: list[LayerPass] = []
        for layer, starts in zip(self.layers, state or self._first(x, rows), strict=True):
            assert isinstance(layer, StackedLayer)
            made.append(LayerPass(layer, x, rows, starts))
            x = made[-1].y.requires_grad_()
        return made

    def _first(self, x: Tensor | Tokens, rows: Rows) -> MemberStates:
        like = x.table if isinstance(x, Tokens) else x
        return [self._starts(layer, like, rows.batch) for layer in self.layers]

    def _starts(self, layer: nn.Module, like: Tensor, batch: int) -> list[Tensor]:
        assert isinstance(layer, StackedCell)
        return [
            like.new_full((len(like), batch, layer.sizes[1 + i]), state.initial)
            for i, state in enumerate(self.cell.states)
        ]


class Members(nn.Module):
    """Networks that share a cell, sizes and inputs, and differ in weights and dropout.

    On the CPU a member's values do not depend, by a single bit, on the other members.

    Args:
        dropouts: probability of each member, below 1, of dropping a value after a layer.
    """

    NETWORK: ClassVar[type[Network]]
    """The class of a member."""
    rnn: RNNMembers
    """The layers that read."""
    embedding: nn.Parameter
    head_weight: nn.Parameter
    head_bias: nn.Parameter

    def __init__(
        self,
        cell: Cell,
        interface: Interface | int,
        hidden_size: int,
        num_layers: int,
        dropouts: Sequence[float],
        *,
        backend: Backend = "auto",
        stacking: Stacking = "plain",
    ) -> None:
        super().__init__()
        members, sizes = len(dropouts), (hidden_size, num_layers)
        with torch.device("meta"):  # only sizes are used; nothing is drawn or held
            network = self.NETWORK(cell, interface, *sizes, dropout=0.0, stacking=stacking)
        self._template = (network,)  # in a tuple, so that its parameters are not this module's
        self.interface = network.interface
        self.hidden_size, self.layout = hidden_size, network.layout
        self.dropouts = list(dropouts)
        for name, parameter in network.named_parameters():
            if name.split(".")[0] not in network.layout.stacks:
                zeros = torch.zeros(members, *parameter.shape)
                self.register_parameter(_own(name), nn.Parameter(zeros))
        for name in network.layout.stacks:
            rnn = network.get_submodule(name)
            assert isinstance(rnn, RNN)
            self.add_module(name, RNNMembers(rnn, members, backend))
        self.reset_parameters([1.0] * members, range(members))

    @property
    def members(self) -> int:
        """The number of members, K."""
        return len(self.dropouts)

    def run_layers(
        self, x: Tensor | Tokens, n_steps: int, batch: int, state: MemberStates | None
    ) -> tuple[Tensor, MemberStates]:
        """Run the layers that read on embedded inputs, (K, T * B, width)."""
        return self.rnn.run(x, _rows(n_steps, batch), state, self.dropped)

    @torch.no_grad()
    def reset_parameters(self, init_scales: Sequence[float], seeds: Sequence[int]) -> None:
        """Draw member k as its `reset_parameters` does with a generator of seeds[k].

        Its dropout then draws from a generator of the same seed. Weights are drawn on the CPU, so
        that they are the same on every device, whose generators differ.
        """
        device = self.embedding.device
        member = copy.deepcopy(self._template[0]).to_empty(device="cpu")
        for k, (init_scale, seed) in enumerate(zip(init_scales, seeds, strict=True)):
            member.reset_parameters(init_scale, torch.Generator().manual_seed(seed))
            drawn = member.state_dict()
            for name, view in self.member_state(k).items():
                view.copy_(drawn[name])
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def dropped(self, y: Tensor) -> Tensor:
        """Drop values as torch's dropout does, with a generator for each member."""
        if not self.training or not any(self.dropouts):
            return y
        mask = torch.ones_like(y)
        for kept, dropout, generator in zip(mask, self.dropouts, self.generators, strict=True):
            if dropout:
                kept.bernoulli_(1 - dropout, generator=generator).div_(1 - dropout)
        return y * mask

    def member_state(self, k: int) -> dict[str, Tensor]:
        """Return the state_dict of member k alone, as views."""
        network, parameters = self._template[0], dict(self.named_parameters())
        return {
            name: parameters[name if name in parameters else _own(name)].detach()[k]
            for name in network.state_dict()
        }

    @torch.no_grad()
    def keep(self, indices: Sequence[int]) -> None:
        """Keep these members, in this order, and drop the others."""
        for module in self.modules():
            if isinstance(module, StackedCell):
                module.keep(indices)
        for own in self.parameters(recurse=False):
            own.data, own.grad = own.data[list(indices)], None
        self.dropouts = [self.dropouts[k] for k in indices]
        self.generators = [self.generators[k] for k in indices]


class ScoringMembers(Members, ABC):
    """Members that give scores, of which the head of the interface makes a loss.

    With K members, time T, batch B, and V outputs: tokens (T, B), or features (T, B, inputs), to
    scores (K, T, B, V).
    """

    @abstractmethod
    def outputs(self, inputs: Tensor, state: MemberStates | None) -> tuple[Tensor, MemberStates]:
        """Return the output layer's inputs, (K, T * B, width), and the states at the end."""

    def embedded(self, rows: Tensor) -> Tensor | Tokens:
        """Return tokens (rows,) with their tables; features (rows, inputs) as (K, rows, width)."""
        if self.interface.tokens:
            return Tokens(self.embedding, rows)
        if not rows.is_cpu:  # one product: sums there depend on the number of members anyway
            return torch.matmul(rows, self.embedding.mT)
        maps = taken_apart(self.embedding)
        return stacked(nn.functional.linear(rows, matrix) for matrix in maps)

    def added_loss(self) -> Tensor | None:
        """Return what training adds to the head's loss of the last `outputs`, (K,), if anything."""
        return None

    def forward(self, inputs: Tensor, state: MemberStates | None) -> tuple[Tensor, MemberStates]:
        y, state = self.outputs(inputs, state)
        members = zip(y, self.head_weight, self.head_bias, strict=True)
        scores = torch.stack([head(*member) for member in members])
        return scores.view(self.members, *inputs.shape[:2], -1), state


class SequenceMembers(ScoringMembers):
    """Members that are `SequenceModel`s."""

    NETWORK: ClassVar[type[Network]] = SequenceModel

    def outputs(self, inputs: Tensor, state: MemberStates | None) -> tuple[Tensor, MemberStates]:
        n_steps, batch = inputs.shape[:2]
        y, state = self.run_layers(self.embedded(inputs.flatten(0, 1)), n_steps, batch, state)
        return self.dropped(y), state

    @property
    def passes(self) -> bool:
        """Whether `passed` can run the layers."""
        return self.rnn.passes and not any(self.dropouts)

    def passed(self, inputs: Tensor, state: MemberStates | None) -> list[LayerPass]:
        """What `outputs` does, as passes whose way back is asked for; the last one's y is what the
        output layer reads."""
        n_steps, batch = inputs.shape[:2]
        x = self.embedded(inputs.flatten(0, 1))
        return self.rnn.passed(x, _rows(n_steps, batch), state)


def head(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply one member's output layer: y (rows, width) to scores (rows, outputs)."""
    return nn.functional.linear(aligned(y), aligned(weight), bias)


def _own(name: str) -> str:
    """Return the name here of a parameter that stands beside the layers."""
    plain = name if name.startswith("head.") else name.removesuffix(".weight")
    return plain.replace(".", "_")


@lru_cache(maxsize=64)
def _rows(n_steps: int, batch: int) -> Rows:
    return Rows((batch,) * n_steps)
