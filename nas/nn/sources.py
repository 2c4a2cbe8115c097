"""Where the sources of a window lie, for models that read them both ways and attend to them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from nas.compile.rows import Rows
from nas.errors import UserError
from nas.tasks.base import Attention


@dataclass(frozen=True)
class Way:
    """Sources read from their first symbol to their last, or from their last to their first."""

    places: Tensor
    """Of each row's symbol among the time * batch tokens of the window, (rows,)."""
    slots: Tensor
    """Of each row's output among the batch * steps annotations, (rows,)."""


@dataclass(frozen=True)
class Sources:
    """The sources of a window, of which no step is read that is padding in all of them.

    What is read of one source does not depend on the others: rows are those of a packed batch,
    the longest source first.
    """

    n_steps: int
    """Of the longest source."""
    rows: Rows
    forward: Way
    backward: Way
    order: Tensor
    """The stream of each sequence of the packed batch, (batch,)."""
    begins: Tensor
    """The slots of the sources' first symbols, (batch,)."""
    padded: Tensor
    """Where no source is, (batch, n_steps)."""
    written: slice
    """The steps of the window from the divider on, without those that are padding in all streams.
    """

    def packed(self, embedded: Tensor) -> PackedSequence:
        """One row for each row of a way, (rows, width), as torch's modules read a batch."""
        return PackedSequence(embedded, torch.tensor(self.rows.counts), self.order, self.unsorted)

    @property
    def unsorted(self) -> Tensor:
        """The place of each stream in the packed batch, (batch,)."""
        return self.order.argsort()


def sources(tokens: Tensor, attention: Attention) -> Sources:
    """Find the sources of tokens (time, batch), of which each stream has one.

    Raises:
        UserError: if the streams do not have a divider at one step, or a source is empty or is not
            padded at its start alone.
    """
    divider = _divider(tokens, attention)
    read = tokens[:divider] != attention.padding
    lengths = read.sum(0)
    n_steps = int(lengths.max()) if divider else 0
    steps = torch.arange(divider, device=tokens.device).unsqueeze(1)
    if not n_steps or not torch.equal(read, steps >= divider - lengths) or not lengths.all():
        raise UserError(
            "a source has at least one symbol and is padded at its start alone, got "
            f"{tokens[:divider].t().tolist()[int(lengths.argmin())]}."
        )
    order = lengths.argsort(descending=True, stable=True)
    step = torch.arange(n_steps, device=tokens.device).unsqueeze(1)
    active = step < lengths[order]
    stream = order.expand_as(active)[active]

    def way(time: Tensor) -> Way:
        here = time.expand_as(active)[active]
        batch = tokens.shape[1]
        slots = stream * n_steps + here - (divider - n_steps)
        return Way(here * batch + stream, slots)

    written = (tokens[divider:] != attention.padding).any(1).nonzero()
    return Sources(
        n_steps,
        Rows(tuple(active.sum(1).tolist())),
        way(divider - lengths[order] + step),
        way(divider - 1 - step),
        order,
        torch.arange(len(order), device=tokens.device) * n_steps + n_steps - lengths,
        ~read[divider - n_steps :].t().contiguous(),
        slice(divider, divider + int(written.max()) + 1),
    )


def _divider(tokens: Tensor, attention: Attention) -> int:
    """The step at which all streams have their first divider."""
    found = tokens == attention.divider
    steps = found.int().argmax(0)
    if not found.any(0).all() or (steps != steps[0]).any():
        raise UserError(
            f"a window with sources has the divider, symbol {attention.divider}, at one step of "
            f"all its sequences, got it at the steps {steps.tolist()} of {len(tokens)}."
        )
    return int(steps[0])
