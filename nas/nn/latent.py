"""What a model with latent variables is made of, once for one network and for K members of it.

A model of p(x) with latent variables z and an approximation q(z) of their posterior has the bound
-ln p(x) <= E_q[-ln p(x | z)] + KL(q(z), p(z)). Draws of z are reparametrised, mean + scale * noise
(Kingma & Welling 2014, arXiv:1312.6114). With S draws the bound of Burda, Grosse & Salakhutdinov
2016 (arXiv:1509.00519), -ln of the mean of p(x, z) / q(z), is tighter.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.compile.reference import EagerCell
from nas.compile.stacked import StackedCell
from nas.nn.layers import Layers
from nas.nn.loop_cell import Loop
from nas.tasks.base import Interface

Parts = list[Tensor]
"""A tensor of each member; of a network, its only one."""
Noise = Callable[[tuple[int, ...]], Parts]
"""Draws from N(0, 1) of this shape for each member, from a generator of its own."""
Draw = Callable[[Parts], Parts]
"""Draws what the outputs of the head mean, such as bits."""
LEAST_SCALE = 1e-4
"""The smallest standard deviation."""


class Side(Protocol):
    """A network, or K members of it: what both can do with their parameters.

    x of a step is (batch, width), x of all steps is (time, batch, width).
    """

    interface: Interface

    @property
    @abstractmethod
    def members(self) -> int:
        """The number of members; 1 of a network."""

    @abstractmethod
    def mapped(self, name: str, x: Parts) -> Parts:
        """Apply a linear map, or "embedding" to features, or "head"."""

    @abstractmethod
    def ran(self, stack: str, x: Parts) -> Parts:
        """Run a stack of the cell over all steps from its initial states; return its outputs."""

    @abstractmethod
    def started(self, stack: str, x: Parts) -> tuple[Parts, object]:
        """Return the output before the first step, zeros, and the initial states, of sequences as
        many as x, (batch, width), has."""

    @abstractmethod
    def stepped(self, stack: str, x: Parts, state: object, index: int) -> tuple[Parts, object]:
        """Run a stack for one step; clocks count its index. Return its output and states."""

    @abstractmethod
    def stack(self, name: str) -> Layers:
        """Return the layers of a stack."""

    @abstractmethod
    def layer_of(self, loop: Loop, input_size: int) -> EagerCell | StackedCell:
        """Return a loop as a layer with the parameters of this model."""

    @abstractmethod
    def joined(self, parts: Parts) -> Tensor:
        """Return the tensors of members as such a layer reads them."""

    @abstractmethod
    def apart(self, joined: Tensor) -> Parts:
        """Return what such a layer gives as a tensor of each member."""

    @abstractmethod
    def thinned(self, y: Parts) -> Parts:
        """Apply the dropout of training."""


class Terms(NamedTuple):
    """The parts of the bound of one member for one draw of z, (time, batch) each, in nats."""

    loss: Tensor
    """-ln p(x | z) of the position."""
    divergence: Tensor
    """KL(q, p) of its z, exact given the z of the steps before."""
    ratio: Tensor
    """ln q(z) - ln p(z) of the drawn z, whose mean is the divergence."""


class Gaussian(NamedTuple):
    """Independent normal numbers, (…, width)."""

    mean: Tensor
    scale: Tensor

    def drawn(self, noise: Tensor) -> Tensor:
        return self.mean + self.scale * noise

    def density(self, z: Tensor) -> Tensor:
        """Return ln of the density, up to the constant of all such, (…)."""
        return (-0.5 * ((z - self.mean) / self.scale).square() - self.scale.log()).sum(-1)


def gaussian(both: Tensor) -> Gaussian:
    """Make it of the outputs of a map: means, then what softplus makes standard deviations."""
    mean, scale = halves(both)
    return Gaussian(mean, F.softplus(scale) + LEAST_SCALE)


def halves(both: Tensor) -> list[Tensor]:
    """Return both halves of the features, each contiguous: torch takes 12 times as long for a
    softplus of rows that lie apart."""
    return [half.contiguous() for half in both.chunk(2, -1)]


def standard(like: Tensor) -> Gaussian:
    """Return N(0, 1) of the shape of a tensor."""
    return Gaussian(torch.zeros_like(like), torch.ones_like(like))


def divergence(of: Gaussian, prior: Gaussian) -> Tensor:
    """Return KL(of, prior), (…)."""
    squares = (of.scale.square() + (of.mean - prior.mean).square()) / prior.scale.square()
    return (0.5 * (squares - 1) + prior.scale.log() - of.scale.log()).sum(-1)


def bits_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -ln P(bits) of each position, (…), of logits and bits (…, bits)."""
    found = F.binary_cross_entropy_with_logits(logits, targets.to(logits), reduction="none")
    return found.sum(-1)


def terms(loss: Tensor, posterior: Gaussian, prior: Gaussian, z: Tensor) -> Terms:
    """Put the parts of the bound together; distributions and z are (time, batch, latent)."""
    ratio = posterior.density(z) - prior.density(z)
    return Terms(loss, divergence(posterior, prior), ratio)


def bound(of: Terms, scored: Tensor, weight: float = 1.0) -> Tensor:
    """Return the bound on -ln p(x), summed over the scored positions, (); `scored` is (time,
    batch), and `weight` that of the divergence."""
    each = of.loss + weight * of.divergence
    return torch.where(scored, each, 0.0).sum()


def log_weights(of: Terms, scored: Tensor) -> Tensor:
    """Return ln of p(x, z) / q(z) of each sequence, (batch,)."""
    return torch.where(scored, -of.loss - of.ratio, 0.0).sum(0)


def importance_weighted(weights: Tensor) -> Tensor:
    """Return the tighter bound on -ln p(x) of each sequence, (batch,), from the log weights of
    several draws, (draws, batch)."""
    return torch.tensor(float(len(weights))).log() - weights.double().logsumexp(0)
