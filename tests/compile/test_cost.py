"""What a plan costs: against hand counts, torch's own counter, and the cost of the cell."""

import pytest
import torch
from hypothesis import given
from torch.utils.flop_counter import FlopCounterMode

from nas.cell import OPS, Cell, loads
from nas.cell.count import width_unit
from nas.compile.buffers import Layout, Shape
from nas.compile.cost import Cost, Work, computed_again, cost_of, kept, operations
from nas.compile.emit import emit
from nas.compile.passes import make_plan
from nas.compile.plan import Plan
from nas.compile.reference import EagerCell
from nas.compile.rows import Rows
from nas.zoo import ZOO
from tests.compile.backends import fitting
from tests.strategies import HIDDEN_SIZE, cells, input_size

D, H = 3, 5


def plan_of(name: str, input_size: int = D, lanes: int = 1) -> Plan:
    return make_plan(ZOO[name], input_size, H, lanes)


# Products of a step with matrices of H x H (first in the loop, then their gradients by value and by
# matrix), of H x D outside; pointwise operations for a unit, forward and backward:
# tanh and sigmoid are 10 forward, g * (1 - y * y) and g * y * (1 - y) 3 backward; a * b is 1, 2.
HAND = {
    # tanh(linear(x, h)); y and h are one value with two gradients, which are added
    "rnn": (1, 1, 10, 3 + 1),
    # 5 activations, 3 products and a sum; gradients of h, c and tanh(c) have two parts: h is y and
    # h, c is a state and read by tanh
    "lstm": (4, 4, 50 + 4, 15 + 6 + 2),
    # 3 activations, r * h, z * h, (1 - z) * n, the sum, 1 - z; h is read 2 times (by r * h, z * h)
    # beside the matrices, z 2 times, the result is y and h; 1 - z is computed again
    "gru": (3, 3, 30 + 5, 9 + 6 + 1 + 3 + 1),
    # 2 activations, f * h, (1 - f) * h, f * n, the sum, 1 - f; f is read 3 times, h 2 times;
    # 1 - f is computed again
    "mgu": (2, 2, 20 + 5, 6 + 6 + 1 + 2 + 1 + 1 + 1),
    # In the loop r and the candidate: 2 activations, r * h, the sum with tanh(x), times z,
    # h * (1 - z), the sum; h is read 2 times. Outside z, tanh(x), 1 - z.
    "mut1": (2, 2, 20 + 5, 6 + 6 + 1 + 1),
}


@pytest.mark.parametrize("name", HAND)
def test_operations_of_a_step_as_counted_by_hand(name: str) -> None:
    inner, outer, forward, backward = HAND[name]
    n_inputs = H if name == "mut1" else D
    cost = cost_of(plan_of(name, n_inputs))
    square, given = 2 * H * H, 2 * H * n_inputs
    assert cost.loop == Work(inner * square, forward * H)
    assert cost.loop_back == Work(inner * square, backward * H)
    assert cost.loop_matrices == inner * square
    assert cost.hoisted.products == outer * given
    assert cost.hoisted_back.products == outer * given  # x is data: gradients of matrices alone
    assert (cost.hoisted.pointwise > 0) == (name == "mut1")


def test_what_mut1_hoists_as_counted_by_hand() -> None:
    """z = sigmoid(linear(x)), tanh(x) and 1 - z; x is data, and tanh(x) needs no gradient."""
    cost = cost_of(plan_of("mut1", H))
    assert cost.hoisted == Work(2 * 2 * H * H, (10 + 10 + 1) * H)
    assert cost.hoisted_back == Work(2 * 2 * H * H, (3 + 1) * H)
    moving = cost_of(plan_of("mut1", H), x_is_data=False)
    assert moving.hoisted_back == Work(4 * 2 * H * H, (3 + 1 + 3) * H)


WHOLE = [name for name in ZOO if width_unit(ZOO[name]) == 1]
"""Cells without blocks, which the loop multiplies as whole matrices."""


@pytest.mark.parametrize("name", WHOLE)
def test_a_zoo_cell_costs_forward_what_its_nodes_do(name: str) -> None:
    """No zoo cell repeats itself, so that there is nothing to save."""
    assert cost_of(plan_of(name, H)).forward == ZOO[name].flops(H, H)


def torch_products(cell: Cell, n_inputs: int, hidden: int) -> tuple[int, int]:
    """Operations of the matrix products of the eager reference: forward, backward."""
    layer = EagerCell(cell, n_inputs, hidden)
    n_states = len(cell.states)
    given = [torch.rand(1, width, requires_grad=True) for width in layer.sizes[: 1 + n_states]]
    below = [torch.rand(1, hidden, requires_grad=True) for _ in cell.verticals]
    with FlopCounterMode(display=False) as forward:
        y, new, above = layer.step(given[0], given[1:], below, 0)
        loss = sum(value.sum() for value in (y, *new, *above))
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("name", WHOLE)
def test_products_are_those_that_torch_counts(name: str) -> None:
    cost = cost_of(plan_of(name, H), x_is_data=False)
    forward = cost.loop.products + cost.hoisted.products
    backward = cost.loop_back.products + cost.loop_matrices + cost.hoisted_back.products
    assert (forward, backward) == torch_products(ZOO[name], H, H)


