"""K members of a model as one module: what a batched training run trains."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.compile.backend import Backend, choose
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows, Tokens
from nas.compile.stacked import StackedCell, aligned, stacked, traced_aligned
from nas.nn.attention import AttentionModel
from nas.nn.model import SequenceModel
from nas.nn.rnn import RNN, added, normalised
from nas.nn.stacking import Stacking
from nas.tasks.base import Interface

StackedStates = list[list[Tensor]]
"""By layer, the states of a cell, each (members, batch, width)."""


class StackedRNN(nn.Module):
    """The layers of K `RNN`s that run in one direction.

    Args:
        rnn: one of them, of which only the sizes are used.
    """

    def __init__(self, rnn: RNN, members: int, backend: Backend = "auto") -> None:
        super().__init__()
        self.cell = rnn.cell
        self.hidden_size = rnn.hidden_size
        self.stacking = rnn.stacking
        self.backend: Backend = backend
        self.layers = nn.ModuleList(
            StackedCell(rnn.cell, layer.sizes[0], rnn.hidden_size, members)
            for layer in _layers(rnn)
        )

    def cells(self) -> Iterator[StackedCell]:
        """The layers."""
        for layer in self.layers:
            assert isinstance(layer, StackedCell)
            yield layer

    def run(
        self,
        x: Tensor | Tokens,
        rows: Rows,
        state: StackedStates | None,
        dropped: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, StackedStates]:
        """All steps of all layers, x (K, rows of all steps, width) to y likewise, and the states
        after the last step; `dropped` is applied between layers."""
        like = x.table if isinstance(x, Tokens) else x
        shape = (len(like), rows.total, self.hidden_size)
        verticals = [like.new_zeros(shape) for _ in self.cell.verticals]
        finals: StackedStates = []
        y: Tensor | Tokens = x
        for place, layer in enumerate(self.cells()):
            starts = state[place] if state else self._starts(layer, like, rows.batch)
            under = dropped(y) if place and isinstance(y, Tensor) else y
            read = normalised(under) if place and "norm" in self.stacking else under
            run = choose(self.backend, layer, read, starts)
            y, final, verticals = run(layer, read, rows, starts, verticals, False)
            if place and "residual" in self.stacking:
                y = added(y, under)
            finals.append(final)
        assert isinstance(y, Tensor), "there is a layer"
        return y, finals

    def _starts(self, layer: StackedCell, like: Tensor, batch: int) -> list[Tensor]:
        return [
            like.new_full((len(like), batch, layer.sizes[1 + i]), state.initial)
            for i, state in enumerate(self.cell.states)
        ]

    def member_state(self, k: int) -> dict[str, Tensor]:
        """The state_dict of member k as an `RNN`, as views."""
        return {
            f"layers.{place}.{name}": tensor
            for place, layer in enumerate(self.cells())
            for name, tensor in layer.member_state(k).items()
        }


class Stacked(nn.Module, ABC):
    """Members that share a cell, sizes and inputs, and differ in weights and dropout.

    With K members, time T, batch B, and V outputs: tokens (T, B), or features (T, B, inputs), to
    scores (K, T, B, V). On the CPU a member's values do not depend, by a single bit, on the other
    members.

    Args:
        one: a member, of which only the sizes are used.
        dropouts: probability of each member, below 1, of dropping a value after a layer.
        maps: the names of its further matrices, in the order in which they are drawn.
    """

    RNNS: ClassVar[tuple[str, ...]] = ("rnn",)
    """The names of a member's layers, and of the attributes here."""
    rnn: StackedRNN
    """The layers that read."""

    def __init__(
        self,
        one: SequenceModel | AttentionModel,
        dropouts: Sequence[float],
        backend: Backend,
        maps: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.maps = tuple(maps)
        members = len(dropouts)
        self.interface = one.interface
        self.hidden_size = one.rnn.hidden_size
        self.dropouts = list(dropouts)
        self.embedding = _zeros(members, one.embedding.weight)
        for name in self.RNNS:
            rnn = one.get_submodule(name)
            assert isinstance(rnn, RNN)
            self.add_module(name, StackedRNN(rnn, members, backend))
        for name in self.maps:
            self.register_parameter(name, _zeros(members, one.get_parameter(f"{name}.weight")))
        self.head_weight = _zeros(members, one.head.weight)
        self.head_bias = _zeros(members, one.head.bias)
        self.reset_parameters([1.0] * members, range(members))

    @property
    def members(self) -> int:
        return len(self.dropouts)

    @abstractmethod
    def outputs(self, inputs: Tensor, state: StackedStates | None) -> tuple[Tensor, StackedStates]:
        """What the output layer reads, (K, T * B, width), and the states after the last step."""

    def forward(self, inputs: Tensor, state: StackedStates | None) -> tuple[Tensor, StackedStates]:
        y, state = self.outputs(inputs, state)
        heads = zip(y, self.head_weight, self.head_bias, strict=True)
        scores = torch.stack([head(*one) for one in heads])
        return scores.view(self.members, *inputs.shape[:2], -1), state

    def run_layers(
        self, x: Tensor | Tokens, n_steps: int, batch: int, state: StackedStates | None
    ) -> tuple[Tensor, StackedStates]:
        """What the layers that read give for embedded inputs, (K, T * B, width)."""
        return self.rnn.run(x, _rows(n_steps, batch), state, self.dropped)

    @torch.no_grad()
    def reset_parameters(self, init_scales: Sequence[float], seeds: Sequence[int]) -> None:
        """Draw member k as its `reset_parameters` does with a generator of seeds[k].

        Its dropout then draws from a generator of the same seed.
        """
        generators = _generators(seeds, self.embedding.device)
        bounds = [scale / math.sqrt(self.hidden_size) for scale in init_scales]
        _draw(self.embedding, bounds, generators)
        for _, rnn in self._rnns():
            for layer in rnn.cells():
                layer.reset_parameters(init_scales, generators)
        for name in (*self.maps, "head_weight"):
            _draw(self.get_parameter(name), bounds, generators)
        self.head_bias.zero_()
        self.generators = _generators(seeds, self.embedding.device)

    def _rnns(self) -> Iterator[tuple[str, StackedRNN]]:
        for name in self.RNNS:
            rnn = self.get_submodule(name)
            assert isinstance(rnn, StackedRNN)
            yield name, rnn

    def dropped(self, y: Tensor) -> Tensor:
        """As torch's dropout does it, with a generator for each member."""
        if not self.training or not any(self.dropouts):
            return y
        mask = torch.ones_like(y)
        for one, dropout, generator in zip(mask, self.dropouts, self.generators, strict=True):
            if dropout:
                one.bernoulli_(1 - dropout, generator=generator).div_(1 - dropout)
        return y * mask

    def member_state(self, k: int) -> dict[str, Tensor]:
        """The state_dict of member k alone, as views."""
        matrices = {f"{name}.weight": self.get_parameter(name) for name in self.maps}
        matrices |= {"head.weight": self.head_weight, "head.bias": self.head_bias}
        return {
            "embedding.weight": self.embedding.detach()[k],
            **{
                f"{name}.{label}": tensor
                for name, rnn in self._rnns()
                for label, tensor in rnn.member_state(k).items()
            },
            **{name: tensor.detach()[k] for name, tensor in matrices.items()},
        }

    @torch.no_grad()
    def keep(self, indices: Sequence[int]) -> None:
        """Keep these members, in this order, and drop the others."""
        for _, rnn in self._rnns():
            for layer in rnn.cells():
                layer.keep(indices)
        for own in self.parameters(recurse=False):
            own.data, own.grad = own.data[list(indices)], None
        self.dropouts = [self.dropouts[k] for k in indices]
        self.generators = [self.generators[k] for k in indices]


class StackedModel(Stacked):
    """Members that are `SequenceModel`s."""

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
        with torch.device("meta"):  # the sizes of one member; nothing is drawn or held
            one = SequenceModel(cell, interface, hidden_size, num_layers, 0.0, stacking)
        super().__init__(one, dropouts, backend)

    def outputs(self, inputs: Tensor, state: StackedStates | None) -> tuple[Tensor, StackedStates]:
        n_steps, batch = inputs.shape[:2]
        y, state = self.run_layers(self._embedded(inputs.flatten(0, 1)), n_steps, batch, state)
        return self.dropped(y), state

    def _embedded(self, rows: Tensor) -> Tensor | Tokens:
        if self.interface.tokens:
            return Tokens(self.embedding, rows)
        maps = (traced_aligned(one) for one in self.embedding.unbind())
        return stacked(nn.functional.linear(rows, one) for one in maps)


def head(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One member's output layer: y (rows, width) to scores (rows, outputs)."""
    return nn.functional.linear(aligned(y), aligned(weight), bias)


def _zeros(members: int, like: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.zeros(members, *like.shape))


def _layers(rnn: RNN) -> Iterator[EagerCell]:
    for layer in rnn.layers:
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
