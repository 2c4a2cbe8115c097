"""Every pass is verified: each invariant catches a pass that breaks it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from nas.cell import Cell
from nas.compile import passes
from nas.compile.passes import (
    HOISTING,
    HOISTING_IN_C,
    PASSES,
    PASSES_IN_C,
    PLACING,
    REWRITING,
    Pass,
    make_plan,
    steps,
)
from nas.compile.passes import verify as passes_verify
from nas.compile.passes.verify import PassError
from nas.compile.plan import Plan
from tests.compile.test_passes import after, of, start
from tests.strategies import HIDDEN_SIZE, cells


def test_passes_have_names_of_their_own_and_a_sentence() -> None:
    assert len({step.name for step in PASSES}) == len(PASSES)
    assert all((step.run.__doc__ or "").split("\n")[0].endswith(".") for step in PASSES)


CELL = of(
    "(x, h):\n"
    "    k = 1 - 3\n"
    "    r = sigmoid(linear(x, h))\n"
    "    z = sigmoid(linear(x, h))\n"
    "    q = r * h\n"
    "    n = tanh(linear(x, q))\n"
    "    a = k - z\n"
    "    b = a + 0\n"
    "    e = z * h\n"
    "    return e + a * n + b"
)
AT = {n.name or f"{n.op} {i}": i for i, n in enumerate(CELL.nodes)}


def put(plan: Plan, name: str, **changes: Any) -> Plan:
    """Another operation at the place of the value of this name."""
    nodes = list(plan.nodes)
    nodes[AT[name]] = replace(nodes[AT[name]], **changes)
    return replace(plan, nodes=tuple(nodes))


def stage(plan: Plan, **changes: Any) -> Plan:
    return replace(plan, stages=(replace(plan.stages[0], **changes), *plan.stages[1:]))


def unfolded(plan: Plan) -> Plan:
    return replace(plan, nodes=CELL.nodes, live=CELL.live)


def moved(plan: Plan) -> Plan:
    first, second = plan.stages[0].targets
    return stage(plan, targets=(first, replace(second, column=second.column - 4)))


BROKEN: dict[str, tuple[str, Callable[[Plan], Plan]]] = {
    "arguments come first and are live": ("dead code", lambda p: put(p, "r", args=(AT["n"],))),
    "outputs are live": ("dead code", lambda p: replace(p, live=p.live - {p.outputs[0]})),
    "a node stands for an earlier one of its width": (
        "repetitions",
        lambda p: replace(p, same=(0, 1, 0, *p.same[3:]), sizes=(3, *p.sizes[1:])),
    ),
    "inputs and parameters stay their own": (
        "repetitions",
        lambda p: put(p, "h", attrs=(("width", "hidden"), ("initial", 1.0))),
    ),
    "every node is needed": ("identities", lambda p: put(p, "b", args=(0, 0))),
    "no operation is of constants": ("constants", unfolded),
    "no operation is an identity": ("identities", lambda p: put(p, "b", op="sub")),
    "no expression is there twice": ("repetitions", lambda p: put(p, "e", args=p.args(AT["q"]))),
    "only what depends on a state is in the loop": (
        "hoisting",
        lambda p: replace(p, depth={i: d for i, d in p.depth.items() if i != AT["q"]}),
    ),
    "only what all rows share is hoisted": (
        "hoisting",
        lambda p: replace(p, depth={i: d for i, d in p.depth.items() if i != AT["q"]}),
    ),
    "every map of the loop is in one stage": (
        "stages",
        lambda p: stage(p, targets=(*p.stages[0].targets, *p.stages[1].targets)),
    ),
    "columns do not overlap": ("stages", moved),
    "products are what the maps read": ("stages", lambda p: stage(p, inputs=())),
    "every node of the loop has one place": (
        "regions",
        lambda p: replace(p, regions=(*p.regions[:-1], (*p.regions[-1], p.regions[-1][0]))),
    ),
    "values are there when read": (
        "regions",
        lambda p: replace(p, regions=(*p.regions[:-1], p.regions[-1][::-1])),
    ),
}


def test_every_invariant_is_broken_by_a_test() -> None:
    every = (*REWRITING, HOISTING, HOISTING_IN_C, *PLACING)
    held = [*passes_verify.ALWAYS, *(rule for step in every for rule in step.holds)]
    assert [rule.__name__.replace("_", " ") for rule in held] == list(BROKEN)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_wrong_pass_is_caught(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, corrupt = BROKEN[rule]
    in_c = rule in (r.__name__.replace("_", " ") for r in HOISTING_IN_C.holds)
    wrong = tuple(
        Pass(step.name, lambda plan, run=step.run: corrupt(run(plan)), step.holds)
        if step.name == name
        else step
        for step in (PASSES_IN_C if in_c else PASSES)
    )
    make_plan(CELL, HIDDEN_SIZE, HIDDEN_SIZE, 4, in_c=in_c)
    monkeypatch.setattr(passes, "PASSES_IN_C" if in_c else "PASSES", wrong)
    with pytest.raises(PassError, match=f'pass {name} of cell f breaks "{rule}": '):
        make_plan(CELL, HIDDEN_SIZE, HIDDEN_SIZE, 4, in_c=in_c)


def test_the_error_names_the_pass_the_node_and_the_cell() -> None:
    wrong = replace(after("hoisting", CELL), depth={})
    said = r'pass hoisting of cell f breaks "only what depends .*": node 1 \(state\) is hoisted\. '
    with pytest.raises(PassError, match=said + "This is an error of nas"):
        passes_verify.verify(wrong, "hoisting", PASSES[4].holds)


@given(cells(25))
def test_every_pass_is_right_on_any_cell(cell: Cell) -> None:
    assert [step for step, _ in steps(start(cell, 8))] == list(PASSES)
    in_c = replace(start(cell, 8), in_c=True)
    assert [step for step, _ in steps(in_c)] == list(PASSES_IN_C)
