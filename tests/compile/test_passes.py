"""The passes: each leaves a cell what it was, bit for bit, in both dtypes."""

import math

import pytest
import torch
from hypothesis import given
from torch import Tensor

from nas.cell import Cell, loads, node
from nas.cell.count import size
from nas.cell.verify import verify_structure
from nas.compile.passes import steps
from nas.compile.plan import Plan, unplanned
from nas.compile.reference import EagerCell, Operand
from nas.zoo import ZOO
from tests.compile.backends import Problem, assert_as_good_as_eager, assert_exact
from tests.shares import every_eighth
from tests.strategies import HIDDEN_SIZE, cells, input_size
from tests.tensors import seeded
from tests.tolerances import SAME_FORMULA

HUGE = 1e38
SPECIAL = (float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1e-45, HUGE)
STEP = 3


def start(cell: Cell, lanes: int = 4) -> Plan:
    sizes = tuple(size(width, input_size(cell), HIDDEN_SIZE) for width in cell.widths)
    return unplanned(cell, sizes, lanes)


def after(name: str, cell: Cell) -> Plan:
    return next(plan for step, plan in steps(start(cell)) if step.name == name)


def of(text: str) -> Cell:
    return loads(f"def f{text}\n")


def ops(plan: Plan) -> list[str]:
    return sorted(plan.node(i).op for i in plan.live)


# A plan computes what its cell does.


def run(layer: EagerCell, plan: Plan, given: list[Tensor]) -> list[Tensor]:
    """One step by the nodes of a plan, in their order."""
    values: dict[int, Operand] = dict(enumerate(given))
    for i in sorted(plan.live):
        if i not in values:
            args = [values[arg] for arg in plan.args(i)]
            values[i] = layer.value(i, plan.node(i), args, given[0], STEP)
    outputs = [layer.row(values[i], i, given[0]) for i in plan.outputs]
    n_above = len(layer.cell.verticals)
    above = outputs[len(outputs) - n_above :]
    return [*outputs[: len(outputs) - n_above], *(v.expand(-1, HIDDEN_SIZE) for v in above)]


def reference(layer: EagerCell, given: list[Tensor]) -> list[Tensor]:
    """One step of the eager reference."""
    n_states = len(layer.cell.states)
    y, new, above = layer.step(given[0], given[1 : 1 + n_states], given[1 + n_states :], STEP)
    return [y, *new, *above]


def draws(layer: EagerCell, dtype: torch.dtype) -> list[Tensor]:
    """Inputs, states and verticals; some rows hold what is not an ordinary number."""
    n_given = 1 + len(layer.cell.states) + len(layer.cell.verticals)
    given = [torch.randn(12, width, generator=seeded(2)) for width in layer.sizes[:n_given]]
    for k, value in enumerate(given):
        for row, special in enumerate(SPECIAL):
            value[row, (row + k) % value.shape[1]] = special
    return [value.to(dtype).requires_grad_() for value in given]


def bits(value: Tensor) -> tuple[Tensor, Tensor]:
    """What tells values apart, -0 from 0 too; one NaN is like another."""
    return value.nan_to_num(7.0, math.inf, -math.inf), value.signbit() & ~value.isnan()


def gradients(outputs: list[Tensor], given: list[Tensor], layer: EagerCell) -> list[Tensor]:
    """Of what is given, row by row; of the parameters, from the rows with ordinary numbers.

    Rows with huge numbers are left out: there, rounding is everything.
    """
    rows = torch.tensor([special != HUGE for special in SPECIAL])
    found: list[Tensor] = []
    for kept, leaves in ((rows, given), (rows & False, list(layer.parameters()))):
        mask = torch.cat([kept, torch.ones(12 - len(SPECIAL), dtype=torch.bool)])
        loss = sum((out[mask] * (k + 1)).sum() for k, out in enumerate(outputs))
        if isinstance(loss, Tensor) and loss.requires_grad and leaves:
            found += torch.autograd.grad(
                loss, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
            )
    return found