@given(cells())
def test_no_cell_costs_more_forward_than_its_nodes(cell: Cell) -> None:
    """Equal expressions count once; independent blocks of the loop are one matrix."""
    n_inputs = input_size(cell)
    cost = cost_of(make_plan(cell, n_inputs, HIDDEN_SIZE, 1))
    if not any(n.op in ("block_diagonal", "masked") for n in cell.nodes):
        assert cost.forward <= cell.flops(n_inputs, HIDDEN_SIZE)
    assert cost.parameter_bytes == 4 * cell.n_params(n_inputs, HIDDEN_SIZE)


def test_blocks_are_a_whole_matrix_in_the_loop_alone() -> None:
    text = "    return tanh(block_diagonal(h, blocks=2) + block_diagonal(cos(x), blocks=2))\n"
    cost = cost_of(make_plan(loads("def f(x, h):\n" + text), 4, 4, 1))
    assert (cost.loop.products, cost.hoisted.products) == (2 * 16, 2 * 8)


def test_a_learned_vector_costs_three_operations_backward() -> None:
    """One for its argument, two for itself: its gradient is summed over rows."""
    text = "def f(x, h):\n    return tanh(linear(x) + diagonal(h))\n"
    cost = cost_of(make_plan(loads(text), D, H, 1))
    assert cost.loop == Work(0, (1 + 1 + 10) * H)
    assert cost.loop_back == Work(0, (3 + 3 + 1) * H)  # and y and h are one value


def test_a_map_that_reads_a_value_twice_multiplies_it_once() -> None:
    cost = cost_of(make_plan(loads("def f(x, h):\n    return tanh(linear(h, h))\n"), D, H, 1))
    assert cost.loop.products == 2 * H * H


def names_of(plan: Plan, nodes: tuple[int, ...]) -> list[str]:
    return [plan.node(i).name or plan.node(i).op for i in nodes]


def test_what_derivatives_read_is_kept_or_computed_again() -> None:
    """Of the GRU r * h, which a matrix multiplies, is kept, and 1 - z is not."""
    plan = plan_of("gru")
    assert names_of(plan, kept(plan)) == ["h", "r", "z", "mul", "n"]
    assert names_of(plan, computed_again(plan)) == ["sub"]


def test_bytes_are_those_of_whole_vectors() -> None:
    """LSTM: four matrices of 5 rows by 8 columns; h, c, four gates and tanh(c) in rows of 8."""
    cost = cost_of(plan_of("lstm", lanes=4))
    assert cost.weight_bytes == 4 * (4 * 5 * 8)
    assert cost.kept_bytes == 4 * (7 * 8)
    assert cost.parameter_bytes == 4 * 4 * (H * (D + H) + H)
    assert cost_of(plan_of("lstm", lanes=4), value_bytes=8).weight_bytes == 2 * cost.weight_bytes


def test_a_sequence_costs_its_rows_and_its_inputs() -> None:
    nothing = Work(0, 0)
    cost = Cost(Work(1, 2), Work(10, 20), 100, Work(1000, 0), Work(0, 4000), 0, 0, 0)
    assert cost.forward == 1003
    assert cost.backward == 4130
    assert cost.sequence(7, backward=False) == 7 * 1003
    assert cost.sequence(7) == 7 * (1003 + 4130)
    assert cost.sequence(7, inputs=2) == 7 * 133 + 2 * 5000
    assert nothing.total == 0


@pytest.mark.parametrize(
    ("formula", "count"),
    [
        ("g", 0),
        ("-g", 1),
        ("g * (1 - y * y)", 3),
        ("where(a > 0, g, slope * g)", 3),
        ("g * 0.5 / y", 2),
        ("g * cos(a)", 1 + OPS["cos"].flops),
        ("y * (g - total(g * y))", 4),
    ],
)
def test_operations_of_a_formula(formula: str, count: int) -> None:
    assert operations(formula) == count


@pytest.mark.parametrize("name", ZOO)
def test_kept_bytes_are_what_a_longer_sequence_takes(name: str) -> None:
    width = fitting(ZOO[name], H)
    plan = make_plan(ZOO[name], width, width, 16)
    source = emit(plan)

    def memory(steps: int) -> int:
        rows = Rows((4,) * steps)
        return Layout(plan, source, Shape(rows, rows.total, 1, 1, True, False), 4).size

    assert 4 * (memory(500) - memory(300)) == 200 * 4 * cost_of(plan).kept_bytes
