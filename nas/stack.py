"""K members of `SequenceModel` as one module: what a batched training run trains."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from nas.cell.graph import Cell
from nas.compile.backend import Backend, choose_members
from nas.compile.eager import aligned
from nas.compile.hoist import stacked, traced_aligned
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens
from nas.compile.stacked import StackedCell
from nas.model import SequenceModel
from nas.rnn import added, normalised
from nas.stacking import Stacking
from nas.tasks.base import Interface

StackedStates = list[list[Tensor]]
"""By layer, the states of a cell, each (members, batch, width)."""


class StackedModel(nn.Module):
    """Members that share a cell, sizes and inputs, and differ in weights and dropout.

    With K members, time T, batch B, and V outputs: tokens (T, B), or features (T, B, inputs), to
    scores (K, T, B, V). On the CPU a member's values do not depend, by a single bit, on the other
    members.

    Args:
        dropouts: probability of each member, below 1, of dropping a value after a layer.
    """

    def __init__(
        self,
        cell: Cell,
        interface: Interface | int,
        hidden_size: int,
        num_layers: int,
        dropouts: Sequence[float],
        backend: Backend = "auto",
        stacking: Stacking = "plain",
    ) -> None:
        super().__init__()
        members = len(dropouts)
        with torch.device("meta"):  # the sizes of one member; nothing is drawn or held
            one = SequenceModel(cell, interface, hidden_size, num_layers, 0.0)
        self.cell = cell
        self.interface = one.interface
        self.hidden_size = hidden_size
        self.output_size = one.rnn.output_size
        self.dropouts = list(dropouts)
        self.backend: Backend = backend
        self.stacking: Stacking = stacking
        self.embedding = nn.Parameter(torch.zeros(members, *one.embedding.weight.shape))
        self.layers = nn.ModuleList(
            StackedCell(cell, layer.sizes[0], hidden_size, members) for layer in _layers(one)
        )
        self.head_weight = nn.Parameter(torch.zeros(members, *one.head.weight.shape))
        self.head_bias = nn.Parameter(torch.zeros(members, one.interface.outputs))
        self.reset_parameters([1.0] * members, range(members))

    @property
    def members(self) -> int:
        return len(self.dropouts)

    @torch.no_grad()
    def reset_parameters(self, init_scales: Sequence[float], seeds: Sequence[int]) -> None:
        """Draw member k as `SequenceModel.reset_parameters` does with a generator of seeds[k].

        Its dropout then draws from a generator of the same seed.
        """
        generators = _generators(seeds, self.embedding.device)
        bounds = [scale / math.sqrt(self.hidden_size) for scale in init_scales]
        _draw(self.embedding, bounds, generators)
        for layer in self._cells():
            layer.reset_parameters(init_scales, generators)
        _draw(self.head_weight, bounds, generators)
        self.head_bias.zero_()
        self.generators = _generators(seeds, self.embedding.device)

    def _cells(self) -> Iterator[StackedCell]:
        for layer in self.layers:
            assert isinstance(layer, StackedCell)
            yield layer

    def forward(self, inputs: Tensor, state: StackedStates | None) -> tuple[Tensor, StackedStates]:
        y, state = self.outputs(inputs, state)
        heads = zip(y, self.head_weight, self.head_bias, strict=True)
        scores = torch.stack([head(*one) for one in heads])
        return scores.view(self.members, *inputs.shape[:2], -1), state

    def outputs(self, inputs: Tensor, state: StackedStates | None) -> tuple[Tensor, StackedStates]:
        """What the output layer reads, (K, T * B, width), and the states after the last step."""
        n_steps, batch = inputs.shape[:2]
        return self.run_layers(self._embedded(inputs.flatten(0, 1)), n_steps, batch, state)

    def _embedded(self, rows: Tensor) -> Tensor | Tokens:
        if self.interface.tokens:
            return Tokens(self.embedding, rows)
        maps = (traced_aligned(one) for one in self.embedding.unbind())
        return stacked(nn.functional.linear(rows, one) for one in maps)

    def run_layers(
        self, x: Tensor | Tokens, n_steps: int, batch: int, state: StackedStates | None
    ) -> tuple[Tensor, StackedStates]:
        """`outputs` for embedded inputs, (K, T * B, width)."""
        rows = _rows(n_steps, batch)
        shape = (self.members, rows.total, self.hidden_size)
        verticals = [self.embedding.new_zeros(shape) for _ in self.cell.verticals]
        finals: StackedStates = []
        for place, layer in enumerate(self._cells()):
            starts = state[place] if state else self._starts(layer, batch)
            under = x
            x = normalised(x) if place and "norm" in self.stacking else x
            run = choose_members(self.backend, layer, x, starts)
            y, final, verticals = run(layer, x, rows, starts, verticals, False)
            if place and "residual" in self.stacking:
                y = added(y, under)
            x = y = self._dropped(y)
            finals.append(final)
        return y, finals

    def _starts(self, layer: StackedCell, batch: int) -> list[Tensor]:
        return [
            self.embedding.new_full((self.members, batch, layer.sizes[1 + i]), state.initial)
            for i, state in enumerate(self.cell.states)
        ]

    def _dropped(self, y: Tensor) -> Tensor:
        """As torch's dropout does it, with a generator for each member."""
        if not self.training or not any(self.dropouts):
            return y
        mask = torch.ones_like(y)
        for one, dropout, generator in zip(mask, self.dropouts, self.generators, strict=True):
            if dropout:
                one.bernoulli_(1 - dropout, generator=generator).div_(1 - dropout)
        return y * mask

    def member_state(self, k: int) -> dict[str, Tensor]:
        """The state_dict of member k as a `SequenceModel`, as views."""
        layers = {
            f"rnn.layers.{place}.{name}": tensor
            for place, layer in enumerate(self._cells())
            for name, tensor in layer.member_state(k).items()
        }
        head = {"head.weight": self.head_weight, "head.bias": self.head_bias}
        return {
            "embedding.weight": self.embedding.detach()[k],
            **layers,
            **{name: tensor.detach()[k] for name, tensor in head.items()},
        }

    @torch.no_grad()
    def keep(self, indices: Sequence[int]) -> None:
        """Keep these members, in this order, and drop the others."""
        for layer in self._cells():
            layer.keep(indices)
        for own in (self.embedding, self.head_weight, self.head_bias):
            own.data, own.grad = own.data[list(indices)], None
        self.dropouts = [self.dropouts[k] for k in indices]
        self.generators = [self.generators[k] for k in indices]


def head(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One member's output layer: y (rows, width) to scores (rows, outputs)."""
    return nn.functional.linear(aligned(y), aligned(weight), bias)


def _layers(model: SequenceModel) -> Iterator[EagerCell]:
    for layer in model.rnn.layers:
        assert isinstance(layer, EagerCell)
        yield layer


def _generators(seeds: Sequence[int], device: torch.device) -> list[torch.Generator]:
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


def _draw(
    parameter: Tensor, bounds: Sequence[float], generators: Sequence[torch.Generator]
) -> None:
    for one, bound, generator in zip(parameter, bounds, generators, strict=True):
        one.uniform_(-bound, bound, generator=generator)


@lru_cache(maxsize=64)
def _rows(n_steps: int, batch: int) -> Rows:
    return Rows((batch,) * n_steps)