def assert_same_bits(cell: Cell) -> None:
    for dtype in (torch.float64, torch.float32):
        layer = EagerCell(cell, input_size(cell), HIDDEN_SIZE, dtype=dtype)
        layer.reset_parameters(generator=seeded())
        given = draws(layer, dtype)
        expected = reference(layer, given)
        slopes = gradients(expected, given, layer)
        for step, plan in steps(start(cell)):
            found = run(layer, plan, given)
            for ours, theirs in zip(found, expected, strict=True):
                for a, b in zip(bits(ours), bits(theirs), strict=True):
                    assert torch.equal(a, b), (step.name, dtype)
            if dtype == torch.float64:
                for ours, theirs in zip(gradients(found, given, layer), slopes, strict=True):
                    # Gradients of equal expressions are added before they go on as one: where
                    # infinite ones of both signs meet, only one of the sums is not a number.
                    both = ours.isfinite() & theirs.isfinite()
                    torch.testing.assert_close(ours[both], theirs[both], **SAME_FORMULA)


@pytest.mark.parametrize("name", every_eighth(ZOO))
def test_passes_keep_every_bit_of_a_zoo_cell(name: str) -> None:
    assert_same_bits(ZOO[name])


@given(cells())
def test_passes_keep_every_bit_of_any_cell(cell: Cell) -> None:
    assert_same_bits(cell)


@given(cells(30))
def test_passes_keep_every_bit_of_any_large_cell(cell: Cell) -> None:
    assert_same_bits(cell)


FOLDING = {
    "numbers of all kinds": "(x, h):\n    return tanh(linear(x, h)) * (2 - 1 / 3) + sin(exp(0.5))",
    "too large for float32": "(x, h):\n    return tanh(linear(x, h) * min(exp(100), 3)) / exp(100)",
    "too large for any": "(x, h):\n    return min(linear(x, h), exp(1000)) + tanh(h)",
    "not a number": "(x, h):\n    return h, max(tanh(linear(x, h)), log(0 - 1))",
    "a state becomes a number": "(x, h, s: 1):\n    return tanh(linear(x, h)) + s, sqrt(2) * 2",
    "a map of a number": "(x, h):\n    return tanh(linear(x, h) + linear(2 * 0.25, h))",
    "y is x": "(x, h):\n    return 1 * x, tanh(linear(x, h)) - 0",
    "a state is kept": "(x, h, c):\n    return tanh(linear(x, h)) * c, --c",
    "an activation twice": "(x, h):\n    return relu(relu(linear(x, h))) + abs(abs(sin(h)))",
    "an output is replaced twice": (
        "(x, h, c):\n    a = linear(x, h) - c\n    b = sin(a)\n    return 1 * sin(a), b"
    ),
    "products in two orders": "(x, h):\n    a = linear(x, h)\n    return tanh(a * h) - sin(h * a)",
    "a vertical is handed on": "(x, h, *, a):\n    return tanh(linear(x, h)), a / 1",
}


@pytest.mark.parametrize("name", FOLDING)
def test_a_folded_cell_gives_what_the_unfolded_gives(name: str) -> None:
    """The eager reference folds nothing."""
    cell = of(FOLDING[name])
    assert_same_bits(cell)
    if name != "not a number":  # which equals nothing
        assert_exact(Problem(cell, 7, (3, 3, 2)))
        assert_as_good_as_eager(Problem(cell, 7, (3, 3, 2)))


# What each pass does.


def test_operations_of_constants_become_constants() -> None:
    plan = after("constants", of("(x, h):\n    return h + (2 - 0.5) * exp(0)"))
    constants = [plan.constant(i) for i in plan.live if plan.node(i).op == "constant"]
    assert constants == [1.5]
    assert ops(plan) == ["add", "constant", "state"]


