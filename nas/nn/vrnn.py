"""VRNN: a recurrent network whose latent variable depends on what it has read.

Chung et al. 2015, arXiv:1506.02216, equations 5 to 9, with phi_x, phi_z, and the hidden layers of
prior, posterior and decoder of one layer of ReLUs each: p(z_t) and q(z_t), which also reads x_t,
depend on the output of step t - 1; x_t on that and z_t; and the cell reads both. Matrices of a
joined pair are two matrices here, of which the sum is taken. z_t goes into the cell, so what leads
from an output to the next one is one loop (`nas.nn.loop_cell`); what depends on x alone, or on all
outputs, is computed for all steps at once.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.cell.cell import Cell
from nas.nn.latent import (
    LEAST_SCALE,
    Draw,
    Gaussian,
    Noise,
    Parts,
    Side,
    Terms,
    bits_loss,
    gaussian,
    standard,
    terms,
)
from nas.nn.loop_cell import Loop, LoopCell
from nas.nn.looped import looped
from nas.nn.settings import Stacking
from nas.tasks.kinds import VrnnKind


def vrnn(side: Side, _: Tensor, targets: Tensor, noise: Noise) -> list[Terms]:
    """Return the terms of each member for one draw of z; `targets` are x_1 to x_T, (time, batch,
    keys)."""
    kind = side.interface.kind
    assert isinstance(kind, VrnnKind)
    draws = noise((*targets.shape[:2], kind.latent_size))
    outputs, posteriors, z, features = _read(side, targets, draws)
    logits = decoded(side, outputs, features)
    priors = prior_of(side, outputs, z)
    each = zip(logits, posteriors, priors, z, strict=True)
    return [terms(bits_loss(x, targets), q, p, drawn) for x, q, p, drawn in each]


def vrnn_samples(side: Side, first: Tensor, n_steps: int, noise: Noise, draw: Draw) -> Parts:
    """Return sequences of each member, (n_steps, batch, keys); `first` is like a step of them."""
    kind = side.interface.kind
    assert isinstance(kind, VrnnKind)
    found: list[Parts] = []
    y, state = side.started("rnn", [first] * side.members)
    for t in range(n_steps):
        noises = noise((len(first), kind.latent_size))
        priors = prior_of(side, y, noises)
        z = [prior.drawn(one) for prior, one in zip(priors, noises, strict=True)]
        features = relu(side.mapped("latent", z))
        x = draw(decoded(side, y, features))
        found.append(x)
        read = side.mapped("input", relu(side.mapped("embedding", x)))
        x_t = added(read, side.mapped("input_latent", features))
        y, state = side.stepped("rnn", x_t, state, t)
    return _joined(found)


def _read(side: Side, targets: Tensor, draws: Parts) -> tuple[Parts, list[Gaussian], Parts, Parts]:
    """Return the outputs before each step, q(z), z and phi_z(z), all (time, batch, width).

    The loop gives the outputs alone; from them all else is computed again for all steps at once.
    """
    x = relu(side.mapped("embedding", [targets] * side.members))
    seen = side.mapped("encoder", x)
    rnn = side.stack("rnn")
    loop = _loop(rnn.cell, len(rnn.layers), rnn.stacking)
    y = looped(side, loop, draws, [seen, side.mapped("input", x)])
    outputs = [F.pad(one[:-1], (0, 0, 0, 0, 1, 0)) for one in y]
    both = side.mapped("posterior", relu(added(seen, side.mapped("encoder_state", outputs))))
    posteriors = [gaussian(q) for q in both]
    z = [q.drawn(draw) for q, draw in zip(posteriors, draws, strict=True)]
    return outputs, posteriors, z, relu(side.mapped("latent", z))


@lru_cache(maxsize=256)
def _loop(cell: Cell, num_layers: int, stacking: Stacking) -> Loop:
    """The outputs of the cell, whose x depends on z, which depends on the output before."""
    loop = LoopCell(cell, num_layers, stacking, ["rnn"], ["seen", "read"])
    state = loop.map("encoder_state", loop.before("rnn"))
    hidden = loop.add("relu", loop.add("add", loop.given["seen"], state))
    mean, scale = (
        loop.map("posterior", hidden, "input", bias=True, part=part, parts=2) for part in range(2)
    )
    least = loop.add("constant", value=LEAST_SCALE)
    scale = loop.add("add", loop.add("softplus", scale), least)
    z = loop.add("add", mean, loop.add("mul", scale, loop.x))
    features = loop.add("relu", loop.map("latent", z, bias=True))
    x = loop.add("add", loop.given["read"], loop.map("input_latent", features))
    return loop.finished(loop.run("rnn", x))


def decoded(side: Side, outputs: Parts, features: Parts) -> Parts:
    """Return the logits of x, from the output before a step and phi_z(z)."""
    both = added(side.mapped("decoder", features), side.mapped("decoder_state", outputs))
    return side.mapped("head", side.thinned(relu(both)))


def prior_of(side: Side, outputs: Parts, z: Parts) -> list[Gaussian]:
    """Return p(z), from the output before a step; z gives the shape."""
    kind = side.interface.kind
    assert isinstance(kind, VrnnKind)
    if kind.prior == "standard":
        return [standard(one) for one in z]
    hidden = relu(side.mapped("prior_hidden", outputs))
    return [gaussian(both) for both in side.mapped("prior", hidden)]


def relu(parts: Parts) -> Parts:
    return [torch.relu(part) for part in parts]


def added(one: Parts, other: Parts) -> Parts:
    return [a + b for a, b in zip(one, other, strict=True)]


def _joined(steps: Sequence[Parts]) -> Parts:
    """Return each member's tensors of all steps as one."""
    return [torch.stack(member) for member in zip(*steps, strict=True)]
