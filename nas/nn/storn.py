"""STORN: a recurrent network with an independent latent variable at each step.

Bayer & Osendorfer 2015, arXiv:1411.7610: h_t = f(x_{t-1}, z_t, h_{t-1}) gives p(x_t), with z_t from
N(0, 1), and a recognition network that reads x_1 to x_t gives q(z_t). Both stacks of the cell run
over whole sequences. The standard deviation is a softplus of what the recognition network gives.
"""

import torch
from torch import Tensor

from nas.nn.latent import Draw, Noise, Parts, Side, Terms, bits_loss, gaussian, standard, terms
from nas.tasks.kinds import StornKind


def storn(side: Side, inputs: Tensor, targets: Tensor, noise: Noise) -> list[Terms]:
    """Return the terms of each member for one draw of z; `inputs` are x_0 to x_{T-1}, `targets` x_1
    to x_T, both (time, batch, keys)."""
    read = side.ran("recognition", side.mapped("recognised", [targets] * side.members))
    posteriors = [gaussian(both) for both in side.mapped("posterior", read)]
    draws = noise(tuple(posteriors[0].mean.shape))
    z = [one.drawn(draw) for one, draw in zip(posteriors, draws, strict=True)]
    before = side.mapped("embedding", [inputs] * side.members)
    both = zip(before, side.mapped("latent", z), strict=True)
    y = side.thinned(side.ran("rnn", [x + latent for x, latent in both]))
    return [
        terms(bits_loss(logits, targets), posterior, standard(drawn), drawn)
        for logits, posterior, drawn in zip(side.mapped("head", y), posteriors, z, strict=True)
    ]


def storn_samples(side: Side, first: Tensor, n_steps: int, noise: Noise, draw: Draw) -> Parts:
    """Return sequences of each member, (n_steps, batch, keys); `first` is x_0, (batch, keys)."""
    kind = side.interface.kind
    assert isinstance(kind, StornKind)
    x, found = [first] * side.members, []
    y, state = side.started("rnn", x)
    for t in range(n_steps):
        latent = side.mapped("latent", noise((len(first), kind.latent_size)))
        both = zip(side.mapped("embedding", x), latent, strict=True)
        y, state = side.stepped("rnn", [one + other for one, other in both], state, t)
        x = draw(side.mapped("head", y))
        found.append(x)
    return [torch.stack(member) for member in zip(*found, strict=True)]
