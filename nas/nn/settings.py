"""The hyperparameters of one training run."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from nas.nn.stacking import Stacking

ADDED = {"added": True}
"""Metadata of fields that the first studies did not have; see `described`."""


def described(data: Any) -> dict[str, Any]:
    """The fields of a dataclass, nested, without added ones that have their default.

    So seeds and digests of what was possible before a field was added stay what they were.
    """
    plain = dataclasses.asdict(data)
    for field in dataclasses.fields(data):
        if field.metadata.get("added") and getattr(data, field.name) == field.default:
            del plain[field.name]
    return plain


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
    """Of sgd, in [0, 1)."""
    stacking: Stacking = dataclasses.field(default="plain", metadata=ADDED)
    """What stands between layers."""
