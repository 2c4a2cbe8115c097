"""What a time loop has to do: stages, what is hoisted, what is left out, and where columns lie."""

import pytest
from hypothesis import given

import nas
from nas.cell import Cell, loads
from nas.compile.passes import make_plan
from nas.compile.plan import MATRIX_OPS, Plan
from nas.zoo import ZOO
from tests.strategies import HIDDEN_SIZE, cells, input_size

# Matrix products of a step, one after another, as the papers' equations have them.
N_STAGES = {
    "rnn": 1,
    "irnn": 1,
    "lstm": 1,
    "lstm_peephole": 1,
    "lstm_fgr": 1,
    "gru": 2,
    "gru_v1": 1,
    "mgu": 2,
    "mut1": 2,
    "mut2": 2,
    "mut3": 2,
    "ugrnn": 1,
    "janet": 1,
    "mingru": 0,
}


def plan_of(text: str, hidden: int = 5, lanes: int = 4) -> Plan:
    return make_plan(loads(f"def f{text}\n"), 3, hidden, lanes)


def ops(plan: Plan, nodes: tuple[int, ...]) -> list[str]:
    return [plan.node(i).op for i in nodes]


@pytest.mark.parametrize("name", N_STAGES)
def test_number_of_dependent_products(name: str) -> None:
    for in_c in (False, True):
        plan = make_plan(ZOO[name], 32, 32, 8, in_c=in_c)
        assert plan.dependent_stages == N_STAGES[name]


def test_products_of_one_depth_are_one_matrix() -> None:
    (stage,) = make_plan(ZOO["lstm"], 32, 32, 8).stages
    assert [(t.column, t.width, t.padded) for t in stage.targets] == [
        (32 * k, 32, 32) for k in range(4)
    ]
    assert stage.columns == 128
    (product,) = stage.products
    assert (product.first, product.count) == (0, 128)
    (given,) = stage.inputs
    assert (given.arg, given.first, given.count) == (0, 0, 128)


def test_columns_are_padded_to_whole_vectors() -> None:
    plan = plan_of("(x, h):\n    a = linear(h, width=9)\n    return tanh(linear(h, x)) + linear(a)")
    first, second = plan.stages
    assert sorted((t.width, t.padded) for t in first.targets) == [(5, 8), (9, 12)]
    assert [(t.width, t.padded) for t in second.targets] == [(5, 8)]
    assert [t.column for t in first.targets] == [0, first.targets[0].padded]
    assert [plan.padded(t.node) for t in first.targets] == [t.padded for t in first.targets]


def test_a_number_is_not_padded() -> None:
    plan = plan_of("(x, h, s: 1):\n    return h * s, s")
    assert [plan.padded(i) for i in (0, 1, 2)] == [4, 8, 1]


def test_maps_that_read_the_same_lie_side_by_side() -> None:
    text = "(x, h, c):\n    a = linear(h) * linear(c) * linear(h, c) * linear(h)\n    return a, a"
    plan = plan_of(text)
    (stage,) = plan.stages
    read = [plan.loop_args(t.node) for t in stage.targets]
    assert read == [(1,), (1,), (1, 2), (2,)]
    assert [(p.arg, p.first, p.count) for p in stage.products] == [(1, 0, 24), (2, 16, 16)]


def test_what_knows_no_state_is_hoisted() -> None:
    plan = plan_of(
        "(x, h):\n    a = tanh(linear(x))\n    return a * h + cos(a) + step() + vector()"
    )
    assert not plan.stages
    assert ops(plan, plan.hoisted) == ["tanh", "cos", "step", "vector"]
    assert ops(plan, plan.regions[0]) == ["mul", "add", "add", "add"]
    assert plan.matrix_inputs == ()


def test_a_constant_stands_in_the_code() -> None:
    plan = plan_of("(x, h):\n    return 2 * h")
    assert plan.hoisted == ()


def test_a_folded_number_is_a_constant_at_its_place() -> None:
    plan = plan_of("(x, h):\n    k = exp(0) - 3\n    return k * h")
    place = [n.name for n in plan.cell.nodes].index("k")
    assert plan.node(place).op == "constant"
    assert plan.constant(place) == -2
    assert plan.cell.nodes[place].op == "sub"
    assert plan.args(plan.outputs[0]) == (place, 1)
    assert plan.hoisted == ()


