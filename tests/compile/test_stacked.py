"""Members of a stacked layer are the layers that they would be alone, to the gradients."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.cell import Cell
from nas.compile import eager
from nas.compile.backend import choose
from nas.compile.reference import EagerCell
from nas.compile.rows import LayerOutput, Rows, Tokens
from nas.compile.stacked import Inputs, StackedCell
from nas.zoo import ZOO
from tests.compile.test_reference import EVERYTHING
from tests.known import FEW, compiled
from tests.tensors import seeded
from tests.tolerances import EXACT_ALGEBRA, SAME_FORMULA

HIDDEN, SYMBOLS = 8, 5
CELLS = {**ZOO, "everything": EVERYTHING}
COUNTS = {"dense": (4, 4, 4), "packed": (5, 4, 4, 1)}
Values = tuple[Tensor | Tokens, list[Tensor], list[Tensor]]
"""The input, the states and the verticals."""


def alone(cell: Cell, scale: float, seed: int, bias: bool = True) -> EagerCell:
    layer = EagerCell(cell, HIDDEN, HIDDEN, bias, dtype=torch.float64)
    layer.reset_parameters(scale, seeded(seed))
    return layer


def stacked(cell: Cell, members: int, bias: bool = True) -> StackedCell:
    layer = StackedCell(cell, HIDDEN, HIDDEN, members, bias=bias, dtype=torch.float64)
    scales, seeds = zip(*(member(k) for k in range(members)), strict=True)
    layer.reset_parameters(scales, [seeded(seed) for seed in seeds])
    return layer


def member(k: int) -> tuple[float, int]:
    """Init scale and seed."""
    return 0.7 + 0.2 * k, 10 + k


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", compiled(CELLS))
def test_members_are_drawn_as_layers_are(name: str, bias: bool) -> None:
    layer = stacked(CELLS[name], 3, bias)
    for k in range(3):
        expected = alone(CELLS[name], *member(k), bias).state_dict()
        state = layer.member_state(k)
        assert list(state) == list(expected)
        assert all(torch.equal(state[label], expected[label]) for label in state)


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    stacked(ZOO["lstm"], 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_nodes_name_their_weights_and_biases() -> None:
    layer, one = stacked(EVERYTHING, 2), alone(EVERYTHING, *member(1))
    for i in layer.labels:
        assert torch.equal(layer.weight_at(i)[1], one.weight_at(i))
        bias, expected = layer.bias_of(i), one.bias_of(i)
        assert (bias is None) == (expected is None)
        assert bias is None or torch.equal(bias[1], expected)


def test_members_that_are_kept_are_those_that_were_there() -> None:
    layer = stacked(ZOO["gru"], 4)
    layer.keep([3, 1])
    assert layer.members == 2
    for place, k in enumerate((3, 1)):
        expected = alone(ZOO["gru"], *member(k)).state_dict()
        assert all(torch.equal(layer.member_state(place)[n], expected[n]) for n in expected)


@dataclass(frozen=True)
class Problem:
    cell: Cell
    members: int
    counts: tuple[int, ...]
    reverse: bool
    tokens: bool

    def values(self) -> Values:
        """Drawn anew, so that gradients of two runs do not meet."""
        generator, rows = seeded(1), Rows(self.counts)

        def drawn(*shape: int) -> Tensor:
            shape = (self.members, *shape)
            values = torch.randn(shape, generator=generator, dtype=torch.float64)
            return values.requires_grad_()

        sizes = stacked(self.cell, 1).sizes
        states = [drawn(rows.batch, sizes[1 + i]) for i in range(len(self.cell.states))]
        verticals = [drawn(rows.total, HIDDEN) for _ in self.cell.verticals]
        if not self.tokens:
            return drawn(rows.total, HIDDEN), states, verticals
        index = torch.randint(SYMBOLS, (rows.total,), generator=generator)
        return Tokens(drawn(SYMBOLS, HIDDEN), index), states, verticals


def part(values: Values, k: int) -> Values:
    """What member k sees."""
    x, states, verticals = values
    x = Tokens(x.table[k], x.index) if isinstance(x, Tokens) else x[k]
    return x, [s[k] for s in states], [v[k] for v in verticals]


def leaves(values: Values) -> list[Tensor]:
    x, states, verticals = values
    return [x.table if isinstance(x, Tokens) else x, *states, *verticals]


def weighted(outputs: Sequence[Tensor]) -> Tensor:
    """A sum of the outputs in which no two values count alike."""
    loss = sum((out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum() for out in outputs)
    assert isinstance(loss, Tensor)
    return loss


def gradients(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(leaf) for leaf in of]
    return list(torch.autograd.grad(loss, of, allow_unused=True, materialize_grads=True))


def together(run: Callable[..., LayerOutput], problem: Problem) -> list[list[Tensor]]:
    """Outputs and gradients, by member."""
    layer, values = stacked(problem.cell, problem.members), problem.values()
    x, states, verticals = values
    y, finals, above = run(layer, x, Rows(problem.counts), states, verticals, problem.reverse)
    outputs = [y, *finals, *above]
    members = range(problem.members)
    loss = sum(weighted([out[k] for out in outputs]) for k in members)
    assert isinstance(loss, Tensor)
    found = [*outputs, *gradients(loss, [*leaves(values), *layer.parameters()])]
    return [[tensor[k] for tensor in found] for k in members]


def in_turn(problem: Problem) -> list[list[Tensor]]:
    """The same by one EagerCell a member."""
    found: list[list[Tensor]] = []
    for k in range(problem.members):
        layer, values = alone(problem.cell, *member(k)), part(problem.values(), k)
        x, states, verticals = values
        run = eager.run_layer
        y, finals, above = run(layer, x, Rows(problem.counts), states, verticals, problem.reverse)
        outputs = [y, *finals, *above]
        of = [*leaves(values), *layer.parameters()]
        found.append([*outputs, *gradients(weighted(outputs), of)])
    return found


def chosen(layer: StackedCell, x: Tensor | Tokens, rows: Rows, states: list[Tensor], *rest: Any):
    """What a model runs: compiled C, once a stacked layer can have it."""
    return choose("auto", layer, x, states, rows)(layer, x, rows, states, *rest)


def at_once(
    layer: StackedCell,
    x: Tensor | Tokens,
    rows: Rows,
    states: list[Tensor],
    verticals: list[Tensor],
    reverse: bool,
) -> LayerOutput:
    """The eager form for devices other than the CPU."""
    x = x.table.index_select(1, x.index) if isinstance(x, Tokens) else x
    inputs = Inputs(x, None, rows, verticals, reverse)
    return eager.run_at_once(layer.template, dict(layer.named_parameters()), inputs, states)


RUNS = {"eager": eager.run_layer, "eager at once": at_once, "chosen": chosen}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", compiled(CELLS, FEW))
def test_members_give_what_layers_give(name: str, run: str) -> None:
    place = list(CELLS).index(name)  # so that sizes, counts and directions meet in all ways
    members, counts = (1, 3, 4)[place % 3], list(COUNTS.values())[place % 2]
    problem = Problem(CELLS[name], members, counts, place % 5 > 2, place % 7 > 3)
    for ours, expected in zip(together(RUNS[run], problem), in_turn(problem), strict=True):
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(
                one, other, **(SAME_FORMULA if run != "chosen" else EXACT_ALGEBRA)
            )


def test_on_the_cpu_a_member_does_not_depend_on_the_others() -> None:
    """To the bit, in single precision and at sizes that no vector divides."""
    torch.manual_seed(0)
    layer = StackedCell(ZOO["lstm"], 7, 7, 20)
    layer.reset_parameters([1.0] * 20, [seeded(k) for k in range(20)])
    x, states = torch.randn(20, 9, 7), [torch.randn(20, 3, 7) for _ in range(2)]
    rows = Rows((3, 3, 3))
    whole = chosen(layer, x, rows, states, [], False)
    for indices in ([0], [7, 2], [19, 3, 5]):
        some = copy.deepcopy(layer)
        some.keep(indices)
        y, finals, _ = chosen(some, x[indices], rows, [s[indices] for s in states], [], False)
        assert torch.equal(y, whole[0][indices])
        assert all(torch.equal(f, w[indices]) for f, w in zip(finals, whole[1], strict=True))
