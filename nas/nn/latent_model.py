"""The network around a cell with latent variables, and K members of it as one module.

Both run the same functions (`nas.nn.latent.Side`). Of members, the cells run compiled, all in one
call; what is around them are torch's operations, member after member, so that none depends on the
others. The noise of each member comes from a generator of its own.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from nas.compile.stacked import StackedCell, stacked, taken_apart
from nas.errors import UserError
from nas.nn.draw import draw, draw_samples
from nas.nn.latent import Draw, Noise, Parts, Side, Terms, bound, importance_weighted, log_weights
from nas.nn.layers import Layers
from nas.nn.loop_cell import Loop
from nas.nn.looped import loop_layer, stacked_loop_layer
from nas.nn.members import Members, RNNMembers
from nas.nn.model import Network
from nas.nn.rnn import RNN
from nas.nn.storn import storn, storn_samples
from nas.nn.vrnn import vrnn, vrnn_samples
from nas.tasks.kinds import DrawKind, LatentKind, ModelKind, StornKind, VrnnKind

TERMS: dict[type[ModelKind], Callable[[Side, Tensor, Tensor, Noise], list[Terms]]] = {
    StornKind: storn,
    VrnnKind: vrnn,
    DrawKind: draw,
}
"""The bound's terms of each kind, of a window's inputs and targets, (time, batch, …)."""
SAMPLES: dict[type[ModelKind], Callable[[Side, Tensor, int, Noise, Draw], Parts]] = {
    StornKind: storn_samples,
    VrnnKind: vrnn_samples,
    DrawKind: draw_samples,
}
"""Sequences of each kind that follow a first step, (batch, …)."""
HELD_OUT = 0
"""The seed of the noise on held-out data, the same for all members and after each epoch."""

STREAMS = 320
"""Sequences that are read at once where several draws are made of each."""


def generators(seeds: Sequence[int], device: torch.device) -> list[torch.Generator]:
    """Make a generator for each seed."""
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


def noise_of(drawing: Sequence[torch.Generator], dtype: torch.dtype) -> Noise:
    """Return the draws of each member, made as float32 whatever the type."""

    def noise(shape: tuple[int, ...]) -> Parts:
        return [
            torch.randn(shape, generator=one, device=one.device, dtype=torch.float32).to(dtype)
            for one in drawing
        ]

    return noise


def _terms(side: Side, inputs: Tensor, targets: Tensor, noise: Noise) -> list[Terms]:
    kind = side.interface.kind
    assert kind is not None
    return TERMS[type(kind)](side, inputs, targets, noise)


class LatentModel(Network):
    """One network with latent variables: `terms` are those of its bound."""

    TITLE: ClassVar[str] = "a model with latent variables"

    @property
    def members(self) -> int:
        """The number of members."""
        return 1

    def forward(self, *_: object) -> Never:
        """Raise UserError: nothing is scored without what follows."""
        raise UserError(
            "a model with latent variables gives no scores of a next step: ask it for the bound of "
            "whole sequences, or for samples."
        )

    def terms(self, inputs: Tensor, targets: Tensor, noise: Noise) -> Terms:
        """Return the bound's terms for one draw; `nas.tasks.kinds` says what a window holds."""
        return _terms(self, inputs, targets, noise)[0]

    @torch.no_grad()
    def samples(self, n: int, n_steps: int, seed: int) -> Tensor:
        """Return n sequences of bits that the model makes up, (n_steps, n, outputs)."""
        first = self.head.weight.new_zeros(n, self.interface.outputs)
        drawing = generators([seed], first.device)
        kind = self.interface.kind
        assert kind is not None
        noise = noise_of(drawing, first.dtype)

        def draw(logits: Parts) -> Parts:
            return [torch.bernoulli(torch.sigmoid(logits[0]), generator=drawing[0])]

        return SAMPLES[type(kind)](self, first, n_steps, noise, draw)[0]

    @torch.no_grad()
    def weights_of(self, inputs: Tensor, targets: Tensor, scored: Tensor, draws: int) -> Tensor:
        """Return ln of p(x, z) / q(z) of each sequence for each draw, (draws, batch)."""
        noise = noise_of(generators([HELD_OUT], inputs.device), inputs.dtype)
        each = [log_weights(self.terms(inputs, targets, noise), scored) for _ in range(draws)]
        return torch.stack(each)

    def mapped(self, name: str, x: Parts) -> Parts:
        return [self.get_submodule(name)(x[0])]

    def ran(self, stack: str, x: Parts) -> Parts:
        return [self._stack(stack)(x[0])[0]]

    def started(self, stack: str, x: Parts) -> tuple[Parts, object]:
        return [x[0].new_zeros(len(x[0]), self._stack(stack).output_size)], None

    def stepped(self, stack: str, x: Parts, state: object, index: int) -> tuple[Parts, object]:
        assert state is None or isinstance(state, Tensor | tuple)
        y, after = self._stack(stack).step(x[0], state, index)
        return [y], after

    def layer_of(self, loop: Loop, input_size: int) -> EagerCell:
        def of_map(name: str, kind: str) -> Tensor | None:
            value: Tensor | None = getattr(self.get_submodule(name), kind)
            return value

        def of_layer(stack: str, layer: int, name: str) -> Tensor | None:
            own = self._stack(stack).layers[layer]
            assert isinstance(own, EagerCell)
            return own.resolved()._parameters.get(name)

        template = loop_layer(loop.cell, input_size, self.rnn.hidden_size)
        return template.with_parameters(loop.parameters(of_map, of_layer))

    def joined(self, parts: Parts) -> Tensor:
        return parts[0].contiguous()

    def apart(self, joined: Tensor) -> Parts:
        return [joined]

    def thinned(self, y: Parts) -> Parts:
        return [self.dropout(y[0])]

    def stack(self, name: str) -> Layers:
        return self._stack(name)

    def _stack(self, name: str) -> RNN:
        stack = self.get_submodule(name)
        assert isinstance(stack, RNN)
        return stack


