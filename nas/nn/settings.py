"""The hyperparameters of one training run."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from nas.errors import CellError
from nas.tasks.fields import ADDED

Stacking = Literal["plain", "residual", "norm", "residual_norm"]
"""How each layer above the first is joined to the one below. With "norm" it reads rows of mean 0
and variance 1, without gain and bias (Ba et al. 2016); with "residual" its input, not normalised,
is added to its output (He et al. 2016; both are the pre-norm of Xiong et al. 2020). None has
parameters."""
STACKINGS: tuple[Stacking, ...] = get_args(Stacking)


@dataclass(frozen=True)
class Settings:
    """The hyperparameters of one training run (Jozefowicz et al. 2015, section 3.7)."""

    n_params: int = 25_000
    """Parameter budget of the whole model; the width is the largest that meets it."""
    num_layers: int = 1
    init_scale: float = 1.0
    """Weights are drawn from U[-s, s] with s = init_scale / sqrt(units in the layer)."""
    learning_rate: float = 0.5
    clip_norm: float = 5.0
    """Gradients are scaled down to this global norm."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    dropout: float = 0.0
    """Probability of dropping a value between layers and before the output layer."""
    momentum: float = dataclasses.field(default=0.0, metadata=ADDED)
    """The momentum of sgd, in [0, 1)."""
    stacking: Stacking = dataclasses.field(default="plain", metadata=ADDED)
    """How layers are joined; see `Stacking`."""


def described_stacking(stacking: Stacking) -> dict[str, str]:
    """Return the stacking for the description of a model; plain ones go without."""
    return {} if stacking == "plain" else {"stacking": stacking}


def check_stacking(name: str) -> None:
    """Raise CellError if there is no such way to stack layers."""
    if name not in STACKINGS:
        raise CellError(f'stacking must be one of {", ".join(STACKINGS)}, got "{name}".')
