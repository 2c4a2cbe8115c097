"""STORN: music by a recurrent network with a latent variable at each frame."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from nas.tasks.base import Interface
from nas.tasks.kinds import StornKind
from nas.tasks.music import N_KEYS, Rolls


@dataclass(frozen=True)
class Storn(Rolls):
    """The stochastic recurrent network of Bayer & Osendorfer 2015, arXiv:1411.7610, on music.

    The latent variable of a frame is z_t, of N(0, 1). One stack of the cell reads x_1 to x_t and
    gives q(z_t), a normal distribution of independent numbers; another reads x_{t-1} and z_t and
    gives the probability of each key of x_t. The loss is the bound on -ln p(x) in nats a frame, of
    one draw of z, with the divergence from N(0, 1) computed exactly; on test it comes with the
    importance-weighted bound of 64 draws.
    """

    name: ClassVar[str] = "storn"

    epochs: int = field(default=12, kw_only=True)
    batches_per_epoch: int = field(default=100, kw_only=True)
    latent_size: Annotated[int, "at least 1"] = field(default=16, kw_only=True)
    """Numbers of z at each frame."""
    annealing: Annotated[int, "at least 0"] = field(default=0, kw_only=True)
    """Minibatches over which the weight of the divergence rises from 0 to 1; 0: it is always 1."""

    @property
    def interface(self) -> Interface:
        kind = StornKind(self.latent_size, self.annealing)
        return Interface(N_KEYS, N_KEYS, "bernoulli", tokens=False, kind=kind)