class LatentMembers(Members):
    """Members that are `LatentModel`s; their loss is their own."""

    NETWORK: ClassVar[type[Network]] = LatentModel

    def losses(self, inputs: Tensor, targets: Tensor, scored: Tensor, step: int) -> Tensor:
        """Return the bound that is minimised at a step of training, a stream of the minibatch,
        (members,); `scored` is (time, batch)."""
        kind = self.interface.kind
        weight = 1.0
        if isinstance(kind, LatentKind) and kind.annealing:
            weight = min(1.0, (step + 1) / kind.annealing)
        return self._bounds(inputs, targets, scored, self.generators, weight)

    @torch.no_grad()
    def measured(
        self, inputs: Tensor, targets: Tensor, scored: Tensor, drawing: Sequence[torch.Generator]
    ) -> Tensor:
        """Return the bound, a stream, with the noise of some generators, (members,)."""
        return self._bounds(inputs, targets, scored, drawing, 1.0)

    @torch.no_grad()
    def importance_weighted(
        self,
        inputs: Tensor,
        targets: Tensor,
        scored: Tensor,
        drawing: Sequence[torch.Generator],
        n_draws: int,
    ) -> Tensor:
        """Return the tighter bound of so many draws, a stream, (members,)."""
        noise, batch = noise_of(drawing, inputs.dtype), inputs.shape[1]
        at_once = max(1, min(n_draws, STREAMS // batch))
        weights: list[list[Tensor]] = []
        for first in range(0, n_draws, at_once):
            n = min(at_once, n_draws - first)
            wide = [x.repeat(1, n, *[1] * (x.dim() - 2)) for x in (inputs, targets, scored)]
            found = self._terms(wide[0], wide[1], noise)
            weights.append([log_weights(of, wide[2]).view(n, batch) for of in found])
        each = (importance_weighted(torch.cat(of)) for of in zip(*weights, strict=True))
        return torch.stack([of.mean() for of in each])

    def _bounds(
        self,
        inputs: Tensor,
        targets: Tensor,
        scored: Tensor,
        drawing: Sequence[torch.Generator],
        weight: float,
    ) -> Tensor:
        found = self._terms(inputs, targets, noise_of(drawing, inputs.dtype))
        return torch.stack([bound(of, scored, weight) for of in found]) / inputs.shape[1]

    def _terms(self, inputs: Tensor, targets: Tensor, noise: Noise) -> list[Terms]:
        self._unbound: dict[str, tuple[Parts, Parts | list[None]]] = {}
        return _terms(self, inputs, targets, noise)

    def mapped(self, name: str, x: Parts) -> Parts:
        if name not in self._unbound:  # once a pass: each part of a gradient would be stacked anew
            weight, bias = self._parameters_of(name)
            parts = taken_apart(weight)
            biases = [None] * self.members if bias is None else list(bias.unbind())
            self._unbound[name] = parts, biases
        # x is a tensor of its own of each member, aligned as that of a member alone.
        return list(map(F.linear, x, *self._unbound[name]))

    def _parameters_of(self, name: str) -> tuple[Tensor, Tensor | None]:
        if name == "head":
            return self.head_weight, self.head_bias
        bias: nn.Parameter | None = getattr(self, f"{name}_bias", None)
        return self.get_parameter(name), bias

    def ran(self, stack: str, x: Parts) -> Parts:
        n_steps, batch = x[0].shape[:2]
        joined = stacked(one.flatten(0, 1) for one in x)
        y, _ = self._stack(stack).run(joined, Rows.equal(n_steps, batch), None, self.dropped)
        return [one.unflatten(0, (n_steps, batch)) for one in taken_apart(y)]

    def started(self, stack: str, x: Parts) -> tuple[Parts, object]:
        width = self._stack(stack).output_size
        return [one.new_zeros(len(one), width) for one in x], None

    def stepped(self, stack: str, x: Parts, state: object, index: int) -> tuple[Parts, object]:
        assert state is None or isinstance(state, list)
        rows = Rows((len(x[0]),), index)
        y, after = self._stack(stack).run(stacked(x), rows, state, self.dropped)
        return taken_apart(y), after

    def layer_of(self, loop: Loop, input_size: int) -> StackedCell:
        def of_map(name: str, kind: str) -> Tensor | None:
            return self._parameters_of(name)[kind == "bias"]

        def of_layer(stack: str, layer: int, name: str) -> Tensor | None:
            return self._stack(stack).layers[layer]._parameters.get(name)

        template = stacked_loop_layer(loop.cell, input_size, self.rnn.hidden_size)
        return template.with_parameters(loop.parameters(of_map, of_layer))

    def joined(self, parts: Parts) -> Tensor:
        return stacked(parts)

    def apart(self, joined: Tensor) -> Parts:
        return taken_apart(joined)

    def thinned(self, y: Parts) -> Parts:
        if not self.training or not any(self.dropouts):
            return y
        return taken_apart(self.dropped(stacked(y)))

    def stack(self, name: str) -> Layers:
        return self._stack(name)

    def _stack(self, name: str) -> RNNMembers:
        stack = self.get_submodule(name)
        assert isinstance(stack, RNNMembers)
        return stack
