"""The network around a cell that writes what an image shows, while it attends to its regions.

The annotation of a region is its pixels, and where it lies, through a matrix, the same that embeds
the written symbols. One stack of the cell writes, by soft attention (Xu et al. 2015,
arXiv:1502.03044, section 3 and 4.2). There the states begin as perceptrons of the mean annotation;
a matrix and tanh have no meaning for states that are counters or log weights, so the cell reads the
mean through a matrix as an input, one step before it writes: its states are then always such as it
makes itself. Clocks tick at that step as at the first written one.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.nn.attention import AttentionModel
from nas.nn.layers import States
from nas.nn.rnn import RNN
from nas.tasks.base import Interface
from nas.tasks.kinds import AttentionForm, RegionsKind


class RegionModel(AttentionModel):
    """Features (time, batch, inputs) of whole examples to scores (time, batch, outputs).

    Scores are those of the bias alone at the regions. What a window has says
    `nas.tasks.kinds.RegionsKind`. With the form "additive", the output layer reads the output of
    the cell and its context; with "general", both combined.
    """

    @property
    def regions(self) -> RegionsKind:
        """What the interface says of the regions."""
        return regions_of(self.interface)

    @property
    def form(self) -> AttentionForm:
        return self.regions.form

    @property
    def writer(self) -> RNN:
        return self.rnn

    @torch.no_grad()
    def captions(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Write captions of the regions of a window, reading at each step the likeliest symbol of
        the step before: symbols (written, batch), and weights (written, batch, regions).

        A caption goes on until its end, the last symbol; symbols after that mean nothing.
        """
        n, symbols = self.regions.regions, self.regions.symbols
        inputs = inputs.clone()
        inputs[n:] = 0
        written = inputs.new_full(inputs.shape[1:2], symbols - 1, dtype=torch.long)
        found: list[Tensor] = []
        for step in range(n, len(inputs)):
            inputs[step, :, :symbols] = F.one_hot(written, symbols)
            written = self(inputs)[0][step].argmax(-1)
            found.append(written)
        return torch.stack(found), self.weights(inputs)

    def _written(self, inputs: Tensor) -> tuple[Tensor, Tensor, States]:
        n, embedded = self.regions.regions, self.embedding(inputs)
        annotations = annotated(embedded[:n], self.regions).transpose(0, 1)
        padded = torch.zeros(annotations.shape[:2], dtype=torch.bool, device=inputs.device)
        state: States | None = None
        if self.regions.start == "mean":
            y, state = self.rnn.step(F.linear(annotations.mean(1), self._map("start")))
        else:
            y = embedded.new_zeros(inputs.shape[1], self.rnn.output_size)
        y, weights, state = self._write(embedded[n:], annotations, padded, y, state)
        return F.pad(self.dropout(y), (0, 0, 0, 0, n, 0)), weights, state


def annotated(rows: Tensor, regions: RegionsKind) -> Tensor:
    """Return annotations of embedded regions."""
    return rows.relu() if regions.annotation == "relu" else rows


def regions_of(interface: Interface) -> RegionsKind:
    """Return what an interface says of regions, which it has."""
    assert isinstance(interface.kind, RegionsKind), "models of other kinds have no regions"
    return interface.kind