def test_a_hoisted_value_that_only_a_matrix_reads_is_its_input() -> None:
    plan = plan_of("(x, h):\n    return tanh(linear(sin(x), h))")
    assert ops(plan, plan.matrix_inputs) == ["sin"]
    assert plan.hoisted == ()


def test_equal_expressions_are_one() -> None:
    plan = plan_of("(x, h):\n    return tanh(h + 1) * tanh(h + 1), tanh(h + 1)")
    assert sorted(ops(plan, tuple(plan.live))) == ["add", "constant", "mul", "state", "tanh"]
    assert plan.args(plan.outputs[0])[0] == plan.args(plan.outputs[0])[1] == plan.outputs[1]


def test_equal_maps_have_weights_of_their_own() -> None:
    plan = plan_of(
        "(x, h):\n    return linear(h) + linear(h) + vector() * diagonal(h) * diagonal(h)"
    )
    (stage,) = plan.stages
    assert len(stage.targets) == 2
    assert len(plan.diagonals) == 2


def test_attributes_tell_expressions_apart() -> None:
    plan = plan_of("(x, h):\n    return leaky_relu(h) * leaky_relu(h, slope=0.2)")
    assert ops(plan, plan.regions[0]) == ["leaky_relu", "leaky_relu", "mul"]


def test_dead_code_is_left_out() -> None:
    plan = plan_of("(x, h, c):\n    dead = exp(linear(x, h))\n    return tanh(h), c + 1")
    assert not plan.stages
    assert "exp" not in ops(plan, tuple(plan.live))


@given(cells())
def test_every_value_of_the_loop_has_one_place(cell: Cell) -> None:
    plan = make_plan(cell, input_size(cell), HIDDEN_SIZE, 4)
    regions = [i for region in plan.regions for i in region]
    targets = [t.node for stage in plan.stages for t in stage.targets]
    states = [i for i in plan.depth if plan.node(i).op == "state"]
    assert sorted(regions + targets + states) == sorted(plan.depth)
    assert len(plan.regions) == len(plan.stages) + 1
    assert set(plan.depth) <= plan.live


@given(cells())
def test_every_value_is_there_before_it_is_read(cell: Cell) -> None:
    plan = make_plan(cell, input_size(cell), HIDDEN_SIZE, 4)
    known = {i for i in plan.live if i not in plan.depth or plan.node(i).op == "state"}
    for place, region in enumerate(plan.regions):
        if place:
            stage = plan.stages[place - 1]
            assert known >= {arg for t in stage.targets for arg in plan.args(t.node)}
            known |= {t.node for t in stage.targets}
        for i in region:
            assert known >= set(plan.args(i))
            known.add(i)
    assert known >= set(plan.outputs)


@given(cells())
def test_products_are_all_that_the_maps_read(cell: Cell) -> None:
    plan = make_plan(cell, input_size(cell), HIDDEN_SIZE, 4)
    for stage in plan.stages:
        ends = [t.column + t.padded for t in stage.targets]
        assert [t.column for t in stage.targets] == [0, *ends][: len(ends)]
        assert stage.columns == ends[-1]
        found = [(t.node, p.arg) for p in (*stage.inputs, *stage.products) for t in p.targets]
        assert sorted(found) == sorted(
            {(t.node, arg) for t in stage.targets for arg in plan.args(t.node)}
        )
        assert all(plan.node(t.node).op in MATRIX_OPS for t in stage.targets)
        for product in (*stage.inputs, *stage.products):
            assert product.first == product.targets[0].column
            assert product.count == sum(t.padded for t in product.targets)
            assert (product in stage.products) == (product.arg in plan.depth)


def test_all_zoo_cells_have_a_plan() -> None:
    for name in nas.zoo:
        assert make_plan(nas.zoo[name], 32, 32, 16).outputs


def test_delays_are_the_past_of_a_computed_state() -> None:
    """Places 1, 2, … are the states; the second number is how many steps before."""
    assert make_plan(ZOO["tau_gru"], 8, 8, 8).delays == {k: (1, k - 1) for k in range(2, 6)}
    two = plan_of("(x, h, a=1, b=-1, c=2):\n    return tanh(linear(x, h)), h, h, a")
    assert two.delays == {2: (1, 1), 4: (1, 2)}, "the second holder of h has values of its own"
    assert plan_of("(x, h, c, d):\n    return tanh(linear(x, h)), d, c").delays == {}
    assert plan_of("(x, h, c):\n    return tanh(linear(x, h)), c").delays == {}
