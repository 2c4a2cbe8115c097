"""VRNN: music by a recurrent network whose latent variable depends on its state."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from nas.tasks.base import Interface
from nas.tasks.kinds import VrnnKind
from nas.tasks.music import N_KEYS, Rolls


@dataclass(frozen=True)
class Vrnn(Rolls):
    """The variational recurrent network of Chung et al. 2015, arXiv:1506.02216, on music.

    p(z_t) and q(z_t), which also reads x_t, are normal distributions of independent numbers that
    depend on the cell's output at frame t - 1; that output and z_t give the probability of each key
    of x_t; then the cell reads x_t and z_t. The hidden layers of the paper are one of ReLUs each,
    as wide as the cell. The loss is the bound on -ln p(x) in nats a frame, of one draw of z, with
    the divergence of each frame computed exactly; on test it comes with the importance-weighted
    bound of 64 draws.
    """

    name: ClassVar[str] = "vrnn"

    latent_size: Annotated[int, "at least 1"] = field(default=16, kw_only=True)
    """Numbers of z at each frame."""
    annealing: Annotated[int, "at least 0"] = field(default=0, kw_only=True)
    """Minibatches over which the weight of the divergence rises from 0 to 1; 0: it is always 1."""
    prior: Literal["learned", "standard"] = field(default="learned", kw_only=True)
    """p(z_t): learned from the output at the frame before, or N(0, 1), as in the paper's VRNN-I."""

    @property
    def interface(self) -> Interface:
        kind = VrnnKind(self.latent_size, self.annealing, self.prior)
        return Interface(N_KEYS, N_KEYS, "bernoulli", tokens=False, kind=kind)
