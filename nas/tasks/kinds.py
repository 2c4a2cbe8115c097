"""Kinds of models that have more around the cell than an embedding and an output layer.

An interface names one with its sizes (`nas.tasks.base.Interface.kind`). `nas/nn/layout.py` has the
parameters that each kind has, and `nas/nn/kinds.py` its models.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal


@dataclass(frozen=True)
class ModelKind:
    """A kind of model; its fields are its sizes and forms, as plain numbers, texts and flags."""

    kind: ClassVar[str]
    """Its name in the description of weights."""


@dataclass(frozen=True)
class LatentKind(ModelKind):
    """A model of p(x) with latent variables z, trained on a bound of its own on -ln p(x).

    Every window is fresh and holds whole examples: what is modelled are the targets, and a position
    that is scored counts.
    """

    n_sampled: ClassVar[int] = 100
    """Positions of a sample unless it is asked for more or fewer."""

    latent_size: Annotated[int, "at least 1"]
    """The numbers of z at each step."""
    annealing: Annotated[int, "at least 0"] = 0
    """Minibatches over which the weight of the divergence rises from 0 to 1 in training."""


@dataclass(frozen=True)
class StornKind(LatentKind):
    """STORN: one stack reads the sequence and gives q(z), another reads z and the step before."""

    kind: ClassVar[str] = "storn"


@dataclass(frozen=True)
class VrnnKind(LatentKind):
    """VRNN: z of a step depends on the output of the step before."""

    kind: ClassVar[str] = "vrnn"
    prior: Literal["learned", "standard"] = "learned"
    """p(z): computed from the output of the step before, or N(0, 1)."""


@dataclass(frozen=True)
class DrawKind(LatentKind):
    """DRAW: each position is an image, which is looked at and drawn in several glimpses."""

    kind: ClassVar[str] = "draw"
    n_sampled: ClassVar[int] = 1
    side: Annotated[int, "at least 1"] = 8
    """Pixels along an edge of an image."""
    glimpses: Annotated[int, "at least 1"] = 8
    """Steps in each of which the image is looked at and drawn on."""
    read: Annotated[int, "at least 0"] = 0
    """Filters along an edge of the window that is read; 0: the whole image is read."""
    write: Annotated[int, "at least 0"] = 0
    """Filters along an edge of the window that is written; 0: the whole canvas is written."""
    canvas: Literal["learned", "zeros"] = "learned"
    """The canvas before the first glimpse."""


AttentionForm = Literal["additive", "general"]
"""How a written step attends: with "additive" its context is computed from the output of the step
before and is an input of the cell (Bahdanau et al. 2015); with "general" it is computed from the
step's own output, and the cell does not see it (Luong et al. 2015)."""
Start = Literal["mean", "initial"]
"""Where the states of a writer of captions begin: after a step in which the cell reads the mean of
all annotations, or at the cell's own initial values."""
Annotation = Literal["relu", "linear"]
"""What is applied to the pixels of a region, and its place, after their matrix: max(0, .), or
nothing."""


@dataclass(frozen=True)
class RegionsKind(ModelKind):
    """A model that reads a window of captions: the regions of an image, then the text written.

    Every window is fresh, and inputs are features. The first `regions` steps are the regions, whose
    first `symbols` features are 0. Each further step has a 1 at the place of the symbol that was
    written before, the last one, which is the start symbol, at first, and zeros everywhere after
    the end of the text. The steps that write are scored.
    """

    kind: ClassVar[str] = "regions"
    form: AttentionForm
    regions: Annotated[int, "at least 1"]
    """Steps before the first written one."""
    symbols: Annotated[int, "at least 1"]
    """Features that say which symbol was written before."""
    start: Start = "mean"
    annotation: Annotation = "relu"
    penalty: Annotated[float, "in [0, 100]"] = 0.0
    """The weight of the doubly stochastic penalty in the loss of training."""


KINDS: dict[str, type[ModelKind]] = {
    kind.kind: kind for kind in (StornKind, VrnnKind, DrawKind, RegionsKind)
}
