"""Loops of `nas.nn.loop_cell` with the parameters of a network, or of K members of it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from nas.cell.cell import Cell
from nas.compile.backend import choose
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from nas.compile.stacked import StackedCell
from nas.nn.latent import Parts, Side
from nas.nn.loop_cell import Loop


@lru_cache(maxsize=256)
def loop_layer(cell: Cell, input_size: int, hidden_size: int) -> EagerCell:
    """Return a loop as a layer of one network, without parameters."""
    return EagerCell(cell, input_size, hidden_size, device="meta")


@lru_cache(maxsize=256)
def stacked_loop_layer(cell: Cell, input_size: int, hidden_size: int) -> StackedCell:
    """Return a loop as a layer of members, without parameters."""
    with torch.device("meta"):
        return StackedCell(cell, input_size, hidden_size, 1)


def looped(side: Side, loop: Loop, x: Parts, given: Sequence[Parts]) -> Parts:
    """Run a loop over all steps from its initial states; return what it gives.

    x is (time, batch, width), each value of `given` (time, batch, hidden).
    """
    n_steps, batch = x[0].shape[:2]
    every = (x, *given, *_around(side, loop, x))
    read = [side.joined([one.flatten(0, 1) for one in value]) for value in every]
    layer = side.layer_of(loop, x[0].shape[-1])
    starts = _initial(layer, read[0], batch)
    y, _ = _run(side, layer, read, starts, Rows.equal(n_steps, batch))
    return [one.unflatten(0, (n_steps, batch)) for one in side.apart(y)]


class Stepping:
    """A loop that goes one step at a time, as something else happens between its steps."""

    def __init__(self, side: Side, loop: Loop, like: Parts) -> None:
        """`like` are tensors (batch, …) of the members."""
        self._side, self._loop, self._layer = side, loop, side.layer_of(loop, 1)
        self._x = [one.new_zeros(1, len(one), 1) for one in like]
        self._read = side.joined([one[0] for one in self._x])
        self._unset = self._states = _initial(self._layer, self._read, len(like[0]))
        self._index = 0

    def __call__(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Go a step on, with values that go through; return what all become, and the outputs of all
        stacks: tensors (batch, width), of members `joined`."""
        side, loop, states = self._side, self._loop, list(self._states)
        for name, place in loop.through.items():
            states[place] = given.get(name, self._unset[place])
        around = [side.joined([one[0] for one in v]) for v in _around(side, loop, self._x)]
        rows = Rows((len(self._x[0][0]),), self._index)
        _, self._states = _run(side, self._layer, [self._read, *around], states, rows)
        self._index += 1
        named = {**loop.outputs, **loop.through}
        return {name: self._states[place] for name, place in named.items()}


def _around(side: Side, loop: Loop, x: Parts) -> list[Parts]:
    """Return what a loop reads beside what is given: zeros below the stacks, and what dropout keeps
    between their layers, each (time, batch, hidden)."""
    shape = (*x[0].shape[:2], side.stack("rnn").hidden_size)
    zeros = [[one.new_zeros(shape) for one in x]] * loop.n_zeros
    ones = [one.new_ones(shape) for one in x]
    return zeros + [side.thinned(ones) for _ in range(loop.n_masks)]


def _initial(layer: EagerCell | StackedCell, x: Tensor, batch: int) -> list[Tensor]:
    shape = (*x.shape[:-2], batch)
    return [
        x.new_full((*shape, layer.sizes[1 + place]), state.initial)
        for place, state in enumerate(layer.cell.states)
    ]


def _run(
    side: Side,
    layer: EagerCell | StackedCell,
    read: Sequence[Tensor],
    states: Sequence[Tensor],
    rows: Rows,
) -> tuple[Tensor, list[Tensor]]:
    """Run all steps: x and what else is read, of members (K, rows of all steps, width), and the
    states before them, to y and the states after them."""
    x, *below = read
    run = choose(side.stack("rnn").backend, layer, x, states, rows)
    y, finals, _ = run(layer, x, rows, states, below, False)
    return y, finals
