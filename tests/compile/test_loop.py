"""Compiled loops give what the eager reference gives: every cell, gradients of everything."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

import nas
from nas.cell import OPS, Cell, loads
from nas.compile.ahead import compile_ahead
from nas.compile.reference import EagerCell
from nas.errors import CellError
from nas.nn.rnn import RNN
from nas.zoo import ZOO
from tests.compile.backends import (
    Problem,
    assert_as_good_as_eager,
    assert_exact,
    assert_step_is_exact,
    is_smooth,
    run,
)
from tests.compile.test_reference import EVERYTHING
from tests.known import compiled
from tests.strategies import cells
from tests.tensors import assert_close, flat, normal, seeded

HIDDEN = (33, 7, 64, 1, 32)
"""One below, at and above whole vectors (8 float64, 16 float32), and a single feature."""
COUNTS = {
    "one": (1,),
    "short": (3, 3),
    "long": (1,) * 35,
    "wide": (20,),
    "batch": (20,) * 3,
    "packed": (7, 7, 5, 2, 2, 1),
}
"""Sequences at each step."""


def shape(k: int) -> tuple[int, tuple[int, ...], bool]:
    """The k-th of pairs of sizes: lists of lengths without a common factor meet in all ways."""
    counts = list(COUNTS.values())
    return HIDDEN[k % 5], counts[k % 6], k % 7 > 3


RESTLESS = {"lstm_slim4a": 1}
"""Seeds of cells that would magnify rounding over 35 steps (56 times), where luck would decide."""


@pytest.fixture(scope="module", autouse=True)
def _compiled_ahead(request: pytest.FixtureRequest) -> None:
    """The loops of the tests that were asked for, in a few runs of the compiler."""
    problems = {}
    for k, (name, cell) in enumerate(ZOO.items()):
        for test, shift, dtype in (
            ("test_a_zoo_cell_equals_the_reference", 0, torch.float64),
            ("test_a_zoo_cell_is_as_exact_in_single_precision", 3, torch.float32),
        ):
            problems[f"{test}[{name}]"] = (Problem(cell, shape(k + shift)[0], ()), dtype)
    for name, text in TRAITS.items():
        problem = Problem(trait(text), trait_width(name), ())
        problems[f"test_a_cell_with_a_rare_trait_equals_the_reference[{name}]"] = (
            problem,
            torch.float64,
        )
    asked = (problems[item.name] for item in request.session.items if item.name in problems)
    compile_ahead((one.cell, one.input_width, one.hidden, dtype) for one, dtype in asked)


@pytest.mark.parametrize("name", compiled(ZOO))
def test_a_zoo_cell_equals_the_reference(name: str) -> None:
    k, cell = list(ZOO).index(name), ZOO[name]
    hidden, counts, reverse = shape(k)
    assert_exact(Problem(cell, hidden, counts, reverse, bias=k % 4 > 0))
    assert_exact(Problem(cell, hidden, COUNTS["packed"], not reverse, seed=k))
    assert_step_is_exact(Problem(cell, hidden, (), seed=k))


@pytest.mark.parametrize("name", compiled(ZOO))
def test_a_zoo_cell_is_as_exact_in_single_precision(name: str) -> None:
    k, cell = list(ZOO).index(name), ZOO[name]
    hidden, counts, reverse = shape(k + 3)
    seed = RESTLESS.get(name, k)
    assert_as_good_as_eager(Problem(cell, hidden, counts, reverse, seed=seed))
    assert_as_good_as_eager(Problem(cell, hidden, COUNTS["packed"], not reverse, seed=seed))


@pytest.mark.parametrize("hidden", HIDDEN)
def test_all_shapes_of_batches_on_all_sizes(hidden: int) -> None:
    for reverse in (False, True):
        for counts in COUNTS.values():
            assert_exact(Problem(ZOO["mut3"], hidden, counts, reverse))


@pytest.mark.parametrize("name", ["lstm_peephole", "gru_v1", "mut1"])
def test_a_wide_cell_equals_the_reference(name: str) -> None:
    problem = Problem(ZOO[name], 257, (20,) * 35, input_size=257)
    assert_exact(problem)
    assert_as_good_as_eager(problem)


# Cells with one rare trait each.

TRAITS = {
    "y is an old state": "(x, h):\n    return h, tanh(linear(x, h))",
    "y knows no state": "(x, h):\n    return tanh(linear(x)), sigmoid(linear(x, h))",
    "y is x": "(x, h):\n    return x, tanh(linear(x, h))",
    "y and state are x": "(x, h: input):\n    return x",
    "y is a number": "(x, h):\n    return 2, tanh(linear(x, h))",
    "states change places": "(x, h, c):\n    return tanh(h + linear(x)), c, h",
    "a state is kept": "(x, h, c):\n    return tanh(linear(x, h)) * c, c",
    "one value is two states": "(x, h, c):\n    a = tanh(linear(x, h, c))\n    return a, a",
    "a state is x": "(x, past: input):\n    return linear(past, x), x",
    "a state is a number": "(x, h, c, s: 1):\n    return tanh(linear(x, h)) + s * c, 0 * x, 0.5",
    "a state is learned": "(x, h, v, s: 1):\n    return tanh(linear(x, h)) * v + s, {v}, scalar()",
    "a state is a map of parameters": "(x, h, s: 1):\n    return h * s, linear(scalar(), width=1)",
    "a map of a narrow value": "(x, h, s: 1):\n    return tanh(linear(x, s)), linear(h, width=1)",
    "a map of a narrow map": "(x, h):\n    return tanh(linear(sin(linear(h, width=1)), x))",
    "a narrow value with many readers": (
        "(x, h, s: 1):\n    a = sin(linear(s, h, width=1))\n"
        "    return tanh(linear(a, x) * a + linear(cos(a) * linear(a, s))), a + s"
    ),
    "a narrow value over a wide one": "(x, h, s: 1):\n    return tanh(s / linear(h, x)), cos(s)",
    "a number in each": "(x, h: 1):\n    return tanh(linear(x, h, width=1))",
    "a map of a map": "(x, h):\n    return tanh(linear(linear(h), linear(linear(h), x)))",
    "a value read twice": "(x, h):\n    return tanh(linear(h, x, h, bias=None))",
    "different inputs": "(x, h):\n    return linear(h, x) * linear(h) * linear(x, h, x * x)",
    "a wide map": "(x, h):\n    return tanh(linear(sin(linear(h, x, width=40)), cos(linear(h))))",
    "nothing is learned": "(x, h):\n    return h / (1 + h * h) + 0.5",
    "a norm in the loop": "(x, h):\n    return rms_norm(layer_norm(linear(h)) + softmax(x))",
    "a clock": "(x, h):\n    return tanh(linear(x, h)) * cos(step()) + step()",
    "a start of its own": "(x, h, c=-inf, s: 1 = 0.5):\n    return max(tanh(linear(x)), c), h, s",
    "dead lines": "(x, h):\n    a = exp(linear(h))\n    return tanh(linear(x, h))",
    "verticals": "(x, h, *, a, b):\n    u = tanh(linear(x) + a * h)\n    return sin(u), u, a + b",
    "delays": "(x, h, a, b, c):\n    return tanh(linear(x, h, c)), h, a, b",
    "delays before their state": "(x, c, b, h):\n    return b, h, tanh(linear(x, c) + b * h)",
    "two lines of delays": (
        "(x, h, a=1, b=-1, c=0.5):\n    return tanh(linear(x, a, c) + b * h), h, h, b"
    ),
    "delays of a narrow value": (
        "(x, h, s: 1, a: 1, b: 1):\n    return tanh(linear(x, h) * b), linear(h, width=1), s, a"
    ),
    "a narrow vertical": "(x, h, *, a):\n    return tanh(linear(x, h, a)), linear(h, width=1)",
}


def trait(text: str) -> Cell:
    return loads(f"def trait{text.format(v='vector(init=0.5)')}\n")


def trait_width(name: str) -> int:
    return (7, 16)[len(name) % 2]


@pytest.mark.parametrize("name", TRAITS)
def test_a_cell_with_a_rare_trait_equals_the_reference(name: str) -> None:
    cell, width = trait(TRAITS[name]), trait_width(name)
    for reverse in (False, True):
        assert_exact(Problem(cell, width, COUNTS["packed"], reverse))
    assert_step_is_exact(Problem(cell, width, ()))


@pytest.mark.parametrize("name", [name for name in TRAITS if "delays" in name])
def test_delays_equal_the_reference_in_all_shapes_of_batches(name: str) -> None:
    """Sequences of one length share memory with what they delay; others have their own."""
    for reverse in (False, True):
        for counts in COUNTS.values():
            assert_exact(Problem(trait(TRAITS[name]), trait_width(name), counts, reverse))


def all_ops() -> Cell:
    """A state for every operation that computes, of values where none overflows."""
    infix = {"add": "a + h", "sub": "a - h", "mul": "a * h", "div": "h / a", "neg": "-a"}
    calls = {1: "{}(a)", 2: "{}(a, h)", 3: "{}(a, h, b)"}
    computed = [name for name, op in OPS.items() if op.kind in ("elementwise", "row")]
    lines = [
        f"    {name}_new = {infix.get(name, calls[OPS[name].arity or 0].format(name))}"
        for name in computed
    ]
    states, new = (
        ", ".join(f"{name}_old" for name in computed),
        ", ".join(f"{n}_new" for n in computed),
    )
    text = f"def f(x, h, {states}):\n    a = 0.5 + sigmoid(linear(x, h))\n    b = cos(h)\n"
    total = " + ".join(f"sin({name}_old)" for name in computed)
    return loads(f"{text}" + "\n".join(lines) + f"\n    return tanh({total}), {new}\n")


def test_every_operation_equals_the_reference() -> None:
    assert_exact(Problem(all_ops(), 33, COUNTS["packed"]))


def test_every_operation_is_as_exact_in_single_precision() -> None:
    assert_as_good_as_eager(Problem(all_ops(), 7, COUNTS["packed"]))


@pytest.mark.parametrize("hidden", [4, 36])
def test_every_kind_of_node_equals_the_reference(hidden: int) -> None:
    for bias in (True, False):
        assert_exact(Problem(EVERYTHING, hidden, COUNTS["packed"], bias=bias, reverse=bias))


def problems(max_ops: int = 12) -> st.SearchStrategy[Problem]:
    return st.builds(
        Problem,
        cells(max_ops, finite=True),
        st.sampled_from((2, 1, 4, 7, 16, 33)),
        st.sampled_from(((3, 3, 3), (1,), (3, 2, 1, 1), (7, 7, 2))),
        st.booleans(),
        st.booleans(),
        st.integers(0, 99),
    )


def assert_random(problem: Problem, *, single: bool) -> None:
    try:
        EagerCell(problem.cell, problem.input_width, problem.hidden)
    except CellError:  # blocks that do not divide the width
        assume(False)
    expected = run(problem, "eager", torch.float64)
    assume(is_smooth(problem, expected))
    assert_exact(problem, expected)
    if single and all(value.abs().max() < 1e3 for value in expected.values() if value.numel()):
        assert_as_good_as_eager(problem, expected)


@given(problems())
def test_any_cell_equals_the_reference(problem: Problem) -> None:
    assert_random(problem, single=False)


@given(problems(25))
def test_any_large_cell_equals_the_reference(problem: Problem) -> None:
    assert_random(problem, single=True)


# The module around the layers.

STACKED = trait(TRAITS["verticals"])
MODULES = {
    "lstm, both ways": (ZOO["lstm"], {"num_layers": 2, "bidirectional": True}),
    "gru, dropped": (ZOO["gru"], {"num_layers": 3, "dropout": 0.4, "bias": False}),
    "verticals": (STACKED, {"num_layers": 3, "batch_first": True}),
    "narrow verticals": (trait(TRAITS["a narrow vertical"]), {"num_layers": 2}),
    "clock, both ways": (trait(TRAITS["a clock"]), {"bidirectional": True}),
    "x meets h": (ZOO["mut1"], {"num_layers": 2}),
}


@pytest.mark.parametrize("packed", [False, True], ids=["batch", "packed"])
@pytest.mark.parametrize(("cell", "options"), MODULES.values(), ids=MODULES)
def test_a_module_equals_the_reference(cell: Cell, options: dict, packed: bool) -> None:
    results = []
    for backend in ("c", "eager"):
        rnn = RNN(cell, 7, 7, dtype=torch.float64, backend=backend, **options)
        rnn.reset_parameters(generator=seeded())
        x = normal(4, 4, 7, seed=1).requires_grad_()
        given = pack_sequence([x[0, :2], x[1], x[2, :1]], enforce_sorted=False) if packed else x
        states = [
            normal(len(rnn.layers), 3 if packed else 4, width, seed=2).requires_grad_()
            for width in rnn.state_sizes
        ]
        torch.manual_seed(0)  # of dropout
        outputs = flat(rnn(given, tuple(states)))
        loss = sum((out * normal(*out.shape, seed=3)).sum() for out in outputs)
        leaves = [x, *states, *rnn.parameters()]
        results.append(outputs + list(torch.autograd.grad(loss, leaves, materialize_grads=True)))
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs)


def test_a_state_of_another_type_is_refused() -> None:
    rnn = nas.RNN("gru", 3, 4, backend="c")
    with pytest.raises(CellError, match=r"must have one dtype and device, got input of .*float32"):
        rnn(torch.zeros(2, 1, 3), torch.zeros(1, 1, 4, dtype=torch.float64))
