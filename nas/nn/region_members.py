"""K members of `RegionModel` as one module; see `nas.nn.attention_members`."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.compile.rows import Rows
from nas.compile.stacked import taken_apart
from nas.nn.attention import refuse_state
from nas.nn.attention_members import AttentionMembers, each, whole
from nas.nn.members import MemberStates, RNNMembers
from nas.nn.model import Network
from nas.nn.regions import RegionModel, annotated, regions_of
from nas.tasks.kinds import AttentionForm


class RegionMembers(AttentionMembers):
    """Members that are `RegionModel`s."""

    NETWORK: ClassVar[type[Network]] = RegionModel

    @property
    def form(self) -> AttentionForm:
        return regions_of(self.interface).form

    @property
    def writer(self) -> RNNMembers:
        return self.rnn

    _penalties: Tensor | None = None

    @property
    def keeps_weights(self) -> bool:
        return regions_of(self.interface).penalty > 0

    def added_loss(self) -> Tensor | None:
        return self._penalties

    def _doubly_stochastic(self, weights: Tensor, batch: int) -> Tensor:
        """Return the penalty of each member, (K,), the mean over the captions of a minibatch.

        It is the sum over regions of the squares of 1 less the weights of all written steps (Xu et
        al. 2015, equation 14); `weights` are (K, written * B, regions).
        """
        scale = regions_of(self.interface).penalty / batch
        parts = taken_apart(weights)
        sums = [part.unflatten(0, (-1, batch)).sum(0) for part in parts]
        return torch.stack([scale * (1 - one).square().sum() for one in sums])

    def outputs(self, inputs: Tensor, state: MemberStates | None) -> tuple[Tensor, MemberStates]:
        """Return the output layer's inputs, (K, T * B, width), zeros at the regions.

        Raises:
            UserError: if a state is given.
        """
        refuse_state(state)
        about, batch = regions_of(self.interface), inputs.shape[1]
        rows = self.embedded(inputs.flatten(0, 1))
        assert isinstance(rows, Tensor), "regions are features"
        n_rows = about.regions * batch
        annotations = annotated(rows[:, :n_rows], about).unflatten(1, (-1, batch)).transpose(1, 2)
        padded = torch.zeros(batch, about.regions, dtype=torch.bool, device=inputs.device)
        if about.start == "mean":
            y, state = self._after_mean(annotations)
        else:
            y = rows.new_zeros(self.members, batch, self.rnn.output_size)
        y, state, weights = self._write(rows[:, n_rows:], annotations, padded, y, state)
        if self.keeps_weights:
            is_written = inputs[about.regions :, :, : about.symbols].any(-1).flatten()
            self._penalties = self._doubly_stochastic(weights * is_written[:, None], batch)
        return F.pad(self.dropped(y), (0, 0, n_rows, 0)), state

    def _after_mean(self, annotations: Tensor) -> tuple[Tensor, MemberStates]:
        """Return outputs and states after a step that reads the mean annotation."""

        def mean(annotations: Tensor, to_x: Tensor) -> Tensor:
            return F.linear(annotations.mean(1), to_x)

        matrix = self.get_parameter("start")
        x = whole(each(mean, self.parts(annotations), self.parts(matrix)))
        return self.writer.run(x, Rows((x.shape[1],)), None, self.dropped)