def test_a_folded_number_is_the_reference_s_in_float64() -> None:
    plan = after("constants", of("(x, h):\n    return h * tanh(0.1 + 0.2)"))
    (value,) = (plan.constant(i) for i in plan.live if plan.constant(i) is not None)
    assert value == torch.tensor(0.1 + 0.2, dtype=torch.float64).tanh().item()


def test_no_constant_is_not_a_number() -> None:
    plan = after("constants", of("(x, h):\n    return max(h, log(0 - 1))"))
    assert ops(plan) == ["constant", "log", "max", "state"]


def alone(op: str, *args: float | str) -> Plan:
    """A plan of one operation of the state "h" and of numbers, without repetitions."""
    nodes = [node("input", name="x"), node("state", name="h")]
    places = []
    for arg in args:
        places.append(1 if arg == "h" else len(nodes))
        if arg != "h":
            nodes.append(node("constant", value=arg))
    nodes.append(node(op, *places))
    cell = Cell("f", tuple(nodes), len(nodes) - 1, (len(nodes) - 1,))
    verify_structure(cell)
    return after("identities", cell)


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("mul", ("h", 1.0)),
        ("mul", (1.0, "h")),
        ("div", ("h", 1.0)),
        ("sub", ("h", 0.0)),
        ("add", ("h", -0.0)),
        ("add", (-0.0, "h")),
    ],
)
def test_an_identity_is_left_out(op: str, args: tuple[float | str, ...]) -> None:
    assert alone(op, *args).outputs == (1, 1)


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("mul", ("h", 0.0)),  # inf * 0 is not a number
        ("mul", ("h", -1.0)),
        ("div", (1.0, "h")),
        ("add", ("h", 0.0)),  # -0 + 0 is 0
        ("add", (0.0, "h")),
        ("sub", ("h", -0.0)),  # -0 - -0 is 0
        ("sub", (0.0, "h")),
        ("sub", ("h", "h")),  # inf - inf is not a number
        ("div", ("h", "h")),
        ("max", ("h", "h")),  # has no gradient where h is not a number
        ("max", ("h", -math.inf)),  # halves the gradient where h is -inf
        ("blend", (1.0, "h", "h")),  # inf * 0 again
    ],
)
def test_what_is_no_identity_stays(op: str, args: tuple[float | str, ...]) -> None:
    plan = alone(op, *args)
    assert plan.node(plan.outputs[0]).op == op


def test_an_operation_that_undoes_or_repeats_itself_is_left_out() -> None:
    text = "(x, h, c, d):\n    return --h, relu(relu(c)), abs(abs(d))"
    plan = after("identities", of(text))
    assert ops(plan) == ["abs", "relu", "state", "state", "state"]


def test_other_activations_do_not_repeat_themselves() -> None:
    plan = after("identities", of("(x, h):\n    return tanh(tanh(h)) + relu(abs(-h))"))
    assert ops(plan) == ["abs", "add", "neg", "relu", "state", "tanh", "tanh"]


def test_products_and_sums_are_one_in_either_order() -> None:
    text = "(x, h, c):\n    return h * c - c * h, h + c - (c + h)"
    assert ops(after("repetitions", of(text))) == ["add", "mul", "state", "state", "sub", "sub"]


def test_extremes_of_zeros_depend_on_the_order() -> None:
    plan = after("repetitions", of("(x, h, c):\n    return max(h, c) - max(c, h), c"))
    assert ops(plan) == ["max", "max", "state", "state", "sub"]


def test_minus_zero_and_zero_are_two_constants() -> None:
    nodes = (
        node("input", name="x"),
        node("state", name="h"),
        node("constant", value=0.0),
        node("constant", value=-0.0),
        node("add", 1, 2),
        node("sub", 4, 3),
    )
    plan = after("repetitions", Cell("f", nodes, 5, (5,)))
    assert plan.live == {1, 2, 3, 4, 5}
